"""The steps between decoding and normalisation, on images of 8 bits a channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import BadSampleError
from modelport.data.prepare.image_limits import OR_SKIP, check_area
from modelport.data.prepare.interpolation import Picture, opencv, resized, size_of
from modelport.data.prepare.letterbox import YoloBox
from modelport.data.prepare.resampling import SUPPORT, resampler, takes
from modelport.recipes.chain import resized_size
from modelport.recipes.steps import CenterCrop, Grey, Letterbox, Resize, ResizeShorter, Step

Size = tuple[int, int]


def applied(step: Step, picture: Picture, blue_first: bool, name: str) -> Picture:
    """Return what a step makes of the picture; ``blue_first`` tells the order of three channels.

    ``name`` tells the sample in errors. Raises BadSampleError for an image that a letterbox would leave nothing of.
    """
    match step:
        case ResizeShorter():
            return resized(picture, resized_size(step.size, size_of(picture)), step.interpolation)
        case Resize():
            return resized(picture, (step.width, step.height), step.interpolation)
        case CenterCrop():
            left, top = corner(step, size_of(picture))
            if isinstance(picture, Image.Image):
                return picture.crop((left, top, left + step.size, top + step.size))
            return picture[top : top + step.size, left : left + step.size]
        case Letterbox():
            return YoloBox(step).applied(picture, name)
        case Grey() if isinstance(picture, Image.Image):
            return _grey(step, picture, blue_first)
    raise AssertionError(step)


def at_once(geometry: Sequence[Step], image: Image.Image) -> NDArray[np.uint8] | None:
    """Return what resize and crop would, bit for bit, computed for the crop alone; None where they must do it."""
    match [*geometry]:
        case [ResizeShorter() as resize, CenterCrop() as crop] if takes(*image.size):
            resample, to = resampler(), resized_size(resize.size, image.size)
            if resample is None or resize.interpolation not in SUPPORT:
                return None
            return resample(image, to, corner(crop, to), crop.size, resize.interpolation)
    return None


def most_pixels(geometry: Sequence[Step], size: Size, name: str) -> int:
    """Return how many pixels an image of this (width, height) has at its largest, as found and resized.

    Raises BadSampleError where a step could not take it; a rotation by EXIF changes none of that.
    """
    most = found = size[0] * size[1]
    for step in geometry:
        match step:
            case ResizeShorter():
                size = resized_size(step.size, size)
            case Resize() | Letterbox():
                size = (step.width, step.height)
            case CenterCrop():
                if min(size) < step.size:
                    raise BadSampleError(
                        f"{name}: {size[0]} × {size[1]} is smaller than the crop of {step.size}", OR_SKIP
                    )
                size = (step.size, step.size)
                continue
            case _:
                continue
        # A few thousand pixels in one line would otherwise become gigabytes.
        check_area(*size, name)
        most = max(most, found + size[0] * size[1])
    return most


def corner(step: CenterCrop, size: Size) -> Size:
    """Return left and top of the crop in an image of (width, height)."""
    across, down = size[0] - step.size, size[1] - step.size
    if step.rounding == "floor":
        return across // 2, down // 2
    return round(across / 2), round(down / 2)


def _grey(step: Grey, image: Image.Image, blue_first: bool) -> Image.Image:
    if step.by == "pillow":
        grey = (turned(image) if blue_first else image).convert("L")
    else:
        module = opencv("grey by opencv")
        code = module.COLOR_BGR2GRAY if blue_first else module.COLOR_RGB2GRAY
        grey = Image.fromarray(module.cvtColor(np.asarray(image), code))
    return grey if step.channels == 1 else Image.merge("RGB", [grey] * 3)


def turned(image: Image.Image) -> Image.Image:
    """Return an image of three channels with the first and the last changed places."""
    return Image.merge("RGB", image.split()[::-1])
