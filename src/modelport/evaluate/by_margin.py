"""Samples of a small source margin are answered first: who they are, what they weigh, and what they tell of all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from modelport.core.artifacts import digest_bytes
from modelport.core.errors import BadSampleError, DataError
from modelport.core.values import RowId, Sample, Tensors
from modelport.evaluate.answer import Pass
from modelport.evaluate.store import SourceAnswers, stack_rows
from modelport.recipes.tables import Tolerance
from modelport.tasks.scoring import Figures, Rows, Score
from modelport.verdict.margin import WeightedBets, margin_order
from modelport.verdict.sequential import Stop

# Rows of the source that are looked at together.
TOGETHER = 64


@dataclass(frozen=True, slots=True)
class Planned:
    """Samples in the order in which they are drawn, each content once."""

    samples: tuple[Sample, ...]
    weights: Mapping[str, float]  # by sample
    source: Mapping[str, float]  # by metric, what the source earns of all of them on average, from 0 to 1
    skipped: tuple[str, ...]  # samples that cannot be read, of which the source has no answer

    def stop(self, metrics: Sequence[str], tolerance: Tolerance, confidence: float) -> Stop:
        """Return what ends a run over these samples. Raises DataError for a metric that is no mean of samples."""
        if away := [name for name in metrics if name not in self.source]:
            raise DataError(f"--order margin: {away[0]} is no mean of samples", "leave --order out")
        n = len(self.samples)
        return Stop({name: WeightedBets(tolerance, n, self.source[name], confidence) for name in metrics})


def planned_by_margin(job: Pass, answers: SourceAnswers) -> Planned:
    """Draw the job's samples by the margins of the source's answers, which must be kept.

    Raises DataError where no answer is there.
    """
    margins: dict[str, float | None] = {}
    earned: dict[str, list[float]] = {}
    samples: dict[str, Sample] = {}
    scorer = job.task.scorer(True)
    found = _answered(job, answers)
    while rows := tuple(islice(found, TOGETHER)):
        outputs = stack_rows([row for _, row in rows])
        targets = tuple(sample.target for sample, _ in rows)
        ids = tuple(RowId(sample.id) for sample, _ in rows)
        lines = scorer.take(Rows(ids, targets, outputs, outputs))
        for (sample, _), line in zip(rows, lines, strict=True):
            judged = job.task.judged(line, sample.target)
            samples[sample.id], margins[sample.id] = sample, judged.margin
            for name, (value, _) in judged.values.items():
                earned.setdefault(name, []).append(value)
    if not samples:
        raise DataError("the source has answered no sample", "check --data: every image was skipped")
    draw = margin_order(list(margins.values()), job.seed)
    ordered = [list(samples)[place] for place in draw.order.tolist()]
    return Planned(
        tuple(samples[name] for name in ordered),
        dict(zip(ordered, draw.weights.tolist(), strict=True)),
        {name: sum(values) / len(values) for name, values in earned.items() if len(values) == len(samples)},
        tuple(sample.id for sample in job.samples if sample.id not in samples),
    )


def _answered(job: Pass, answers: SourceAnswers) -> Iterator[tuple[Sample, Tensors]]:
    """Yield samples with the source's answer, each content once."""
    seen = set[str]()
    for sample in job.samples:
        try:
            digest = sample.sha256 or digest_bytes(sample.read())
        except BadSampleError:
            if job.on_bad == "fail":
                raise
            continue
        row = None if digest in seen else answers.get(digest)
        seen.add(digest)
        if row is not None:
            yield sample, row


def figures_of_all(figures: Figures, planned: Planned, stop: Stop) -> Figures:
    """Return the figures of all planned samples as the weighted ones estimate them: plain means would be too low.

    Of what is told of the drawn samples alone, only the flips are left.
    """
    bets = {name: one for name, one in stop.bets.items() if isinstance(one, WeightedBets)}
    metrics = {name: Score(one.figure(), "percent", one.n, None) for name, one in bets.items()}
    source = {name: Score(100.0 * one.source, "percent", one.n, None) for name, one in bets.items()}
    note = f"figures are estimates for all {len(planned.samples)} planned samples: those of small margins were drawn "
    note += "first, and are weighed for it (--order margin); the source's figures are those of all of them"
    return replace(
        figures, metrics=metrics, source=source, per_class=[], further={}, notes=[*figures.notes, note], resampled=None
    )
