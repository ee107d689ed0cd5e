"""Fitting an image into the network's input and filling the rest: as mmdetection does it, and as YOLO does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import BadSampleError
from modelport.core.placement import Placement
from modelport.data.prepare.interpolation import Picture, opencv, resized, size_of
from modelport.recipes import steps as recipe_steps
from modelport.recipes.steps import PadCenter, ResizeToFit, Step

Size = tuple[int, int]


class Box(ABC):
    """Where images lie in the network's input."""

    @abstractmethod
    def place(self, width: int, height: int, name: str) -> tuple[Placement, Size]:
        """Return where an image of this size goes, and the width and height that it is resized to.

        Raises BadSampleError for an image so narrow that nothing of it is left.
        """

    def check(self, width: int, height: int, name: str) -> None:
        """Raise BadSampleError for an image of which nothing is left, whether or not it is rotated by its EXIF."""
        try:
            self.place(height, width, name)
        except BadSampleError:
            self.place(width, height, name)


@dataclass(frozen=True, slots=True)
class LateBox(Box):
    """Scales an image to fit ``fit`` (width, height); zeros around it, after the normalisation, to ``canvas``."""

    fit: Size
    canvas: Size

    @staticmethod
    def of(steps: Sequence[Step]) -> LateBox | None:
        """Return what resize_to_fit and pad_center make, None where they are not among the steps.

        Raises ModelportError where OpenCV is missing.
        """
        kinds = {type(step): step for step in steps}
        fit, pad = kinds.get(ResizeToFit), kinds.get(PadCenter)
        if not isinstance(fit, ResizeToFit) or not isinstance(pad, PadCenter):
            return None
        # Here and not at the first image: a missing package is no bad sample.
        opencv("resize_to_fit", "detection")
        return LateBox((fit.width, fit.height), (pad.width, pad.height))

    def place(self, width: int, height: int, name: str) -> tuple[Placement, Size]:
        """Return the place in the middle, an odd margin's extra row below and right."""
        scale = min(self.fit[0] / width, self.fit[1] / height)
        size = int(width * scale + 0.5), int(height * scale + 0.5)
        _refuse_nothing((width, height), size, self.canvas, name)
        left, top = (self.canvas[0] - size[0]) // 2, (self.canvas[1] - size[1]) // 2
        return Placement(width, height, size[0] / width, size[1] / height, left, top), size

    def resized(self, image: Image.Image, name: str) -> tuple[NDArray[np.uint8], Placement]:
        """Return uint8 (h, w, 3), not padded, and where it goes. Raises BadSampleError as ``place`` does."""
        placement, size = self.place(image.width, image.height, name)
        module = opencv("resize_to_fit", "detection")
        pixels: NDArray[np.uint8] = module.resize(_rgb(image), size, interpolation=module.INTER_LINEAR)
        return pixels, placement


@dataclass(frozen=True, slots=True)
class YoloBox(Box):
    """The step ``letterbox``: LetterBox of Ultralytics' data/augment.py, ``auto`` and ``scale_fill`` false.

    With scale r = min(height / h, width / w), at most 1 unless ``enlarge``: sides round(w · r) and round(h · r); in the
    middle left = round(dw − 0.1) and right = round(dw + 0.1) of half the margin dw, so that an odd row goes right and
    below.
    """

    step: recipe_steps.Letterbox

    def place(self, width: int, height: int, name: str) -> tuple[Placement, Size]:
        """Return the place by the step's ``placement``."""
        canvas = self.step.width, self.step.height
        scale = min(self.step.height / height, self.step.width / width)
        if not self.step.enlarge:
            scale = min(scale, 1.0)
        size = round(width * scale), round(height * scale)
        _refuse_nothing((width, height), size, canvas, name)
        left = top = 0
        if self.step.placement == "center":
            left, top = (round((whole - side) / 2 - 0.1) for whole, side in zip(canvas, size, strict=True))
        return Placement(width, height, size[0] / width, size[1] / height, left, top), size

    def applied(self, picture: Picture, name: str) -> Picture:
        """Return the picture on its canvas. Raises BadSampleError as ``place`` does."""
        placement, size = self.place(*size_of(picture), name)
        fitted, left, top = resized(picture, size, self.step.interpolation), placement.pad_left, placement.pad_top
        if isinstance(fitted, Image.Image):
            channels = len(fitted.getbands())
            colour = self.step.colour if len(self.step.colour) == channels else self.step.colour * channels
            canvas = Image.new(fitted.mode, (self.step.width, self.step.height), colour)
            canvas.paste(fitted, (left, top))
            return canvas
        whole = np.empty((self.step.height, self.step.width, fitted.shape[2]), np.uint8)
        whole[:] = self.step.colour
        whole[top : top + size[1], left : left + size[0]] = fitted
        return whole


def _refuse_nothing(image: Size, size: Size, canvas: Size, name: str) -> None:
    if not (1 <= size[0] <= canvas[0] and 1 <= size[1] <= canvas[1]):
        raise BadSampleError(
            f"{name}: {image[0]} × {image[1]} would become {size[0]} × {size[1]} pixels",
            "replace the file, or pass --on-bad-image skip",
        )


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) as OpenCV decodes it; only of CMYK Pillow thinks otherwise, by up to two levels."""
    if image.mode != "CMYK":
        return np.asarray(image.convert("RGB"))
    light = 255 - np.asarray(image).astype(np.uint16)
    black = light[:, :, 3:]
    return (black - ((255 - light[:, :, :3]) * black >> 8)).astype(np.uint8)
