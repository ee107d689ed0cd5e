"""How many of one model's boxes another model gives too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array

# Boxes that were clipped to nothing at the image's edge: area in square pixels, and what rounding does to a side.
SLIVER = 1.0
ROUNDING = 0.1


def met(source_boxes: Array, source_labels: Array, boxes: Array, labels: Array, iou: float = 0.9) -> tuple[int, int]:
    """Return how many of the source's boxes are met by a box of the same class, and how many there are.

    Boxes (n, 4) x1 y1 x2 y2, labels (n,) int. A box meets at most one: pairs are taken by falling overlap, of at
    least ``iou``; the earlier source's box first on a tie, then the earlier box.
    """
    overlap = ious(source_boxes, boxes)
    overlap[np.asarray(source_labels)[:, None] != np.asarray(labels)[None, :]] = 0
    rows, columns = np.nonzero(overlap >= iou)
    order = np.argsort(-overlap[rows, columns], kind="stable")
    taken_rows: set[int] = set()
    taken_columns: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in taken_rows and column not in taken_columns:
            taken_rows.add(row)
            taken_columns.add(column)
    return len(taken_rows), len(source_boxes)


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
