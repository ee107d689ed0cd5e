"""The detector's boxes in plain NumPy: anchors, deltas, and the suppression of doubles.

The settings are those of mmdetection's ``retinanet_r50_nasfpn_crop640_50e_coco``. What the model leaves to the host is
``best_detections``; ``decode_levels`` does the part before it from a head's raw outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modelport.core.errors import SignatureError
from modelport.core.values import Array

STRIDES = (8, 16, 32, 64, 128)  # of P3 to P7
OCTAVE_BASE, OCTAVE_SCALES = 4, 3
RATIOS = (0.5, 1.0, 2.0)  # height over width
KEPT_PER_LEVEL = 1000
LARGEST_LOG_RATIO = abs(math.log(16 / 1000))
SCORE_THRESHOLD = 0.05  # a score must exceed it
IOU_THRESHOLD = 0.5  # a box goes where its overlap exceeds it
BEST = 100
NO_LABEL = -1


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
    boxes, classes = boxes[ranks], classes[ranks]
    by_class = np.argsort(classes, kind="stable")
    limits = np.searchsorted(classes[by_class], np.arange(classes.max(initial=-1) + 2))
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    # One turn per box that stays, so at most ``best``; each looks at one class only.
    place = 0
    while len(kept) < best and place < len(alive):
        place += int(alive[place:].argmax())
        if not alive[place]:
            break
        kept.append(place)
        rivals = by_class[limits[classes[place]] : limits[classes[place] + 1]]
        rivals = rivals[np.searchsorted(rivals, place, side="right") :]
        alive[rivals[overlaps(boxes[place], boxes[rivals]) > iou_threshold]] = False
        place += 1
    return ranks[np.array(kept, np.intp)]


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


def decode_levels(logits: Sequence[Array], deltas: Sequence[Array], size: tuple[int, int]) -> tuple[Array, Array]:
    """Turn a head's raw outputs, P3 first, into boxes (N, K, 4) and scores (N, K, C).

    Per level (N, 9 · C, h, w) logits and (N, 36, h, w) deltas; ``size`` is height and width of the network's image.
    Every level gives its 1000 anchors with the best class score, or all where it has fewer.
    """
    found = [_decode_level(*level, size) for level in zip(logits, deltas, STRIDES, strict=True)]
    return np.concatenate([boxes for boxes, _ in found], 1), np.concatenate([scores for _, scores in found], 1)


def level_anchors(rows: int, columns: int, stride: int) -> Array:
    """Return (rows · columns · 9, 4) float32 anchors, x1 y1 x2 y2: row by row, in a place by ratio, then by scale."""
    scales = OCTAVE_BASE * stride * 2.0 ** (np.arange(OCTAVE_SCALES) / OCTAVE_SCALES)
    tall = np.sqrt(RATIOS)
    half = np.stack([np.outer(1 / tall, scales), np.outer(tall, scales)], -1).reshape(-1, 2) / 2
    # The first centre is the image's corner, not half a stride inside.
    y, x = np.meshgrid(np.arange(rows) * stride, np.arange(columns) * stride, indexing="ij")
    centres = np.stack([x, y], -1).reshape(-1, 1, 2)
    return np.concatenate([centres - half, centres + half], -1).reshape(-1, 4).astype(np.float32)


def delta2bbox(anchors: Array, deltas: Array, size: tuple[int, int]) -> Array:
    """Shift and stretch (…, 4) anchors by (…, 4) deltas (mean 0, deviation 1); clip to ``size`` (height, width)."""
    sides = anchors[..., 2:] - anchors[..., :2]
    centres = (anchors[..., :2] + anchors[..., 2:]) / 2 + deltas[..., :2] * sides
    half = sides * np.exp(deltas[..., 2:].clip(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)) / 2
    corners = np.concatenate([centres - half, centres + half], -1)
    height, width = size
    clipped: Array = corners.clip(0, np.array([width, height, width, height], corners.dtype))
    return clipped


def _decode_level(logits: Array, deltas: Array, stride: int, size: tuple[int, int]) -> tuple[Array, Array]:
    rows, columns = size[0] // stride, size[1] // stride
    anchors = level_anchors(rows, columns, stride)
    if logits.shape[2:] != (rows, columns) or deltas.shape[1:] != (4 * len(RATIOS) * OCTAVE_SCALES, rows, columns):
        raise SignatureError(
            f"stride {stride} of an image of {size[0]}×{size[1]} got logits {logits.shape} and deltas {deltas.shape}",
            f"give each level's outputs in order, P3 first; sides are multiples of {STRIDES[-1]}",
        )
    images = len(logits)
    logits = logits.transpose(0, 2, 3, 1).reshape(images, len(anchors), -1)
    deltas = deltas.transpose(0, 2, 3, 1).reshape(images, len(anchors), 4)
    if len(anchors) > KEPT_PER_LEVEL:
        best = np.argsort(-logits.max(-1), axis=-1, kind="stable")[:, :KEPT_PER_LEVEL, None]
        logits, deltas = np.take_along_axis(logits, best, 1), np.take_along_axis(deltas, best, 1)
        anchors = anchors[best[..., 0]]
    # Below −80 the probability is 0 in float32 for every purpose, and exp would overflow soon after.
    scores = 1 / (1 + np.exp(-logits.clip(min=-80)))
    return delta2bbox(anchors, deltas, size), scores
