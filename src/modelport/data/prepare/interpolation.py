"""Resizing by the interpolations that a recipe names: Pillow's, and OpenCV's where they begin with ``opencv_``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from modelport.core.errors import ModelportError
from modelport.recipes.steps import Grey, Letterbox, Resize, ResizeShorter, Step

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
# Names of OpenCV's constants.
INTERPOLATION = {
    "opencv_nearest": "INTER_NEAREST",
    "opencv_linear": "INTER_LINEAR",
    "opencv_cubic": "INTER_CUBIC",
    "opencv_area": "INTER_AREA",
    "opencv_lanczos4": "INTER_LANCZOS4",
}


def resized(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    """Return the image of 8 bits a channel resized to (width, height), as the library named does it.

    Pillow multiplies the colours of RGBA by its alpha meanwhile; OpenCV takes each channel by itself.
    """
    if interpolation in RESAMPLING:
        return image.resize(size, RESAMPLING[interpolation])
    module = opencv(interpolation)
    flags = getattr(module, INTERPOLATION[interpolation])
    return Image.fromarray(module.resize(np.asarray(image), size, interpolation=flags))


def need_opencv(steps: Sequence[Step]) -> None:
    """Raise ModelportError where the steps need OpenCV and it is missing: at once, not as a fault of each image."""
    for step in steps:
        if isinstance(step, Resize | ResizeShorter | Letterbox) and step.interpolation in INTERPOLATION:
            opencv(f"interpolation '{step.interpolation}' of {step.step}")
        elif isinstance(step, Grey) and step.by == "opencv":
            opencv("grey by opencv")


def opencv(what: str, extra: str = "opencv") -> Any:
    """Return the module cv2, for ``what``. Raises ModelportError where it cannot be imported."""
    try:
        import cv2
    except ImportError as error:
        raise ModelportError(f"OpenCV is needed for {what}: {error}", f"pip install 'modelport[{extra}]'") from error
    return cv2
