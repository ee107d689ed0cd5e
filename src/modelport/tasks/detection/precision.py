"""COCO's figures over any resample of images whose boxes were matched once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.detection.matching import AREAS, LEVELS, Bits, Matched, spread
from modelport.tasks.judged import Multiplicities

RECALLS = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCO takes the precision."""
ALWAYS = ("mAP", "mAP_50", "mAP_75")
# Scores that differ by less are taken for the same: a box that is moved so far changes places with its next neighbours.
SAME_SCORE = 1e-3
_TINY = np.spacing(1)  # what pycocotools adds to a number of boxes, which may be 0

Kinds = NDArray[np.int32]
Means = NDArray[np.float64]
"""(2, levels): the mean precision and the mean recall over the classes that are annotated; NaN where none is."""


@dataclass(frozen=True, slots=True)
class _Figure:
    """What a name stands for."""

    recall: bool  # else a precision
    area: str
    levels: slice
    most: int | None  # boxes of an image and class that count; None for all

    @staticmethod
    def named(name: str) -> _Figure:
        """Return what mAP, mAP_50, mAP_75, mAP_s, AR_100, AR_s … mean."""
        kind, _, more = name.partition("_")
        if more in AREAS:
            return _Figure(kind == "AR", more, slice(None), None)
        if kind == "AR":
            return _Figure(True, "", slice(None), int(more))
        level = (int(more) - 50) // 5
        return _Figure(False, "", slice(level, level + 1), None)


def areas_of(names: Iterable[str]) -> list[str]:
    """Return the areas that figures look at, that of all things first."""
    return list(dict.fromkeys(["", *(_Figure.named(name).area for name in names)]))


def over_resamples(judged: Sequence[str], prefix: str) -> list[str]:
    """Return the figures of which resamples are made, without their ``prefix``: ``ALWAYS``, and those that decide."""
    return list(dict.fromkeys([*ALWAYS, *(name.removeprefix(prefix) for name in judged)]))


class Curves:
    """The boxes of one model, sorted once: by class, falling score, and the images' ids, as COCO's tools sort them."""

    def __init__(self, images: Sequence[Matched], areas: Sequence[str]) -> None:
        """``images`` were matched for these ``areas``, or for more behind them; ``weights[i]`` counts the one at i."""
        order = np.argsort([one.image_id for one in images], kind="stable")
        ordered = [images[place] for place in order.tolist()]
        classes = _joined([one.classes for one in ordered], np.int32)
        best = np.lexsort((-_joined([one.scores for one in ordered], np.float64), classes))
        self._owners = np.repeat(order, [len(one.scores) for one in ordered]).astype(np.int32)[best]
        ranks = _joined([one.ranks for one in ordered], np.int32)[best]
        truths = _joined([one.truths for one in ordered], np.int32)
        of_truths = np.repeat(order, [len(one.truths) for one in ordered]).astype(np.int32)
        self._areas = {}
        for place, letter in enumerate(areas):
            wanted = _joined([one.wanted[place] for one in ordered], np.bool_)
            met = _joined([one.met[place] for one in ordered], np.uint16)[best]
            ignored = _joined([one.ignored[place] for one in ordered], np.uint16)[best]
            self._areas[letter] = _Area(classes[best], ranks, met, ignored, truths[wanted], of_truths[wanted])
        # About how many numbers a call of ``figures`` goes through.
        self.work = 2 * len(best) + sum(area.work for area in self._areas.values())

    def figures(self, names: Sequence[str], weights: Multiplicities) -> dict[str, float]:
        """Return figures, fractions, where image i counts ``weights[i]`` times; NaN where nothing bears on one."""
        counts = weights[self._owners]
        figures = {name: _Figure.named(name) for name in names}
        asked = {(figure.area, figure.most) for figure in figures.values()}
        means = {(area, most): self._areas[area].means(weights, counts, most) for area, most in asked}
        return {
            name: float(means[figure.area, figure.most][int(figure.recall), figure.levels].mean())
            for name, figure in figures.items()
        }


class _Area:
    """Which of the sorted boxes meet what in one area.

    A box that meets nothing lowers the precision at those behind it, and itself reaches no recall above 0: such boxes
    are only counted, precisions are computed at the others.
    """

    def __init__(self, classes: Kinds, ranks: Kinds, met: Bits, ignored: Bits, truths: Kinds, owners: Kinds) -> None:
        self._kinds, self._truths = np.unique(truths, return_inverse=True)
        self._owners = owners
        self._at = np.flatnonzero(met | ignored)
        self._met, self._ignored = spread(met[self._at]), spread(ignored[self._at])
        self._ranks = ranks[self._at]
        self._starts = np.searchsorted(classes, self._kinds)
        own = classes[self._at]
        self._slices = [
            slice(*ends)
            for ends in zip(*(np.searchsorted(own, self._kinds, side) for side in ("left", "right")), strict=True)
        ]

    @property
    def work(self) -> int:
        """About how many numbers ``means`` goes through."""
        return len(LEVELS) * (4 * len(self._at) + len(RECALLS) * len(self._kinds)) + len(self._truths)

    def means(self, weights: Multiplicities, counts: Multiplicities, most: int | None) -> Means:
        """Return both means, where boxes count as ``counts`` says; no more than ``most`` of an image and class."""
        there = np.bincount(self._truths, weights[self._owners], len(self._kinds))
        before = np.concatenate([[0], counts.cumsum()])
        found = []
        for wanted, start, own in zip(there.tolist(), self._starts.tolist(), self._slices, strict=True):
            if wanted:
                at = self._at[own]
                found.append(self._class(own, counts[at], before[at + 1] - before[start], wanted, most))
        return np.mean(found, axis=0) if found else np.full((2, len(LEVELS)), np.nan)

    def _class(self, own: slice, counts: Multiplicities, seen: Multiplicities, there: float, most: int | None) -> Means:
        """Return precision and recall of one class: ``seen`` boxes stand up to each, ``there`` are to be found."""
        met = self._met[:, own] * counts
        if most is not None:
            return np.stack([np.full(len(LEVELS), np.nan), (met * (self._ranks[own] < most)).sum(axis=1) / there])
        hits = met.cumsum(axis=1)
        counted = seen - (self._ignored[:, own] * counts).cumsum(axis=1)
        precision = np.zeros((len(LEVELS), hits.shape[1] + 1))  # the last: a recall that is not reached
        precision[:, :-1] = hits / (counted + _TINY)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = hits / there
        places = np.stack([np.searchsorted(one, RECALLS) for one in recall])
        return np.stack([np.take_along_axis(best, places, axis=1).mean(axis=1), met.sum(axis=1) / there])


class Pairwise:
    """Figures of engine and source over any resample of the images that both answered."""

    def __init__(
        self, pairs: Sequence[tuple[Matched, Matched]], names: Sequence[str], areas: Sequence[str], prefix: str = ""
    ) -> None:
        """``pairs`` are engine and source of one image each; ``names`` the figures, reported after ``prefix``."""
        self._names, self._prefix = names, prefix
        self._sides = [Curves([pair[side] for pair in pairs], areas) for side in (0, 1)]
        self.images = len(pairs)
        self.differ = sum(_differs(*pair, len(areas)) for pair in pairs)
        self.work = sum(side.work for side in self._sides)

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures of both where image i counts ``weights[i]`` times; NaN where nothing bears on one.

        With ones they are COCO's figures. An image that counts k times is k images. Where boxes of a class have equal
        scores, COCO's figures depend on their order: here the k copies of a box follow one another, of k images they
        would come image by image.
        """
        both = [side.figures(self._names, weights) for side in self._sides]
        engine, source = ({self._prefix + name: value for name, value in side.items()} for side in both)
        return engine, source


def _differs(one: Matched, other: Matched, areas: int) -> bool:
    """Return whether two answers to one image are different as far as figures of the first ``areas`` can tell.

    Boxes class by class in the order of their scores: there are others, they meet something or nothing where it was the
    other way round, or a score is ``SAME_SCORE`` or more away.
    """
    if not np.array_equal(one.classes, other.classes):
        return True
    met, ignored = one.met[:areas] == other.met[:areas], one.ignored[:areas] == other.ignored[:areas]
    return not (met.all() and ignored.all()) or bool((np.abs(one.scores - other.scores) >= SAME_SCORE).any())


def _joined(parts: Sequence[Array], dtype: type[np.generic]) -> Array:
    return np.concatenate([np.zeros(0, dtype), *parts])
