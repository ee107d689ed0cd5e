"""Resize and crop in one go, to the very bits that Pillow's resize and crop give, for a third of the time.

Pillow resizes the whole image and then most columns are cut off; here only what the crop shows is computed. The
arithmetic is Pillow's (its file Resample.c): coefficients of 22 bits, sums in 32-bit integers, rounded to 8 bits
between the horizontal and the vertical pass. It needs the package numba; where that is missing, Pillow does the work,
with equal results.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Reach of the filters, in pixels of the smaller image.
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}

Resample = Callable[[NDArray[np.uint8], tuple[int, int], tuple[int, int], int, str], NDArray[np.uint8]]


@cache
def resampler() -> Resample | None:
    """Return the function that resizes and crops, compiled on first use; None without numba.

    It takes pixels uint8 (H, W, 3), the (width, height) to resize to, (left, top) and size of the crop, and
    ``bilinear`` or ``bicubic``, and returns uint8 (size, size, 3). The crop must lie within the resized image, and the
    image must be one that ``takes`` accepts. None as well where another Pillow computes otherwise: its results are the
    measure.
    """
    try:
        import numba
    except ImportError:
        return None
    # Compiled code is kept beside this file, or in the user's cache; it runs without the interpreter's lock.
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy")
    coefficients, passes = compiled(_coefficients), compiled(_passes)

    def resample(
        pixels: NDArray[np.uint8], to: tuple[int, int], corner: tuple[int, int], size: int, filter_name: str
    ) -> NDArray[np.uint8]:
        height, width, _ = pixels.shape
        support, cubic = SUPPORT[filter_name], filter_name == "bicubic"
        across = coefficients(width, to[0], corner[0], size, support, cubic)
        down = coefficients(height, to[1], corner[1], size, support, cubic)
        made: NDArray[np.uint8] = passes(pixels, *across, *down)
        return made

    return resample if _equals_pillow(resample) else None


def takes(width: int, height: int) -> bool:
    """Whether an image of this size is resized here: of a tall one Pillow makes the vertical pass first."""
    return height <= 2 * width


def _equals_pillow(resample: Resample) -> bool:
    """Try both on one wide and one high image, with both filters."""
    rng = np.random.default_rng(0)
    for width, height in ((70, 50), (50, 99)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        size, corner = (width * 3 // 5, height * 3 // 5), (2, 3)
        for name in SUPPORT:
            whole = Image.fromarray(pixels).resize(size, Image.Resampling[name.upper()])
            want = np.asarray(whole.crop((*corner, corner[0] + 20, corner[1] + 20)))
            if not np.array_equal(resample(pixels, size, corner, 20, name), want):
                return False
    return True


def _coefficients(
    inside: int, outside: int, first: int, count: int, support: float, cubic: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return where each of ``count`` output pixels starts, how many pixels it takes, and their weights."""
    scale = inside / outside
    stretch = max(scale, 1.0)
    reach = support * stretch
    starts, lengths = np.empty(count, np.int64), np.empty(count, np.int64)
    weights = np.zeros((count, int(np.ceil(reach)) * 2 + 1), np.int32)
    values = np.empty(weights.shape[1], np.float64)
    for index in range(count):
        center = (first + index + 0.5) * scale
        low = max(int(center - reach + 0.5), 0)
        high = min(int(center + reach + 0.5), inside)
        total = 0.0
        for place in range(high - low):
            x = abs((place + low - center + 0.5) * (1.0 / stretch))
            value = 0.0
            if cubic:
                # Keys' kernel with a = -0.5, in Pillow's order of operations.
                if x < 1.0:
                    value = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1.0
                elif x < 2.0:
                    value = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
            elif x < 1.0:
                value = 1.0 - x
            values[place] = value
            total += value
        starts[index], lengths[index] = low, high - low
        for place in range(high - low):
            value = values[place] / total if total != 0.0 else values[place]
            value = value * (1 << 22)
            weights[index, place] = int(value - 0.5) if value < 0 else int(value + 0.5)
    return starts, lengths, weights


def _passes(
    pixels: NDArray[np.uint8],
    left: NDArray[np.int64],
    wide: NDArray[np.int64],
    across: NDArray[np.int32],
    top: NDArray[np.int64],
    high: NDArray[np.int64],
    down: NDArray[np.int32],
) -> NDArray[np.uint8]:
    """Return the resized pixels: the rows that are needed go through the horizontal pass, then the vertical one."""
    columns, rows = len(left), len(top)
    first, last = top[0], top[-1] + high[-1]
    half = np.int32(1 << 21)
    between = np.empty((last - first, columns * 3), np.uint8)
    for y in range(last - first):
        line = pixels[first + y]
        for x in range(columns):
            red, green, blue = half, half, half
            start = left[x]
            for tap in range(wide[x]):
                weight = across[x, tap]
                red += weight * np.int32(line[start + tap, 0])
                green += weight * np.int32(line[start + tap, 1])
                blue += weight * np.int32(line[start + tap, 2])
            between[y, 3 * x] = min(max(red >> 22, 0), 255)
            between[y, 3 * x + 1] = min(max(green >> 22, 0), 255)
            between[y, 3 * x + 2] = min(max(blue >> 22, 0), 255)
    out = np.empty((rows, columns * 3), np.uint8)
    sums = np.empty(columns * 3, np.int32)
    for y in range(rows):
        sums[:] = half
        for tap in range(high[y]):
            weight = down[y, tap]
            line_between = between[top[y] - first + tap]
            for x in range(columns * 3):
                sums[x] += weight * np.int32(line_between[x])
        for x in range(columns * 3):
            out[y, x] = min(max(sums[x] >> 22, 0), 255)
    return out.reshape(rows, columns, 3)
