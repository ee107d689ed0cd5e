"""Boxes: the suppression of doubles, which the detector leaves to the host, and how many of another model's are met.

The settings are those of mmdetection's ``retinanet_r50_nasfpn_crop640_50e_coco``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import SignatureError
from modelport.core.values import Array

SCORE_THRESHOLD = 0.05  # a score must exceed it
IOU_THRESHOLD = 0.5  # a box goes where its overlap exceeds it
BEST = 100
NO_LABEL = -1
# Boxes that were clipped to nothing at the image's edge: area in square pixels, and what rounding does to a side.
SLIVER = 1.0
ROUNDING = 0.1


def best_detections(
    boxes: Array,
    scores: Array,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    best: int = BEST,
) -> tuple[Array, Array]:
    """Suppress doubles class by class and keep the best.

    boxes (N, K, 4) and scores (N, K, C), float32 → dets (N, best, 5) float32, x1 y1 x2 y2 score by falling score,
    and labels (N, best) int64. Unused rows are 0 and −1. Raises SignatureError for shapes that do not fit or NaN.
    """
    if boxes.ndim != 3 or scores.ndim != 3 or boxes.shape != (*scores.shape[:2], 4):
        raise SignatureError(
            f"boxes {boxes.shape} and scores {scores.shape} do not belong together",
            "give boxes (N, K, 4) and scores (N, K, C)",
        )
    if np.isnan(boxes).any() or np.isnan(scores).any():
        raise SignatureError(
            "the detector's boxes or scores hold NaN", "look for the engine or precision that makes it"
        )
    dets = np.zeros((len(boxes), best, 5), np.float32)
    labels = np.full((len(boxes), best), NO_LABEL, np.int64)
    for image, (own, rated) in enumerate(zip(boxes, scores, strict=True)):
        # Box by box, then class by class: the order in which equal scores stay.
        rows, classes = np.nonzero(rated > score_threshold)
        kept = suppress(own[rows], rated[rows, classes], classes, iou_threshold, best)
        count = len(kept)
        dets[image, :count, :4] = own[rows[kept]]
        dets[image, :count, 4] = rated[rows[kept], classes[kept]]
        labels[image, :count] = classes[kept]
    return dets, labels


def suppress(boxes: Array, scores: Array, classes: Array, iou_threshold: float, best: int) -> Array:
    """Return the indices of the boxes that stay, at most ``best``, by falling score (equal ones in their order).

    boxes (M, 4), scores (M,), classes (M,). A box goes where one of its class with a better score, that stays,
    overlaps it by more than ``iou_threshold``.
    """
    ranks = np.argsort(-scores, kind="stable")
    by_class = np.argsort(classes[ranks], kind="stable")
    # In the order of the classes, the better first, a box's rivals lie behind it: slices, which nothing copies.
    ordered, own = boxes[ranks[by_class]], classes[ranks[by_class]]
    ends = np.searchsorted(own, own, side="right").tolist()
    places = np.argsort(by_class).tolist()
    left, top, right, bottom = np.ascontiguousarray(ordered.T)
    areas = (right - left) * (bottom - top)
    alive = np.ones(len(ordered), bool)
    kept: list[int] = []
    # One turn per box that stays, so at most ``best``; each looks at one class only.
    for rank, place in enumerate(places):
        if len(kept) == best:
            break
        if not alive[place]:
            continue
        kept.append(rank)
        rivals = slice(place + 1, ends[place])
        wide = np.minimum(right[place], right[rivals]) - np.maximum(left[place], left[rivals])
        high = np.minimum(bottom[place], bottom[rivals]) - np.maximum(top[place], top[rivals])
        common = np.maximum(wide, 0) * np.maximum(high, 0)
        alive[rivals] &= ~_beyond(common, areas[place] + areas[rivals] - common, iou_threshold)
    return ranks[np.array(kept, np.intp)]


def _beyond(common: Array, union: Array, iou_threshold: float) -> Array:
    """Return where an overlap exceeds the threshold; it is 1 where neither box has an area, see ``overlaps``."""
    shares = np.divide(common, union, out=np.ones_like(common), where=union > 0)
    beyond: Array = shares > iou_threshold
    return beyond


def overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of one box (4,) with others (M, 4); 1 where neither has an area.

    Boxes wholly outside the image are clipped to lines on its edge. The published results keep the best such line of
    a class and drop its others: there 0 / 0 does not count as an overlap small enough.
    """
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides.clip(min=0).prod(-1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(-1) - common
    shares: Array = np.divide(common, union, out=np.ones_like(common), where=union > 0)
    return shares


def met(source_boxes: Array, source_labels: Array, boxes: Array, labels: Array, iou: float = 0.9) -> tuple[int, int]:
    """Return how many of the source's boxes are met by a box of the same class, and how many there are.

    Boxes (n, 4) x1 y1 x2 y2, labels (n,) int. A box meets at most one: pairs are taken by falling overlap, of at
    least ``iou``; the earlier source's box first on a tie, then the earlier box.
    """
    overlap = ious(source_boxes, boxes)
    overlap[np.asarray(source_labels)[:, None] != np.asarray(labels)[None, :]] = 0
    return pairs_met(overlap, iou), len(source_boxes)


def pairs_met(overlap: Array, least: float) -> int:
    """Return how many rows of overlaps (n, m) are met: pairs are taken by falling overlap, each row and column once.

    An overlap is at least ``least``; of equal ones the earlier row first, then the earlier column.
    """
    rows, columns = np.nonzero(overlap >= least)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
    return len(taken_rows)


def ious(boxes: Array, others: Array) -> NDArray[np.float64]:
    """Return the intersections over unions, float64 (n, m), of boxes (n, 4) and (m, 4), x1 y1 x2 y2.

    Two boxes of next to no area are the same (1) where no side is further apart than ``ROUNDING``, whatever their
    overlap, which rounding alone decides; NaN overlaps nothing (0).
    """
    one = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    two = np.asarray(others, np.float64).reshape(1, -1, 4)
    corner = np.minimum(one[..., 2:], two[..., 2:]) - np.maximum(one[..., :2], two[..., :2])
    common = np.clip(corner, 0, None).prod(axis=-1)
    union = _areas(one) + _areas(two) - common
    slivers = np.maximum(_areas(one), _areas(two)) < SLIVER
    same = slivers & (np.abs(one - two) <= ROUNDING).all(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(union > 0, common / union, 0.0)
    found: NDArray[np.float64] = np.where(same, 1.0, np.nan_to_num(shares))
    return found


def _areas(boxes: Array) -> Array:
    areas: Array = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)
    return areas
