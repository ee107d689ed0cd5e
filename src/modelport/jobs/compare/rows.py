"""The figures of two results, one row each: what changed for certain, and what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.options import CONFIDENCE
from modelport.jobs.compare.reading import Figure, Read
from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Floats
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import SOURCE_AGREEMENT
from modelport.verdict.comparison import (
    AnyMoment,
    Evidence,
    NoneDiffer,
    OtherSamples,
    SameSamples,
    Side,
    holm,
    two_sided,
)

WORSE, BETTER, SAME, UNTOLD = "worse", "better", "same", "cannot tell"
# Of a figure that decides, and of the whole: no more is lost than is tolerated.
NOT_WORSE = "not worse"
ERROR = 1.0 - CONFIDENCE
# What a figure is at most, by its unit.
WHOLES = {"percent": 100.0, "fraction": 1.0}
# Told as a fraction, and may fall below 0 without end.
ENDLESS = {"r2"}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of the baseline and of another result."""

    metric: str
    of: int  # which result is held against the baseline, from 1
    unit: str
    values: tuple[float | None, float | None]
    change: float | None = None  # the other less the baseline, in the unit
    n: int | None = None  # samples that the change is of
    interval: tuple[float, float] | None = None  # of the change, each end one-sided
    verdict: str = UNTOLD
    why: str = ""
    p: float | None = None  # of a change, corrected for all rows
    tolerance: Mapping[str, Any] | None = None  # of a figure that decides: value, unit, from, rule, verdict
    rise_is_loss: bool = False
    evidence: Evidence | None = None

    @property
    def is_paired(self) -> bool:
        """Whether the change is that of single samples."""
        return isinstance(self.evidence, SameSamples | AnyMoment | NoneDiffer)

    def to_json(self) -> dict[str, Any]:
        """Return the row as compare.json holds it."""
        plain = {key: getattr(self, key) for key in ("metric", "of", "unit", "change", "n", "verdict", "why", "p")}
        seen = self.evidence.seen if isinstance(self.evidence, SameSamples) else None
        paired = seen and {
            "both": seen.both,
            "only_baseline": seen.only_source,
            "only_other": seen.only_engine,
            "neither": seen.neither,
        }
        ends = None if self.interval is None else list(self.interval)
        return plain | {"values": list(self.values), "interval": ends, "paired": paired, "tolerance": self.tolerance}


@dataclass(frozen=True, slots=True, eq=False)
class Common:
    """The samples that two results both scored, as rows of each."""

    first: NDArray[np.int64]
    other: NDArray[np.int64]
    whole: bool  # neither has others

    @staticmethod
    def of(first: Read, other: Read) -> Common | None:
        """Find them by name and content; None where a result does not tell its samples, or none is common."""
        if first.samples is None or other.samples is None:
            return None
        mine, theirs = first.samples.place, other.samples.place
        pairs = np.array([(row, theirs[key]) for key, row in mine.items() if key in theirs], np.int64).reshape(-1, 2)
        return Common(pairs[:, 0], pairs[:, 1], len(pairs) == len(mine) == len(theirs)) if len(pairs) else None

    def values(self, first: Read, other: Read, metric: str) -> tuple[Floats, Floats] | None:
        """Return what both earn by a figure; None where one is no mean of its samples."""
        mine, theirs = (side.samples.values.get(metric) if side.samples else None for side in (first, other))
        return None if mine is None or theirs is None else (mine[self.first], theirs[self.other])


def figure_row(metric: str, first: Read, other: Read, of: int, common: Common | None) -> Row:
    """Return what both results tell of a figure, with the evidence of a change where there is any."""
    mine, theirs = first.figures.get(metric), other.figures.get(metric)
    known = mine or theirs
    assert known is not None
    row = Row(metric, of, known.unit, (_value(mine), _value(theirs)), rise_is_loss=known.rise_is_loss)
    if mine is None or theirs is None:
        return replace(row, why=f"only {first.name if theirs is None else other.name} tells it")
    if (mine.unit, mine.rise_is_loss) != (theirs.unit, theirs.rise_is_loss):
        return replace(row, why=f"the units differ: {mine.unit} and {theirs.unit}")
    row = replace(row, change=theirs.value - mine.value)
    if metric == SOURCE_AGREEMENT and first.at("source", "sha256") != other.at("source", "sha256"):
        return replace(row, why="held against different sources (source.sha256)")
    if any(side.samples is not None and side.samples.weighted for side in (first, other)):
        return replace(row, why="some samples were drawn more often than others: the change alone is told")
    # What a sample earns is the better the higher.
    values = None if common is None or row.rise_is_loss else common.values(first, other, metric)
    if common is None or values is None:
        if first.answers is not None and first.answers == other.answers and same_samples(first, other):
            return _of_no_difference(row, mine.value, first)
        return _of_others(row, first, other, common is not None)
    if _stopped(first) and _stopped(other) and first.at("seed") != other.at("seed"):
        return replace(row, why="both stopped when their verdict was certain, in different orders (seed)")
    return _of_common(row, common, values, _stopped(first) or _stopped(other))


def _value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _stopped(result: Read) -> bool:
    """Whether a run ended when its verdict was certain."""
    return bool(result.at("statistics", "rule") == "sequential")


def _of_common(row: Row, common: Common, values: tuple[Floats, Floats], stopped: bool) -> Row:
    mine, theirs = values
    evidence: Evidence = AnyMoment(mine, theirs)
    told = "bets on each sample"
    if not stopped and all(bool(np.isin(side, (0.0, 1.0)).all()) for side in values):
        seen = Paired.of(mine == 1.0, theirs == 1.0)
        evidence, told = SameSamples(seen), f"{seen.only_source} lost, {seen.only_engine} gained"
    which = "the same samples" if common.whole else "the samples in both; the figures are of all"
    why = f"paired, {len(mine)} of {which}: {told}"
    return replace(row, n=len(mine), change=0.0 - evidence.loss, evidence=evidence, why=why)


def same_samples(first: Read, other: Read) -> bool:
    """Whether both scored the same samples, and no others."""
    return bool(first.at("dataset", "fingerprint") == other.at("dataset", "fingerprint"))


def _of_no_difference(row: Row, baseline: float, result: Read) -> Row:
    """A figure of the same answers; of one with two ends it is told how much it could have moved."""
    n = result.at("n") or 0
    row = replace(row, n=n, verdict=SAME, why="predictions.jsonl is the same to the byte")
    if row.unit not in WHOLES or row.rise_is_loss or row.metric in ENDLESS or n < 1 or _stopped(result):
        return row
    return replace(row, evidence=NoneDiffer(n, 100.0 * baseline / WHOLES[row.unit]))


def _of_others(row: Row, first: Read, other: Read, shared: bool) -> Row:
    """Two shares of samples that are not known to be the same; of any other figure nothing can be told."""
    mine, theirs = first.figures[row.metric], other.figures[row.metric]
    counted = first.counts_right(row.metric) or other.counts_right(row.metric)
    # Boxes or pairs of one image are not drawn one by one.
    if not counted or (mine.n, theirs.n) != (first.at("n"), other.at("n")) or mine.hits is None or theirs.hits is None:
        return replace(row, why="no mean of samples: its change alone is told")
    if _stopped(first) or _stopped(other):
        return replace(row, why="one stopped when its verdict was certain: its share alone is not to be compared")
    why = first.without or other.without or "no sample is in both"
    why = "samples.jsonl does not tell it of each sample" if shared else why
    return replace(row, evidence=OtherSamples(mine.hits, mine.n, theirs.hits, theirs.n), why=f"unpaired: {why}")


def judged(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with interval and verdict; the chance to err is that of all of them together (Holm)."""
    chances = iter(holm([two_sided(row.evidence) for row in rows if row.evidence is not None]))
    return [row if row.evidence is None else _judged(row, row.evidence, next(chances)) for row in rows]


def _judged(row: Row, evidence: Evidence, p: float) -> Row:
    low, high = evidence.bounds(CONFIDENCE)
    verdict = UNTOLD
    if evidence.alike:
        verdict = SAME
    elif p <= ERROR and low > 0.0:
        verdict = WORSE
    elif p <= ERROR and high < 0.0:
        verdict = BETTER
    point = WHOLES[row.unit] / 100.0
    return replace(row, interval=(0.0 - high * point, 0.0 - low * point), p=p, verdict=verdict)


def held(row: Row, tolerance: Tolerance, whose: str, full_set: bool, tests: int) -> Row:
    """Return a row whose figure decides with what its tolerance says of the loss: not worse, worse or cannot tell.

    On the full published set the observed loss decides. ``tests``: how many figures may each make the whole worse.
    """
    verdict, rule = UNTOLD, "none"
    limit = _allowed(row, tolerance) if full_set else None
    if limit is not None and row.change is not None:
        loss = row.change if row.rise_is_loss else -row.change
        verdict, rule = (NOT_WORSE if loss <= limit else WORSE), "full_set"
    elif row.evidence is not None:
        rule = "fixed" if not isinstance(row.evidence, AnyMoment) else "any_moment"
        sides: tuple[tuple[Side, str, float], ...] = (("pass", NOT_WORSE, ERROR), ("fail", WORSE, ERROR / tests))
        for side, word, error in sides:
            if row.evidence.p_value(tolerance.value, tolerance.unit, side) <= error:
                verdict = word
    told = {"value": tolerance.value, "unit": tolerance.unit, "from": whose, "rule": rule, "verdict": verdict}
    return replace(row, tolerance=told)


def _allowed(row: Row, tolerance: Tolerance) -> float | None:
    """Return the largest loss that is tolerated, in the figure's unit; a point of a fraction is a hundredth.

    None where the baseline has no figure, or is a distance: of what a percentage of it is, the result does not tell.
    """
    if tolerance.unit == "points":
        return tolerance.value * WHOLES.get(row.unit, 100.0) / 100.0
    return None if row.values[0] is None or row.rise_is_loss else abs(row.values[0]) * tolerance.value / 100.0


def overall(rows: Sequence[Row]) -> str:
    """Return the word about the last result, by the rows of its figures that decide."""
    words = {row.tolerance["verdict"] for row in rows if row.tolerance is not None}
    if WORSE in words:
        return WORSE
    return NOT_WORSE if words == {NOT_WORSE} else UNTOLD
