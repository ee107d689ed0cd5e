"""The verdict that a run would give on a model's answers, over the samples themselves and over replays of them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.values import Array, RowId
from modelport.diagnose.asking import Answers
from modelport.evaluate.score import Scored, Scoring, score
from modelport.recipes.schema import Recipe
from modelport.report.assemble import Origin, checks_of, is_full
from modelport.tasks.table import task_of
from modelport.verdict.drop import unit_of
from modelport.verdict.rules import loss_of, overall
from modelport.verdict.settings import Judging
from modelport.verdict.words import FAIL, PASS

# A run of more samples is replayed with so many: a fault that these miss, more of them may notice.
MOST_REPLAYED = 2048


@dataclass(frozen=True, slots=True)
class Found:
    """A verdict, the checks that are not passed, and the loss of the deciding metric in the tolerance's unit."""

    verdict: str
    by: tuple[str, ...]
    drop: float | None
    can_be_drawn: bool
    """Whether replays tell more: of a count of right answers (others take long), not on the full published set."""

    def is_noticed(self, healthy: str) -> bool:
        """Whether a run tells it from a healthy port, of which it says ``healthy``.

        A run that says of both that it cannot tell has noticed nothing.
        """
        return self.verdict == FAIL or (healthy == PASS and self.verdict != PASS)


@dataclass(frozen=True, slots=True)
class Trial:
    """How the run that is asked about judges: ``n`` samples, those of ``source`` where it takes no more.

    ``source`` are the right answers to the samples at hand.
    """

    recipe: Recipe
    source: Answers
    judging: Judging
    n: int
    full_set: bool
    categories: Sequence[tuple[int, str]] = ()
    seed: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the samples at hand are all that the run would score."""
        return self.n <= len({row.sample for row in self.source.ids})

    def told(self, answers: Answers, count: int) -> tuple[Found, list[Found]]:
        """Return the run's verdict, and those of ``count`` replays; none where they would tell no more.

        Where the run takes more samples than are at hand, its verdict is the usual one of the replays.
        """
        found = self.found(answers)
        drawn = self.replays(answers, count) if count and found.can_be_drawn else []
        if drawn and not self.is_whole:
            verdict = Counter(one.verdict for one in drawn).most_common(1)[0][0]
            often = Counter(name for one in drawn for name in one.by)
            by = tuple(name for name, times in often.items() if 2 * times >= len(drawn))
            found = replace(found, verdict=verdict, by=by)
        return found, drawn

    def found(self, answers: Answers) -> Found:
        """Return the verdict on the samples at hand."""
        return self._judged(answers, self.source, self.full_set and self.is_whole)

    def replays(self, answers: Answers, count: int) -> list[Found]:
        """Return the verdicts on ``count`` draws of as many samples as the run takes, with replacement.

        The same draws for every model. A sample that is drawn twice counts as two.
        """
        rng = np.random.default_rng(self.seed)
        rows = _rows_of_samples(self.source.ids)
        drawn = [rng.integers(0, len(rows), min(self.n, MOST_REPLAYED)) for _ in range(count)]
        return [self._judged(_drawn(answers, rows, which), _drawn(self.source, rows, which)) for which in drawn]

    def _judged(self, answers: Answers, source: Answers, full_set: bool = False) -> Found:
        task = task_of(self.recipe, self.categories, self.seed)
        with tempfile.TemporaryDirectory(prefix="modelport-") as folder:
            how = Scoring(task, True, full_set, Path(folder) / "predictions.jsonl")
            scored = score([answers.rows(source)], how)
            origin = Origin(None, "fp32", None)
            checks = checks_of(
                self.recipe, task, scored, origin, replace(self.judging, planned=len(scored.ids), bounds=False)
            )
        failed = tuple(check.name for check in checks if check.verdict not in (PASS, "not_applicable"))
        drawn = task.deciding in scored.figures.paired and not is_full(self.recipe, scored)
        return Found(overall(checks), failed, self._drop(scored, task.deciding), drawn)

    def _drop(self, scored: Scored, metric: str) -> float | None:
        got, source = scored.figures.metrics.get(metric), scored.figures.source or {}
        if got is None or metric not in source:
            return None
        unit = unit_of(source[metric], self.judging.tolerance(self.recipe))
        return loss_of(got.value, source[metric]) / unit if unit > 0.0 else None


def part_of(answers: Answers, samples: Sequence[int]) -> Answers:
    """Return the rows of some samples, by their number."""
    rows = _rows_of_samples(answers.ids)
    return _at(answers, [place for sample in samples for place in rows[sample]])


def _rows_of_samples(ids: Sequence[RowId]) -> list[list[int]]:
    """Return the places of each sample's rows."""
    places: dict[str, list[int]] = {}
    for place, row in enumerate(ids):
        places.setdefault(row.sample, []).append(place)
    if not places:
        raise DataError("no sample was answered", "check --data")
    return list(places.values())


def _drawn(answers: Answers, rows: Sequence[Sequence[int]], which: NDArray[np.int64]) -> Answers:
    """Return the rows of the samples drawn, each draw a sample of its own."""
    copies = [copy for copy, sample in enumerate(which) for _ in rows[sample]]
    found = _at(answers, [place for sample in which for place in rows[sample]])
    ids = [RowId(f"{row.sample} {copy}", row.view) for row, copy in zip(found.ids, copies, strict=True)]
    digests = [f"{digest} {copy}" for digest, copy in zip(found.digests, copies, strict=False)]
    return replace(found, ids=ids, digests=digests)


def _at(answers: Answers, places: Sequence[int]) -> Answers:
    def of(values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in places] if len(values) else []

    outputs: dict[str, Array] = {name: array[places] for name, array in answers.outputs.items()}
    return Answers(of(answers.ids), of(answers.targets), outputs, of(answers.placements), of(answers.digests))
