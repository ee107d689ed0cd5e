"""The random steps of a view on images of 8 bits, as Pillow and the published SimCLR script do them, image by image.

Each step rounds or cuts off to 8 bits on its own: blends, the hue and the blur cut off, the resize rounds twice.
Parameters are those of ``view_steps``; images are uint8 (H, W, 3).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from modelport.data.prepare.view_steps import Box, Flags, Floats, Jitter

Pixels = NDArray[np.uint8]


def cropped(images: Pixels, box: Box, size: int) -> Pixels:
    """Return the part of each image resized by Pillow to ``size`` × ``size``, bilinear with antialiasing."""
    parts = (
        Image.fromarray(np.ascontiguousarray(image[top : top + height, left : left + width]))
        for image, top, left, height, width in zip(images, *box, strict=True)
    )
    resized = [np.asarray(part.resize((size, size), Image.Resampling.BILINEAR)) for part in parts]
    return np.stack(resized)


def flipped(images: Pixels, chosen: Flags) -> Pixels:
    """Return the chosen images mirrored left and right."""
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def greyed(images: Pixels, chosen: Flags) -> Pixels:
    """Return the chosen images in grey."""
    return _each(images, chosen, lambda image, _: image.convert("L").convert("RGB"))


def jittered(images: Pixels, jitter: Jitter) -> Pixels:
    """Return the chosen images with brightness, contrast, saturation and hue changed in each one's own order."""
    chosen, order, factors = jitter

    def change(image: Image.Image, index: int) -> Image.Image:
        for kind in order[index]:
            image = _CHANGES[kind](image, float(factors[index, kind]))
        return image

    return _each(images, chosen, change)


def blurred(images: Pixels, sigma: Floats, kernel: int) -> Pixels:
    """Return the images blurred in float32, down and then across, and cut off to 8 bits.

    A product is added as a fused multiply-add does it, tap by tap: whether white stays white hangs on the last bit.
    """
    reach = kernel // 2
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma[:, None] * sigma[:, None]))
    # float32 as the script's weights; in float64 a product of two of them is exact.
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    values: NDArray[np.float32] = np.divide(images, 255, dtype=np.float32)
    values = np.pad(values, [(0, 0), (reach, reach), (reach, reach), (0, 0)], mode="reflect")
    for axis in (1, 2):
        size = images.shape[axis]
        total: NDArray[np.float32] = np.zeros(1, np.float32)
        for shift in range(kernel):
            moved = values[(slice(None),) * axis + (slice(shift, shift + size),)]
            total = (total + moved * taps[:, shift].reshape(-1, 1, 1, 1)).astype(np.float32)
        values = total
    return (values * np.float32(255)).astype(np.uint8)


def _each(images: Pixels, chosen: Flags, change: Callable[[Image.Image, int], Image.Image]) -> Pixels:
    out = images.copy()
    for index in np.flatnonzero(chosen):
        out[index] = np.asarray(change(Image.fromarray(np.ascontiguousarray(images[index])), int(index)))
    return out


def _hue(image: Image.Image, turn: float) -> Image.Image:
    """Return the image with its hue of 8 bits turned by a share of the circle, cut off to a whole step."""
    hsv = np.array(image.convert("HSV"))
    hsv[..., 0] = (hsv[..., 0].astype(np.int64) + int(turn * 255)) % 256
    return Image.fromarray(hsv, "HSV").convert("RGB")


_CHANGES: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    _hue,
)
