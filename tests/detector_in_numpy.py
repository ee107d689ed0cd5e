"""What the detector's last layers do, in plain NumPy: anchors and deltas, as mmdetection has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from modelport.core.values import Array

STRIDES = (8, 16, 32, 64, 128)  # of P3 to P7
OCTAVE_BASE, OCTAVE_SCALES = 4, 3
RATIOS = (0.5, 1.0, 2.0)  # height over width
KEPT_PER_LEVEL = 1000
LARGEST_LOG_RATIO = abs(math.log(16 / 1000))


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
        raise ValueError(f"stride {stride} of {size}: logits {logits.shape} and deltas {deltas.shape}")
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
