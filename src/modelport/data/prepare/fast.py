"""A quicker resize and crop, for who accepts other pixels than the published script's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image

from modelport.core.errors import UsageError
from modelport.data.prepare.interpolation import RESAMPLING
from modelport.recipes.chain import resized_size
from modelport.recipes.steps import CenterCrop, ResizeShorter, Step


def fast_crop(geometry: Sequence[Step]) -> tuple[ResizeShorter, CenterCrop]:
    """Return the two steps that can be made faster. Raises UsageError where the recipe has others."""
    match [*geometry]:
        case [ResizeShorter() as resize, CenterCrop() as crop] if resize.interpolation in RESAMPLING:
            return resize, crop
    raise UsageError("--fast-preprocess: this recipe's steps have no quicker way", "leave it out")


def quickly_cropped(
    image: Image.Image, resize: ResizeShorter, crop: CenterCrop, color: str, decoded: Callable[[], None]
) -> Image.Image:
    """Return the crop, resized from no more of the image than it shows. The image may not be decoded yet.

    ``decoded`` is called when it is.
    """
    wide, high = resized_size(resize.size, image.size)
    # Halves, quarters or eighths of a JPEG come out of its decoder for less than the whole.
    image.draft(color, (wide, high))
    image.load()
    decoded()
    across, down = image.width / wide, image.height / high
    left, top = (wide - crop.size) / 2, (high - crop.size) / 2
    box = (left * across, top * down, (left + crop.size) * across, (top + crop.size) * down)
    return image.convert(color).resize((crop.size, crop.size), RESAMPLING[resize.interpolation], box=box)
