"""Samples as small pictures for people, whatever a recipe would make of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from modelport.core.errors import BadSampleError
from modelport.data.prepare.decoding import open_image, read_array, size_as_seen, told_of
from modelport.data.prepare.image_limits import IN_FLIGHT
from modelport.recipes.steps import DecodeArray, DecodeRaw, Step


def shrunk(
    content: bytes, name: str, first: Step, side: int, upright: bool
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return a sample as uint8 (H, W, 3), red first, and its own (width, height).

    No side is longer than ``side`` pixels, and nothing is enlarged; ``upright``: turned as the camera's EXIF tells.
    ``first`` is the first step of the recipe, which tells what the bytes are; ``name`` tells the sample in errors.
    Raises BadSampleError where the bytes are no sound picture, DataError where memory runs out.
    """
    with told_of(name):
        if isinstance(first, DecodeRaw):
            planes = np.frombuffer(content, np.uint8).reshape(3, first.height, first.width)
            image = Image.fromarray(np.ascontiguousarray(planes.transpose(1, 2, 0)))
            return _small(image, side), image.size
        if isinstance(first, DecodeArray):
            pixels = read_array(content, first.channels, name)
            if first.channels not in (1, 3):
                raise BadSampleError(f"{name}: an array of {first.channels} channels is no picture")
            image = Image.fromarray(pixels if first.channels == 3 else pixels[:, :, 0])
            return _small(image, side), image.size
        with open_image(content, name) as opened, IN_FLIGHT.share(opened.width * opened.height):
            size = size_as_seen(opened) if upright else opened.size
            opened.draft("RGB", (2 * side, 2 * side))  # a JPEG's decoder leaves out what would not be seen
            return _small(ImageOps.exif_transpose(opened) if upright else opened, side), size


def _small(image: Image.Image, side: int) -> NDArray[np.uint8]:
    small = image.convert("RGB")  # a copy
    small.thumbnail((side, side))
    return np.asarray(small)
