"""Whether figures can carry a verdict at all: answers that are finite, that vary, that are the source's, above chance.

Two models that share a mistake agree; equal figures at chance, or of outputs that hold nothing, prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from modelport.core.text import plain
from modelport.core.values import Array, Check, Tensors
from modelport.tasks.base import Task
from modelport.tasks.scoring import Figures, Score
from modelport.verdict.alignment import NAME as ALIGNED
from modelport.verdict.alignment import aligned
from modelport.verdict.chance import ABOVE_CHANCE, above_chance, agreement, agreement_above_chance, beats
from modelport.verdict.words import FAIL, INCONCLUSIVE, PASS

VARY, LABELS_VARY, CALIBRATION = "answers_vary", "labels_vary", "calibration_varies"
# What keeps a drop from meaning anything, whatever it is.
GROUND = (VARY, LABELS_VARY, ALIGNED, CALIBRATION)


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
        self._labels: set[Any] = set()  # the first two that differ
        self.broken_alone: list[str] = []  # rows where the engine is not finite and the source is, or is unknown
        self.broken_both: list[str] = []

    def take(self, ids: Sequence[str], outputs: Tensors, source: Tensors | None, targets: Iterable[Any] = ()) -> None:
        """Look at some rows of the engine's answers and, where there are any, the source's to the same samples.

        ``targets`` are their labels, where these are looked at.
        """
        self._rows += len(ids)
        if len(self._labels) < 2:
            # Boxes and masks are never all the same; what a file holds is compared by nobody.
            self._labels |= {target for target in targets if isinstance(target, int | str | tuple)}
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
        found = [self._finite(), self._varies(), self._labels_vary()]
        if figures.numbering is not None:
            names = {row["class"]: row["name"] for row in figures.per_class}
            found.append(aligned(figures.numbering, names))
        found += [above_chance(name, chance, figures) for name, chance in figures.chance.items()]
        found += [agreement_above_chance(figures), agreement(figures, self._floors, precision)]
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
                return Check(VARY, INCONCLUSIVE if alike else FAIL, "constant", "varying", why)
            if self._classes and len(side.classes) == 1:
                alike = other is None or len(other.classes) == 1
                why = f"'{name}' gives class {next(iter(side.classes))} for all {self._rows} rows"
                why += ", and so does the source's" if other is not None and alike else ""
                return Check(VARY, INCONCLUSIVE if alike else FAIL, "one class", "several", why)
        return Check(VARY, PASS, "varying", "varying", "the outputs differ from sample to sample")

    def _labels_vary(self) -> Check | None:
        if self._rows < 2 or not self._labels:
            return None
        if len(self._labels) > 1:
            return Check(LABELS_VARY, PASS, "varying", "varying", "the labels differ from sample to sample")
        label = plain(next(iter(self._labels)), 60)
        why = f"all {self._rows} labels are {label}: whoever always answers that is always right; draw samples of more "
        return Check(LABELS_VARY, INCONCLUSIVE, "one label", "several", why + "labels, or look at the label file")

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


def on_ground(told: Sequence[Check], source: Mapping[str, Score] | None, checks: Iterable[Check]) -> list[Check]:
    """Return the checks of figures; one that fails is inconclusive where the figures mean nothing at all.

    They do where labels do not vary or fit another numbering, where source and engine both answer the same to all,
    where int8 was calibrated on repeats, and where the source itself is at chance. ``told`` are the checks that tell
    it, ``source`` the source's figures.
    """
    faults = [check.name for check in told if check.verdict == INCONCLUSIVE and _is_ground(check, source)]
    if not faults:
        return list(checks)
    why = f"; the figures decide nothing: {faults[0]}"
    return [
        replace(check, verdict=INCONCLUSIVE, why=check.why + why) if check.verdict == FAIL else check
        for check in checks
    ]


def _is_ground(check: Check, source: Mapping[str, Score] | None) -> bool:
    if not check.name.endswith(ABOVE_CHANCE):
        return check.name in GROUND
    score = (source or {}).get(check.name.removesuffix(ABOVE_CHANCE))
    return score is not None and not beats(score, check.want)
