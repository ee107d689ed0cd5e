"""The random steps of a view, as torchvision's transforms of float tensors define them, over many images at once.

Drawing and doing are apart: ``draw_…`` makes parameters of uniform numbers, the others need no randomness.
Images are planes, float32 (3, N, H, W) in [0, 1]; parameters are arrays of N rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]
Box = tuple[Whole, Whole, Whole, Whole]
Jitter = tuple[Flags, Whole, NDArray[np.float32]]

# How often a crop is tried before the middle is taken.
ATTEMPTS = 10
# ITU-R BT.601, with the digits that torchvision has.
GREY = (np.float32(0.2989), np.float32(0.587), np.float32(0.114))


def draw_chance(numbers: Floats, p: float) -> Flags:
    """Return whether it happens, bool (N,); ``numbers`` (N, 1)."""
    return np.less(numbers[:, 0], p)


def draw_crop(numbers: Floats, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Box:
    """Return top, left, height and width of a random part, int64 (N,) each; ``numbers`` (N, 22).

    The first of ten attempts that fits is taken, else the middle at the nearest ratio.
    """
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * numbers[:, :ATTEMPTS])
    low, high = np.log(ratio)
    ratios = np.exp(low + (high - low) * numbers[:, ATTEMPTS : 2 * ATTEMPTS])
    widths, heights = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    index = np.arange(len(numbers)), fits.argmax(axis=1)
    found = fits.any(axis=1)
    full_height, full_width = _middle(height, width, ratio)
    h = np.where(found, heights[index], full_height)
    w = np.where(found, widths[index], full_width)
    top = np.where(found, np.floor(numbers[:, -2] * (height - h + 1)), (height - full_height) // 2)
    left = np.where(found, np.floor(numbers[:, -1] * (width - w + 1)), (width - full_width) // 2)
    return top.astype(np.int64), left.astype(np.int64), h.astype(np.int64), w.astype(np.int64)


def draw_jitter(numbers: Floats, p: float, strengths: tuple[float, float, float, float]) -> Jitter:
    """Return whether, the order of the four changes, int64 (N, 4), and their factors; ``numbers`` (N, 9)."""
    *factors, hue = strengths
    low = np.array([max(0.0, 1.0 - strength) for strength in factors] + [-hue])
    high = np.array([1.0 + strength for strength in factors] + [hue])
    order = np.argsort(numbers[:, 1:5], axis=1, kind="stable")
    return numbers[:, 0] < p, order, (low + (high - low) * numbers[:, 5:9]).astype(np.float32)


def draw_blur(numbers: Floats, sigma: tuple[float, float]) -> Floats:
    """Return a sigma, (N,); ``numbers`` (N, 1)."""
    drawn: Floats = sigma[0] + (sigma[1] - sigma[0]) * numbers[:, 0]
    return drawn


def cropped(planes: Planes, box: Box, size: int) -> Planes:
    """Return the part resized to ``size`` × ``size``, bilinear with antialiasing."""
    _, count, height, width = planes.shape
    top, left, h, w = box
    # Both directions as products with a matrix per image, the three planes side by side.
    down = _resizing(top, h, height, size) @ planes.transpose(1, 2, 0, 3).reshape(count, height, 3 * width)
    across = down.reshape(count, size * 3, width) @ _resizing(left, w, width, size).transpose(0, 2, 1)
    return np.ascontiguousarray(across.reshape(count, size, 3, size).transpose(2, 0, 1, 3))


def flipped(planes: Planes, chosen: Flags) -> Planes:
    """Return the chosen images mirrored left and right."""
    planes[:, chosen] = planes[:, chosen, :, ::-1]
    return planes


def greyed(planes: Planes, chosen: Flags) -> Planes:
    """Return the chosen images in grey."""
    planes[:, chosen] = _grey(planes[:, chosen])
    return planes


def jittered(planes: Planes, jitter: Jitter) -> Planes:
    """Return the chosen images with brightness, contrast, saturation and hue changed in each one's own order."""
    chosen, order, factors = jitter
    for place in range(len(_CHANGES)):
        for kind, change in enumerate(_CHANGES):
            index = np.flatnonzero(chosen & (order[:, place] == kind))
            if len(index):
                planes[:, index] = change(planes[:, index], factors[index, kind].reshape(-1, 1, 1))
    return planes


def blurred(planes: Planes, sigma: Floats, kernel: int) -> Planes:
    """Return the images blurred with a Gaussian of ``kernel`` taps; the border mirrors without its edge."""
    reach = kernel // 2
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma[:, None]) ** 2)
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    for axis in (2, 3):
        size = planes.shape[axis]
        border = [(0, 0)] * axis + [(reach, reach)] + [(0, 0)] * (3 - axis)
        wide = np.pad(planes, border, mode="reflect")
        moved = [wide[(slice(None),) * axis + (slice(shift, shift + size),)] for shift in range(kernel)]
        planes = moved[reach] * taps[:, reach].reshape(-1, 1, 1)
        for shift in range(reach):
            planes += (moved[shift] + moved[kernel - 1 - shift]) * taps[:, shift].reshape(-1, 1, 1)
    return planes


def _middle(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Return height and width of the largest part within the ratios."""
    if width / height < ratio[0]:
        return round(width / ratio[0]), width
    if width / height > ratio[1]:
        return height, round(height * ratio[1])
    return height, width


def _resizing(start: Whole, length: Whole, side: int, size: int) -> Planes:
    """Return the matrices, float32 (N, size, side), that resize ``length`` pixels from ``start`` on to ``size``."""
    step = (length / size)[:, None, None]
    centers = step * (np.arange(size) + 0.5)[:, None]
    places = np.arange(side) - start[:, None, None]
    # Where the part is enlarged, a pixel reaches as far as its neighbour's middle; where it shrinks, further.
    weights = 1 - np.abs(places + 0.5 - centers) / np.maximum(step, 1)
    weights = np.where((places >= 0) & (places < length[:, None, None]), np.maximum(weights, 0), 0)
    matrices: Planes = (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)
    return matrices


def _grey(planes: Planes) -> Planes:
    red, green, blue = planes
    grey: Planes = GREY[0] * red + GREY[1] * green + GREY[2] * blue
    return grey


def _brightness(planes: Planes, factor: NDArray[np.float32]) -> Planes:
    return _clipped(planes * factor)


def _contrast(planes: Planes, factor: NDArray[np.float32]) -> Planes:
    mean = _grey(planes).reshape(planes.shape[1], -1).mean(axis=1).reshape(-1, 1, 1)
    return _clipped(planes * factor + (1 - factor) * mean)


def _saturation(planes: Planes, factor: NDArray[np.float32]) -> Planes:
    return _clipped(planes * factor + (1 - factor) * _grey(planes))


def _hue(planes: Planes, turn: NDArray[np.float32]) -> Planes:
    """Return the images with the hue turned by a share of the circle; value and saturation stay."""
    red, green, blue = planes
    value = planes.max(axis=0)
    chroma = value - planes.min(axis=0)
    divisor = np.where(chroma == 0, np.float32(1), chroma)
    # In sixths of the circle; the first largest channel decides.
    hue = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    hue += 6 * turn
    hue -= 6 * np.floor(hue / 6)
    out = np.empty_like(planes)
    np.subtract(2, np.abs(hue - 3), out=out[0])
    np.subtract(np.abs(hue - 2), 1, out=out[1])
    np.subtract(np.abs(hue - 4), 1, out=out[2])
    _clipped(out)
    # How far each channel lies below the largest, as a share of the chroma.
    out *= chroma
    np.subtract(value, out, out=out)
    return _clipped(out)


def _clipped(planes: Planes) -> Planes:
    return np.clip(planes, np.float32(0), np.float32(1), out=planes)


_CHANGES: tuple[Callable[[Planes, NDArray[np.float32]], Planes], ...] = (_brightness, _contrast, _saturation, _hue)
