"""Which boxes of one image meet which annotations at COCO's ten overlaps; it depends on no other image.

The rules are those of pycocotools' ``COCOeval.evaluateImg`` (cocoapi, PythonAPI/pycocotools/cocoeval.py): boxes choose
by falling score, each the annotation of its class that it overlaps most. The figures of a result come from
faster-coco-eval; this code serves what that library does not give: figures over resamples, figures computed anew from
files, and a figure of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array

LEVELS = np.linspace(0.5, 0.95, 10)
"""The overlaps from which on a box meets an annotation: COCO's."""
# Square pixels, by the letter of a figure: all, small, medium, large.
AREAS = MappingProxyType({"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)})
_ALL = (1 << len(LEVELS)) - 1
# A score that is not finite counts as the lowest.
LOWEST = -float(np.finfo(np.float64).max)

Bits = NDArray[np.uint16]


class Pairs(NamedTuple):
    """Boxes and annotations of one class that overlap by half or more, (k,) each: indices of both, and the overlap."""

    boxes: NDArray[np.int64]
    truths: NDArray[np.int64]
    overlaps: NDArray[np.float64]


class Annotated(NamedTuple):
    """What is annotated in one image, (n,) each."""

    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]  # any number of boxes may meet it
    ignored: NDArray[np.bool_]  # neither found nor missed; crowds are
    areas: NDArray[np.float64]  # square pixels


@dataclass(frozen=True, slots=True)
class Answered:
    """What is found in one image, (m,) each, and what is annotated there."""

    image_id: int
    scores: NDArray[np.float64]  # finite
    classes: NDArray[np.int64]
    areas: NDArray[np.float64]  # square pixels
    truth: Annotated
    pairs: Pairs


@dataclass(frozen=True, slots=True)
class Matched:
    """The boxes of one image that count, by class and falling score, (m,), and what they meet.

    ``met`` and ``ignored`` are (areas, m): bit t is set where, at ``LEVELS[t]``, a box meets an annotation that counts,
    or counts for nothing itself. ``wanted`` is (areas, n): which annotations count.
    """

    image_id: int
    scores: NDArray[np.float64]
    classes: NDArray[np.int32]
    ranks: NDArray[np.int32]  # among the boxes of the class, from 0
    met: Bits
    ignored: Bits
    truths: NDArray[np.int32]  # classes of the annotations
    wanted: NDArray[np.bool_]


def finite(boxes: Array, scores: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return boxes (n, 4) and scores (n,) that hold no NaN, which would sort anywhere.

    A box with a corner that is not finite becomes a point at 0, which meets nothing; such a score the lowest of all.
    """
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    corners[~np.isfinite(corners).all(axis=1)] = 0.0
    rated = np.array(scores, np.float64).reshape(-1)
    rated[~np.isfinite(rated)] = LOWEST
    return corners, rated


def sizes(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes (n, 4) x1 y1 x2 y2 as x, y, width, height."""
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


@np.errstate(over="ignore")
def box_areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the areas (n,) of boxes (n, 4) x y width height; below 0 where one side is."""
    areas: NDArray[np.float64] = boxes[:, 2] * boxes[:, 3]
    return areas


@np.errstate(over="ignore", invalid="ignore")
def box_overlaps(boxes: Array, truths: Array, crowd: Array) -> NDArray[np.float64]:
    """Return intersections over unions (m, n) of boxes (m, 4) and annotations (n, 4), x y width height.

    Over a crowd's box it is the share of the box that lies within (pycocotools' ``bbIou``, maskApi.c, whose order of
    additions is kept: overlaps of whole pixels often are a level exactly).
    """
    (left, top, wide, high), (left_too, top_too, wide_too, high_too) = boxes.T[:, :, None], truths.T[:, None, :]
    across = np.minimum(left + wide, left_too + wide_too) - np.maximum(left, left_too)
    down = np.minimum(top + high, top_too + high_too) - np.maximum(top, top_too)
    common = np.maximum(across, 0) * np.maximum(down, 0)
    own = np.broadcast_to(wide * high, common.shape)
    union = np.where(crowd, own, own + wide_too * high_too - common)
    shares: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=common > 0)
    return shares


def meeting(overlaps: Array, classes: Array, truths: Array) -> Pairs:
    """Return the pairs that are of one class and overlap by the first level or more.

    ``overlaps`` (m, n), ``classes`` of boxes (m,) and ``truths`` of annotations (n,).
    """
    rows, columns = np.nonzero((overlaps >= LEVELS[0]) & (classes[:, None] == truths[None]))
    return Pairs(rows, columns, overlaps[rows, columns])


def match(answered: Answered, most: int, areas: Sequence[str] = ("",)) -> Matched:
    """Return what the best ``most`` boxes of each class meet, for ``areas`` of ``AREAS``.

    Of equal scores the earlier box chooses first, of equal overlaps it takes the later annotation.
    """
    order = np.lexsort((-answered.scores, answered.classes))
    classes = answered.classes[order]
    ranks = np.arange(len(order)) - np.searchsorted(classes, classes)
    kept = ranks < most
    order, classes, ranks = order[kept], classes[kept], ranks[kept]
    places = np.full(len(answered.classes), -1)
    places[order] = np.arange(len(order))
    boxes, truths, overlaps = places[answered.pairs.boxes], answered.pairs.truths, answered.pairs.overlaps
    here = boxes >= 0
    pairs = Pairs(boxes[here], truths[here], overlaps[here])
    met, ignored = np.zeros((len(areas), len(order)), np.uint16), np.zeros((len(areas), len(order)), np.uint16)
    truth, wanted = answered.truth, np.zeros((len(areas), len(answered.truth.classes)), np.bool_)
    for place, letter in enumerate(areas):
        low, high = AREAS[letter]
        passed = truth.ignored | (truth.areas < low) | (truth.areas > high)
        outside = (answered.areas[order] < low) | (answered.areas[order] > high)
        met[place], ignored[place] = _chosen(pairs, passed, truth.crowd, outside)
        wanted[place] = ~passed
    kinds = classes.astype(np.int32), ranks.astype(np.int32)
    found = answered.scores[order], *kinds, met, ignored, truth.classes.astype(np.int32), wanted
    return Matched(answered.image_id, *found)


def _chosen(pairs: Pairs, passed: Array, crowd: Array, outside: Array) -> tuple[Bits, Bits]:
    """Return at which levels each box meets an annotation that counts, and at which it counts for nothing, as bits.

    ``passed`` are annotations that do not count, ``outside`` boxes of another size, which count for nothing where they
    meet nothing.
    """
    met, ignored = [0] * len(outside), [0] * len(outside)
    taken = [0] * len(passed)
    # A box prefers what counts, then what it overlaps most, then the later one: the same at each level.
    order = np.lexsort((-pairs.truths, -pairs.overlaps, passed[pairs.truths], pairs.boxes))
    reached = (1 << np.searchsorted(LEVELS, pairs.overlaps, side="right")) - 1
    columns = (pairs.boxes, pairs.truths, reached, passed[pairs.truths], crowd[pairs.truths])
    for box, truth, levels, nothing, many in zip(*(column[order].tolist() for column in columns), strict=True):
        free = levels & ~(met[box] | ignored[box])
        if not many:
            free &= ~taken[truth]
            taken[truth] |= free
        if nothing:
            ignored[box] |= free
        else:
            met[box] |= free
    hits, neither = np.array(met, np.uint16), np.array(ignored, np.uint16)
    neither[outside] |= _ALL & ~hits[outside]
    return hits, neither


def own_precision(matched: Matched) -> float | None:
    """Return the average precision of one image, all classes as one, the mean of the ten levels, from 0 to 1.

    An annotation that is met counts the precision among the boxes up to the one that meets it, one that is missed 0.
    None where nothing is to be found. It is no figure of a data set: what COCO's figures are is no mean over images.
    """
    wanted = int(matched.wanted[0].sum())
    if not wanted:
        return None
    order = np.argsort(-matched.scores, kind="stable")
    met, ignored = spread(matched.met[0][order]), spread(matched.ignored[0][order])
    hits, counted = met.cumsum(axis=1), (~ignored).cumsum(axis=1)
    return float((hits[met] / counted[met]).sum() / (wanted * len(LEVELS)))


def spread(bits: Bits) -> NDArray[np.bool_]:
    """Return bits (m,) as (levels, m)."""
    return (bits[None] >> np.arange(len(LEVELS), dtype=np.uint16)[:, None] & 1).astype(np.bool_)
