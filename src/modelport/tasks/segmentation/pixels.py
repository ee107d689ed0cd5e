"""Network outputs → the class of each pixel of the image, at the image's own size, in strips of bounded memory.

As mmsegmentation does it by default (BaseDecodeHead.predict_by_feat and BaseSegmentor.postprocess_result): scores are
resized to the network's input, what pads the image there is cut off, the rest is resized to the image, both bilinear
with ``align_corners=False``, and the best class of a pixel is the first of the largest score.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.placement import Placement
from modelport.core.values import Array

# The answer to a pixel whose scores hold NaN, or whose number is no class.
NO_CLASS = -1
# Scores of a strip of the image, in float32: 16 MiB.
STRIP_ELEMENTS = 4 * 1024 * 1024

Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class InImage:
    """The classes (h, w) of the pixels that the network was shown; ``top`` and ``left`` say where they begin."""

    classes: Classes
    top: int
    left: int

    def cut(self, mask: Array) -> Array:
        """Return the part of a mask of the whole image that the network was shown."""
        height, width = self.classes.shape
        return mask[self.top : self.top + height, self.left : self.left + width]


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the image, ``size`` pixels long, in an input of ``side`` pixels: x lies at ``scale * x + pad``."""

    size: int
    scale: float
    pad: int
    side: int

    def shown(self) -> tuple[int, int]:
        """Return the first pixel whose middle lies in the input, and the first behind them."""
        middles = (np.arange(self.size) + 0.5) * self.scale + self.pad
        inside = np.flatnonzero((middles >= 0) & (middles < self.side))
        return (int(inside[0]), int(inside[-1]) + 1) if inside.size else (0, 0)

    def places(self, first: int, last: int) -> NDArray[np.float64]:
        """Return where in the input, counted in its pixels' middles, the middles of pixels lie; clamped to the image.

        Beyond the middle of the image's last pixel in the input there is padding, which is cut off before resizing.
        """
        found = (np.arange(first, last) + 0.5) * self.scale - 0.5 + self.pad
        end = min(self.side, self.pad + round(self.size * self.scale))
        places: NDArray[np.float64] = np.clip(found, max(0, self.pad), end - 1)
        return places

    def nearest(self, first: int, last: int, width: int) -> Classes:
        """Return for each of these pixels the nearest of ``width`` places that stand for the whole input."""
        middles = ((np.arange(first, last) + 0.5) * self.scale + self.pad) * (width / self.side)
        places: Classes = np.clip(np.floor(middles), 0, width - 1).astype(np.int64)
        return places


def classes_in_image(output: Array, placement: Placement, canvas: tuple[int, int]) -> InImage:
    """Return the class of each pixel of the image that the network was shown.

    ``output`` is scores (C, h, w), floating, or numbers of classes (h, w), integers; ``canvas`` is height and width of
    the network's input. Raises nothing: a pixel without any class is ``NO_CLASS``.
    """
    rows, columns = _axes(placement, canvas)
    (top, bottom), (left, right) = rows.shown(), columns.shown()
    if output.ndim == 2:
        at = np.ix_(rows.nearest(top, bottom, output.shape[0]), columns.nearest(left, right, output.shape[1]))
        return InImage(output[at].astype(np.int64), top, left)
    found = np.empty((bottom - top, right - left), np.int64)
    for start, _, scores in scores_in_image(output, placement, canvas):
        found[start - top : start - top + scores.shape[1]] = _best(scores)
    return InImage(found, top, left)


def scores_in_image(
    output: Array, placement: Placement, canvas: tuple[int, int]
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield scores (C, rows, columns) of the pixels that the network was shown, strip by strip.

    ``output`` is (C, h, w), floating. With each strip come the image's row and column in which it begins.
    """
    rows, columns = _axes(placement, canvas)
    (top, bottom), (left, right) = rows.shown(), columns.shown()
    across = columns.places(left, right)
    strip = max(1, STRIP_ELEMENTS // max(1, output.shape[0] * max(canvas[1], right - left)))
    for start in range(top, bottom, strip):
        yield start, left, _scores(output, rows.places(start, min(start + strip, bottom)), across, canvas)


def _axes(placement: Placement, canvas: tuple[int, int]) -> tuple[_Axis, _Axis]:
    return (
        _Axis(placement.image_height, placement.scale_y, placement.pad_top, canvas[0]),
        _Axis(placement.image_width, placement.scale_x, placement.pad_left, canvas[1]),
    )


def _scores(
    output: Array, down: NDArray[np.float64], across: NDArray[np.float64], canvas: tuple[int, int]
) -> NDArray[np.float32]:
    """Return scores (C, len(down), len(across)) at places of the input of size ``canvas``, resized in two turns."""
    # Of the input, the rows alone that these places lie between.
    first, last = int(np.floor(down[0])), int(np.floor(down[-1])) + 1
    lines = np.arange(first, min(last, canvas[0] - 1) + 1)
    values = _resized(output, lines, canvas[0], axis=1)
    values = _resized(values, np.arange(canvas[1]), canvas[1], axis=2)
    return _between(_between(values, down - first, axis=1), across, axis=2)


def _resized(values: Array, lines: Array, side: int, axis: int) -> Array:
    """Return some lines of what an axis becomes when it is resized to ``side``, bilinear, ``align_corners=False``."""
    size = values.shape[axis]
    if size == side:
        return values.take(lines, axis=axis)
    return _between(values, np.clip((lines + 0.5) * (size / side) - 0.5, 0, size - 1), axis)


def _between(values: Array, places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Return what lies at ``places`` between the middles of an axis, float32."""
    low = np.floor(places).astype(np.int64)
    # A place in the very middle takes nothing of its neighbour, whose NaN would be NaN times zero too.
    high = np.minimum(low + (places > low), values.shape[axis] - 1)
    one = values.take(low, axis=axis).astype(np.float32)
    if np.array_equal(low, high):
        return one
    two = values.take(high, axis=axis).astype(np.float32)
    share = (places - low).astype(np.float32).reshape([-1 if place == axis else 1 for place in range(values.ndim)])
    mixed: NDArray[np.float32] = one * (1 - share) + two * share
    return mixed


def _best(scores: NDArray[np.float32]) -> Classes:
    found = scores.argmax(axis=0)
    # The largest of what holds NaN is NaN.
    largest = np.take_along_axis(scores, found[None], axis=0)[0]
    return np.where(np.isnan(largest), NO_CLASS, found)
