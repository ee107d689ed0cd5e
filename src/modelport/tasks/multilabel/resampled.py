"""Mean average precision and F1 of sets of classes, where each image counts a number of times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.judged import Multiplicities

Images = NDArray[np.int32]


class Column(NamedTuple):
    """The images of one class as one side scores them, best first; images are told by their row."""

    ranked: Images  # down to the last that scores as high as some positive
    positives: Images  # those that have the class
    last: Images  # for each positive the place in ``ranked`` of the last image that scores as high
    last_positive: Images  # … and the place in ``positives`` of the last positive that does
    answered: Images
    right: Images  # answered, and they have the class

    @property
    def size(self) -> int:
        """How many numbers this is."""
        return sum(map(len, self))


class SetFigures:
    """``multilabel_mAP`` and ``multilabel_f1`` over any resample of the images, exactly as of rows that are repeated.

    Images are sorted once; a resample then takes sums of weights in that order: a positive counts its weight times the
    precision among all that score at least as high. Classes without a positive in the resample are left out of both
    means. ``differ`` counts images that are answered by another set, and those whose score for some class is as near to
    the source's score for another image as to that for their own: without any, the figures are the source's.
    """

    def __init__(self, truth: Array, scores: tuple[Array, Array], answered: tuple[Array, Array]) -> None:
        """``truth`` (N, C) bool; of engine and source the scores (N, C) float, and the classes answered (N, C) bool."""
        engine, source = (np.where(np.isnan(side), -np.inf, side) for side in scores)
        moved = (answered[0] != answered[1]).any(axis=1)
        self._engine: list[Column] = []
        self._source: list[Column] = []
        for place in np.flatnonzero(truth.any(axis=0)).tolist():
            order = np.argsort(-source[:, place], kind="stable")
            moved |= _elsewhere(engine[:, place], source[:, place], order)
            self._source.append(_column(source[:, place], order, truth[:, place], answered[1][:, place]))
            order = np.argsort(-engine[:, place], kind="stable")
            self._engine.append(_column(engine[:, place], order, truth[:, place], answered[0][:, place]))
        self.images, self.differ = len(truth), int(moved.sum())
        self.work = sum(column.size for column in (*self._engine, *self._source))

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return both figures in percent; NaN where no class has a positive."""
        return _figures(self._engine, weights), _figures(self._source, weights)


def _column(scores: Array, order: Array, truth: Array, answered: Array) -> Column:
    descending = -scores[order]
    places = np.flatnonzero(truth[order])
    hits = descending[places]
    last = np.searchsorted(descending, hits, side="right") - 1
    parts = (
        order[: last[-1] + 1],
        order[places],
        last,
        np.searchsorted(hits, hits, side="right") - 1,
        np.flatnonzero(answered),
        np.flatnonzero(answered & truth),
    )
    return Column(*(part.astype(np.int32) for part in parts))


def _elsewhere(engine: Array, source: Array, order: Array) -> NDArray[np.bool_]:
    """Return the images (N,) whose score is not the source's, and is as near to another image's or was tied with it.

    Where there are none, both sides rank the images alike. ``order`` sorts the source's scores, highest first.
    """
    mine, theirs = (side[order].astype(np.float64) for side in (engine, source))
    tied = theirs[1:] == theirs[:-1]
    with np.errstate(invalid="ignore"):
        middle = (theirs[1:] + theirs[:-1]) / 2
    moved = np.zeros(len(order), bool)
    moved[1:] |= tied | ~(mine[1:] < middle)
    moved[:-1] |= tied | ~(mine[:-1] > middle)
    found = np.empty_like(moved)
    found[order] = moved & (mine != theirs)
    return found


def _figures(columns: list[Column], weights: Multiplicities) -> dict[str, float]:
    precisions, harmonic = [], []
    for column in columns:
        own = weights[column.positives]
        if not (total := int(own.sum())):
            continue
        found, among = own.cumsum()[column.last_positive], weights[column.ranked].cumsum()[column.last]
        # Where nothing is above it, the positive itself has no weight.
        precisions.append(float((own * found / np.maximum(among, 1)).sum()) / total)
        right, answered = int(weights[column.right].sum()), int(weights[column.answered].sum())
        harmonic.append(2 * right / (answered + total))
    if not precisions:
        return {"multilabel_mAP": float("nan"), "multilabel_f1": float("nan")}
    return {"multilabel_mAP": 100.0 * float(np.mean(precisions)), "multilabel_f1": 100.0 * float(np.mean(harmonic))}
