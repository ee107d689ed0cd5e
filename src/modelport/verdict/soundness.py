"""Whether figures can carry a verdict at all: answers that are finite, that vary, that are the source's, above chance.

Two models that share a mistake agree; equal figures at chance, or of outputs that hold nothing, prove nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from modelport.core.values import Array, Check, Tensors
from modelport.tasks.base import Figures, Score, Task
from modelport.verdict.words import FAIL, INCONCLUSIVE, PASS

AGREEMENT = "agreement_explained"  # the check's name
# How likely chance, or sampling, may be to look as good or as bad as what was found.
SIGNIFICANCE = 0.01
# A figure from 0 to 1 that is not above this has found nothing (mAP of boxes that meet none).
NOTHING_FOUND = 0.001


@dataclass(slots=True)
class _Side:
    """What one of the two has answered so far, for one output."""

    first: Array | None = None
    same: bool = True  # every row equals the first
    classes: set[int] = field(default_factory=set)

    def take(self, rows: Array, classes: bool) -> None:
        if not len(rows):
            return
        if self.first is None:
            self.first = rows[0].copy()
        if self.same:
            self.same = bool((rows == self.first).all())
        if not classes or len(self.classes) > 1:
            return
        if rows.dtype.kind in "iu":  # numbers of classes
            self.classes |= set(map(int, rows.flat))
        elif rows.ndim == 2 and np.isfinite(rows).all():
            self.classes |= set(map(int, rows.argmax(axis=1)))


class Soundness:
    """Watches the answers to a task go by; keeps one row of each output."""

    def __init__(self, task: Task | type[Task] = Task) -> None:
        self._classes, self._floors = task.one_class, task.agreement_floors
        self._mine: dict[str, _Side] = {}
        self._theirs: dict[str, _Side] = {}
        self._rows = 0
        self._has_source = False
        self.broken_alone: list[str] = []  # rows where the engine is not finite and the source is, or is unknown
        self.broken_both: list[str] = []

    def take(self, ids: Sequence[str], outputs: Tensors, source: Tensors | None) -> None:
        """Look at some rows of the engine's answers and, where there are any, the source's to the same samples."""
        self._rows += len(ids)
        self._has_source |= source is not None
        mine, theirs = finite_rows(outputs), None if source is None else finite_rows(source)
        for row, good in enumerate(mine):
            if not good:
                both = theirs is not None and not theirs[row]
                (self.broken_both if both else self.broken_alone).append(ids[row])
        for sides, tensors in ((self._mine, outputs), (self._theirs, source or {})):
            for name, array in tensors.items():
                sides.setdefault(name, _Side()).take(array, self._classes)

    def checks(self, figures: Figures, precision: str | None) -> list[Check]:
        """Return what keeps the figures from carrying a verdict, and what was found in order."""
        found = [self._finite(), self._varies(), _aligned(figures)]
        found += [_above_chance(name, chance, figures) for name, chance in figures.chance.items()]
        found.append(_agreement(figures, self._floors, precision))
        return [check for check in found if check is not None]

    def _finite(self) -> Check:
        broken = len(self.broken_alone) + len(self.broken_both)
        if not broken:
            return Check("finite", PASS, 0, 0, "no output holds NaN or infinity")
        names = ", ".join((self.broken_alone + self.broken_both)[:3])
        if self.broken_alone and self._has_source:
            why = f"{len(self.broken_alone)} of {self._rows} rows hold NaN or infinity where the source is finite: "
            return Check("finite", FAIL, broken, 0, why + names)
        whose = "the engine's and the source's" if self.broken_both else "the"
        why = f"{broken} of {self._rows} rows: {whose} outputs hold NaN or infinity: {names}; "
        return Check("finite", INCONCLUSIVE, broken, 0, why + "look at the recipe's normalisation and at the weights")

    def _varies(self) -> Check | None:
        if self._rows < 2:
            return None
        for name, side in self._mine.items():
            other = self._theirs.get(name)
            alike = other is None or other.same
            if side.same and not (self._is_side_output(name) and alike):
                why = f"'{name}' is the same for all {self._rows} rows"
                why += ", and so is the source's" if other is not None and alike else ""
                return Check("answers_vary", INCONCLUSIVE if alike else FAIL, "constant", "varying", why)
            if self._classes and len(side.classes) == 1:
                alike = other is None or len(other.classes) == 1
                why = f"'{name}' gives class {next(iter(side.classes))} for all {self._rows} rows"
                why += ", and so does the source's" if other is not None and alike else ""
                return Check("answers_vary", INCONCLUSIVE if alike else FAIL, "one class", "several", why)
        return Check("answers_vary", PASS, "varying", "varying", "the outputs differ from sample to sample")

    def _is_side_output(self, name: str) -> bool:
        """Whether another output varies: the labels of a detector of one class are always the same."""
        return any(not side.same for other, side in self._mine.items() if other != name)


def finite_rows(tensors: Tensors) -> Array:
    """Return which rows (N,) hold neither NaN nor infinity in any floating output."""
    count = len(next(iter(tensors.values())))
    good: Array = np.ones(count, bool)
    for array in tensors.values():
        if array.dtype.kind == "f":
            good &= np.isfinite(array).reshape(count, -1).all(axis=1)
    return good


def binomial_tail(hits: int, n: int, share: float) -> float:
    """Return P(X ≥ hits) for X binomial(n, share), summed in logarithms.

    Exact but for rounding; https://en.wikipedia.org/wiki/Binomial_distribution.
    """
    if hits <= 0 or share >= 1.0:
        return 1.0
    if share <= 0.0:
        return 0.0
    counts = np.arange(hits, n + 1)
    logs = np.array([math.lgamma(k + 1) + math.lgamma(n - k + 1) for k in counts.tolist()])
    terms = math.lgamma(n + 1) - logs + counts * math.log(share) + (n - counts) * math.log1p(-share)
    return float(min(1.0, np.exp(terms).sum()))


def _above_chance(name: str, chance: float, figures: Figures) -> Check:
    """Hold a figure, the engine's and the source's, against what guessing gives; ``chance`` in the figure's unit."""
    whose: Mapping[str, Score | None] = {
        "the engine's": figures.metrics.get(name),
        "the source's": (figures.source or {}).get(name),
    }
    at_chance = [who for who, score in whose.items() if score is not None and not _beats(score, chance)]
    got = figures.metrics.get(name)
    value = None if got is None else got.value
    if not at_chance:
        return Check(f"{name}_above_chance", PASS, value, chance, "better than guessing")
    why = f"{' and '.join(at_chance)} {name} cannot be told from guessing ({chance:.3g}): look at the labels' "
    why += "numbering, the preprocessing and the weights, which source and engine share"
    return Check(f"{name}_above_chance", INCONCLUSIVE, value, chance, why)


def _beats(score: Score, chance: float) -> bool:
    if not math.isfinite(score.value):
        return False
    if score.unit != "percent":
        return score.value > max(chance, NOTHING_FOUND)
    return binomial_tail(round(score.value * score.n / 100.0), score.n, chance / 100.0) < SIGNIFICANCE


def _aligned(figures: Figures) -> Check | None:
    """Hold the labels as they are against the same labels, all moved by some number of classes.

    Where another numbering matches more answers, by a sign test over the answers that decide between the two (corrected
    for as many numberings as were seen), the labels and the model count their classes differently.
    """
    if not figures.offsets:
        return None
    straight = figures.offsets[0]
    offset, hits = max(figures.offsets.items(), key=lambda entry: entry[1])
    significance = SIGNIFICANCE / len(figures.offsets)
    if offset == 0 or binomial_tail(hits, hits + straight, 0.5) >= significance:
        return Check("labels_aligned", PASS, straight, hits, "no other numbering of the classes matches better")
    why = f"moved by {offset}, the labels would match {hits} answers, as they are they match {straight}: look at the "
    return Check("labels_aligned", INCONCLUSIVE, straight, hits, why + "label file and at dataset.label_offset")


def _agreement(figures: Figures, floors: Mapping[str, float], precision: str | None) -> Check | None:
    """Hold the share of the source's answers against what the precision can explain."""
    floor = floors.get(precision or "", min(floors.values()))
    met, of = figures.flips.met, figures.flips.of
    if not of:
        return None
    share = 100.0 * met / of
    # As many disagreements or more, were the floor the truth.
    chance = binomial_tail(round(of - met), of, 1.0 - floor / 100.0)
    if share >= floor or chance >= SIGNIFICANCE:
        return Check(AGREEMENT, PASS, share, floor, f"{precision} explains what differs")
    why = f"{share:.4g} % of the answers are the source's, {precision} explains {floor:g} % and more: "
    return Check(AGREEMENT, INCONCLUSIVE, share, floor, why + "this may be another model")
