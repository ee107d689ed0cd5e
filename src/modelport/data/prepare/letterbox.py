"""The detector's resize and padding, as mmdetection does them with OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import BadSampleError, ModelportError, RecipeError, raised_as
from modelport.core.placement import Placement
from modelport.recipes.steps import PadCenter, ResizeToFit, Step


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Scales an image to fit ``fit`` (width, height) and centres it on ``canvas`` (width, height)."""

    fit: tuple[int, int]
    canvas: tuple[int, int]

    @staticmethod
    def of(geometry: Sequence[Step], after: Sequence[Step]) -> Letterbox | None:
        """Return the letterbox that the steps before and after the normalisation make, None where they make none.

        Raises RecipeError for half a letterbox, ModelportError where OpenCV is missing.
        """
        if not any(isinstance(step, ResizeToFit | PadCenter) for step in (*geometry, *after)):
            return None
        match [*geometry], [*after]:
            case [ResizeToFit() as fit], [PadCenter() as pad]:
                if fit.width > pad.width or fit.height > pad.height:
                    raise RecipeError(
                        f"preprocess: pad_center to {pad.width} × {pad.height} after resize_to_fit to "
                        f"{fit.width} × {fit.height} cannot hold the image",
                        "pad to at least what the resize fits",
                    )
                # Here and not at the first image: a missing package is no bad sample.
                opencv()
                return Letterbox((fit.width, fit.height), (pad.width, pad.height))
        raise RecipeError(
            "preprocess: resize_to_fit and pad_center belong together",
            "write decode, resize_to_fit, normalize, pad_center",
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W) of the input."""
        return 3, self.canvas[1], self.canvas[0]

    def place(self, width: int, height: int, name: str) -> tuple[Placement, tuple[int, int]]:
        """Return where an image of this size goes, and the width and height that it is resized to.

        Raises BadSampleError for an image so narrow that nothing of it is left.
        """
        scale = min(self.fit[0] / width, self.fit[1] / height)
        new_width, new_height = int(width * scale + 0.5), int(height * scale + 0.5)
        if not (1 <= new_width <= self.canvas[0] and 1 <= new_height <= self.canvas[1]):
            raise BadSampleError(
                f"{name}: {width} × {height} would become {new_width} × {new_height} pixels",
                "replace the file, or pass --on-bad-image skip",
            )
        left, top = (self.canvas[0] - new_width) // 2, (self.canvas[1] - new_height) // 2
        return Placement(width, height, new_width / width, new_height / height, left, top), (new_width, new_height)

    def check(self, width: int, height: int, name: str) -> None:
        """Raise BadSampleError for an image of which nothing is left, whether or not it is rotated by its EXIF."""
        try:
            self.place(height, width, name)
        except BadSampleError:
            self.place(width, height, name)

    def resized(self, image: Image.Image, name: str) -> tuple[NDArray[np.uint8], Placement]:
        """Return uint8 (h, w, 3), not padded, and where it goes. Raises BadSampleError as ``place`` does."""
        placement, size = self.place(image.width, image.height, name)
        module = opencv()
        pixels: NDArray[np.uint8] = module.resize(_rgb(image), size, interpolation=module.INTER_LINEAR)
        return pixels, placement


def opencv() -> Any:
    """Return the module cv2. Raises ModelportError where it cannot be imported."""
    found = "OpenCV is needed for resize_to_fit"
    with raised_as(ModelportError, found, "pip install 'modelport[detection]'", ImportError):
        import cv2
    return cv2


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3) as OpenCV decodes it; only of CMYK Pillow thinks otherwise, by up to two levels."""
    if image.mode != "CMYK":
        return np.asarray(image.convert("RGB"))
    light = 255 - np.asarray(image).astype(np.uint16)
    black = light[:, :, 3:]
    return (black - ((255 - light[:, :, :3]) * black >> 8)).astype(np.uint8)
