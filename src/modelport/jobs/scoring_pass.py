"""One way through the data: first with the source model where its answers are missing, then with the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modelport.core import machine
from modelport.core.artifacts import digest_bytes, written_aside
from modelport.core.errors import BadSampleError, DataError
from modelport.core.progress import Progress
from modelport.core.values import Array, Batch, Sample
from modelport.data.batches import Fingerprint, stream_batches
from modelport.data.transforms import Preprocess
from modelport.engines.base import Options, Runner
from modelport.engines.torch import TorchRunner
from modelport.jobs.answers import SourceAnswers, split_rows, stack_rows
from modelport.jobs.evaluate import Clocks, run_batches
from modelport.model.source import SourceModel
from modelport.recipes.schema import Recipe
from modelport.scoring.base import Metric, Score
from modelport.scoring.tasks import Task, task_of
from modelport.scoring.topk import percent

FLIPS_LISTED = 100


@dataclass(frozen=True, slots=True)
class Pass:
    """What both ways through the data share."""

    recipe: Recipe
    samples: Sequence[Sample]
    options: Options
    on_bad: Literal["fail", "skip"]
    progress: Progress


@dataclass(slots=True)
class Outcome:
    """What an engine answered, and what the source answered to the same samples."""

    task: Task
    precision: str
    batch: int
    clocks: Clocks = field(default_factory=Clocks)
    ids: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    metrics: dict[str, Score] = field(default_factory=dict)
    source_metrics: dict[str, Score] | None = None
    agreement: dict[str, Score] = field(default_factory=dict)
    flips: list[dict[str, Any]] = field(default_factory=list)
    flip_count: int = 0
    fingerprint: str = ""

    @property
    def n(self) -> int:
        """Samples scored."""
        return len(self.ids)


def answer_with_source(job: Pass, source: SourceModel, answers: SourceAnswers) -> None:
    """Run the source model over the samples whose answers are not yet kept."""
    options = replace(job.options, precision="fp32")
    with job.progress.bar("source model", len(job.samples), "images") as bar:

        def missing() -> Iterator[Sample]:
            for sample in job.samples:
                try:
                    content = sample.read()
                except BadSampleError:
                    if job.on_bad == "fail":
                        raise
                    continue  # counted when the engine comes to it
                if answers.holds(digest_bytes(content)):
                    bar.advance()
                else:
                    yield replace(sample, content=content)

        runner = TorchRunner(source.module, options)
        with closing(_batches(job, missing(), None)) as batches:
            for batch, outputs in run_batches(runner, batches, Clocks()):
                answers.put(dict(zip(batch.digests, split_rows(outputs, len(batch.ids)), strict=True)))
                bar.advance(len(batch.ids))


def score_with_engine(job: Pass, runner: Runner, answers: SourceAnswers | None, predictions: Path) -> Outcome:
    """Run the engine over all samples, score it and the source's kept answers, and write ``predictions``."""
    task = task_of(job.recipe)
    assert job.options.batch is not None
    outcome = Outcome(task, runner.precision, job.options.batch)
    judge = _Judge(task, answers, outcome)
    fingerprint = Fingerprint()
    _warm_up(runner, job.options)
    with (
        written_aside(predictions) as aside,
        aside.open("w", encoding="utf-8") as lines,
        job.progress.bar("evaluating", len(job.samples), "images") as bar,
        closing(_batches(job, iter(job.samples), outcome.skipped)) as batches,
    ):
        for batch, outputs in run_batches(runner, batches, outcome.clocks):
            for record in judge.take(batch, outputs):
                lines.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            for name, digest in zip(batch.ids, batch.digests, strict=True):
                fingerprint.update(name, digest)
            bar.advance(len(batch.ids))
    if outcome.n == 0:
        raise DataError("no sample could be scored", "check --data: every image was skipped")
    judge.finish()
    outcome.fingerprint = fingerprint.hexdigest()
    return outcome


class _Judge:
    """Scores batches against the targets and against the source's kept answers."""

    def __init__(self, task: Task, answers: SourceAnswers | None, outcome: Outcome) -> None:
        self._task = task
        self._answers = answers
        self._outcome = outcome
        self._metric: Metric = task.metric()
        self._source_metric: Metric = task.metric()
        self._met = self._of = self._answered = 0

    def take(self, batch: Batch, outputs: dict[str, Array]) -> Iterator[dict[str, Any]]:
        """Score one batch and yield its lines for predictions.jsonl."""
        targets = [self._task.target(label) for label in batch.targets]
        self._metric.update(outputs, targets)
        self._outcome.ids.extend(batch.ids)
        rows = split_rows(outputs, len(batch.ids))
        kept = [self._answers.get(digest) if self._answers else None for digest in batch.digests]
        known = [(row, target) for row, target in zip(kept, targets, strict=True) if row is not None]
        if known:
            self._source_metric.update(stack_rows([row for row, _ in known]), [target for _, target in known])
            self._answered += len(known)
        for name, target, row, source in zip(batch.ids, targets, rows, kept, strict=True):
            yield self._record(name, target, row, source)

    def finish(self) -> None:
        """Compute the figures into the outcome."""
        outcome = self._outcome
        outcome.metrics = self._metric.compute()
        if self._answers is not None:
            outcome.source_metrics = self._source_metric.compute() if self._answered else {}
            if self._of:
                outcome.agreement = {"source_agreement": percent(self._met, self._of)}

    def _record(self, name: str, target: Any, row: dict[str, Array], source: dict[str, Array] | None) -> dict[str, Any]:
        answer = self._task.answer(row)
        theirs = None if source is None else self._task.answer(source)
        if source is not None:
            met, of = self._task.agreement(row, source)
            self._met += met
            self._of += of
            if met < of:
                self._outcome.flip_count += 1
                if len(self._outcome.flips) < FLIPS_LISTED:
                    flip = {
                        "id": name,
                        "target": target,
                        "source": theirs[0][0] if theirs else None,
                        "engine": answer[0][0],
                    }
                    self._outcome.flips.append(flip)
        return {"id": name, "target": target, "top5": answer, "source_top5": theirs}


def _batches(job: Pass, samples: Iterator[Sample], skipped: list[str] | None) -> Any:
    spec = job.options.signature.inputs[0]
    batch, *shape = (int(axis) for axis in spec.shape)
    return stream_batches(
        samples,
        Preprocess(job.recipe.preprocess),
        input_name=spec.name,
        shape=(shape[0], shape[1], shape[2]),
        batch=batch,
        workers=machine.cores(),
        on_bad=job.on_bad,
        bad=None if skipped is None else lambda sample, _: skipped.append(sample.id),
    )


def _warm_up(runner: Runner, options: Options) -> None:
    """Run once on zeros, unscored: engines allocate on the first run, which is no part of any clock."""
    runner.run(
        {spec.name: np.zeros([int(axis) for axis in spec.shape], spec.dtype) for spec in options.signature.inputs}
    )
