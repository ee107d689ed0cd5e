"""Resize and crop in one go, to the very bits that Pillow's resize and crop give, for a fifth of the time.

Pillow resizes the whole image and then most columns are cut off; here only what the crop shows is computed. The
arithmetic is Pillow's (its file Resample.c): coefficients of 22 bits, sums in 32-bit integers, rounded to 8 bits
between the horizontal and the vertical pass. The horizontal pass takes many rows side by side, as vector units like it,
and every inner loop writes to neighbours in memory. It needs the package numba; where that is missing, Pillow does the
work, with equal results.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Reach of the filters, in pixels of the smaller image.
SUPPORT = {"bilinear": 1.0, "bicubic": 2.0}
# Rows that the horizontal pass takes at a time.
LANES = 32
# Of a larger image no more than this many pixels are copied and made RGB at once; photographs are smaller.
BAND_PIXELS = 1 << 24

Resample = Callable[[Image.Image, tuple[int, int], tuple[int, int], int, str], NDArray[np.uint8]]


@cache
def resampler() -> Resample | None:
    """Return the function that resizes and crops, compiled on first use; None without numba.

    It takes an image that can be made RGB, the (width, height) to resize to, (left, top) and size of the crop, and
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
    coefficients, horizontal, vertical = compiled(_coefficients), compiled(_horizontal), compiled(_vertical)

    def resample(
        image: Image.Image, to: tuple[int, int], corner: tuple[int, int], size: int, filter_name: str
    ) -> NDArray[np.uint8]:
        width, height = image.size
        support, cubic = SUPPORT[filter_name], filter_name == "bicubic"
        across = coefficients(width, to[0], corner[0], size, support, cubic)
        down = coefficients(height, to[1], corner[1], size, support, cubic)
        starts, lengths, _ = down
        first, last, rows = starts[0], starts[-1] + lengths[-1], max(1, BAND_PIXELS // width)
        # Each row is resized by itself, so that a band at a time gives the same.
        parts = [horizontal(_pixels(image, y, min(y + rows, last)), *across) for y in range(first, last, rows)]
        between = parts[0] if len(parts) == 1 else np.concatenate(parts)
        made: NDArray[np.uint8] = vertical(between, *down)
        return made

    return resample if _equals_pillow(resample) else None


def _pixels(image: Image.Image, top: int, bottom: int) -> NDArray[np.uint32]:
    """Return rows of an image as uint32 (bottom - top, width), a pixel's RGB in the lower three bytes."""
    if bottom - top < image.height and image.width * image.height > BAND_PIXELS:
        image, top, bottom = image.crop((0, top, image.width, bottom)), 0, bottom - top
    image = image if image.mode == "RGB" else image.convert("RGB")
    # Pillow's own memory holds a pixel in four bytes: copied so, for less than three of them take.
    pixels = np.frombuffer(image.tobytes("raw", "RGBX"), np.dtype("<u4"))
    return pixels.reshape(image.height, image.width)[top:bottom]


def takes(width: int, height: int) -> bool:
    """Whether an image of this size is resized here: of a tall one Pillow makes the vertical pass first."""
    return height <= 2 * width


def _equals_pillow(resample: Resample) -> bool:
    """Try both on one wide and one high image, with both filters."""
    rng = np.random.default_rng(0)
    for width, height in ((70, 50), (50, 99)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        size, corner = (width * 3 // 5, height * 3 // 5), (2, 3)
        for name in SUPPORT:
            whole = image.resize(size, Image.Resampling[name.upper()])
            want = np.asarray(whole.crop((*corner, corner[0] + 20, corner[1] + 20)))
            if not np.array_equal(resample(image, size, corner, 20, name), want):
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


def _horizontal(
    pixels: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64], weights: NDArray[np.int32]
) -> NDArray[np.uint32]:
    """Return uint32 (rows of ``pixels``, len(starts)): each row's weighted sums of pixels, a pixel in four bytes."""
    rows, columns = pixels.shape[0], len(starts)
    begin, width = starts[0], starts[-1] + lengths[-1] - starts[0]
    flat, places = pixels.reshape(-1), np.empty(LANES, np.int64)
    half, byte = np.int32(1 << 21), np.uint32(255)
    turned, summed = np.empty((width, LANES), np.uint32), np.empty((columns, LANES), np.uint32)
    red, green, blue = np.empty(LANES, np.int32), np.empty(LANES, np.int32), np.empty(LANES, np.int32)
    out = np.empty((rows, columns), np.uint32)
    for y in range(0, rows, LANES):
        # Lanes beyond the last row repeat it, and are not written.
        for lane in range(LANES):
            places[lane] = min(y + lane, rows - 1) * pixels.shape[1] + begin
        for x in range(width):
            for lane in range(LANES):
                turned[x, lane] = flat[places[lane] + x]
        for x in range(columns):
            red[:] = half
            green[:] = half
            blue[:] = half
            for tap in range(lengths[x]):
                weight, column = weights[x, tap], turned[starts[x] - begin + tap]
                for lane in range(LANES):
                    pixel = column[lane]
                    red[lane] += weight * np.int32(pixel & byte)
                    green[lane] += weight * np.int32((pixel >> np.uint32(8)) & byte)
                    blue[lane] += weight * np.int32((pixel >> np.uint32(16)) & byte)
            for lane in range(LANES):
                low = np.uint32(min(max(red[lane] >> 22, 0), 255))
                middle = np.uint32(min(max(green[lane] >> 22, 0), 255))
                last = np.uint32(min(max(blue[lane] >> 22, 0), 255))
                summed[x, lane] = low | (middle << np.uint32(8)) | (last << np.uint32(16))
        for lane in range(min(LANES, rows - y)):
            for x in range(columns):
                out[y + lane, x] = summed[x, lane]
    return out


def _vertical(
    between: NDArray[np.uint32], starts: NDArray[np.int64], lengths: NDArray[np.int64], weights: NDArray[np.int32]
) -> NDArray[np.uint8]:
    """Return uint8 (len(starts), columns, 3): each column's weighted sums. Row 0 of ``between`` is ``starts[0]``."""
    rows, columns = len(starts), between.shape[1]
    values, half = between.view(np.uint8), np.int32(1 << 21)
    sums, line = np.empty(columns * 4, np.int32), np.empty(columns * 4, np.uint8)
    out = np.empty((rows, columns, 3), np.uint8)
    for y in range(rows):
        sums[:] = half
        for tap in range(lengths[y]):
            weight, row = weights[y, tap], values[starts[y] - starts[0] + tap]
            for x in range(columns * 4):
                sums[x] += weight * np.int32(row[x])
        for x in range(columns * 4):
            line[x] = min(max(sums[x] >> 22, 0), 255)
        for x in range(columns):
            for channel in range(3):
                out[y, x, channel] = line[4 * x + channel]
    return out
