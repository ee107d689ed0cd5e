"""Resizing by the interpolations that a recipe names: Pillow's, and OpenCV's where they begin with ``opencv_``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import ModelportError
from modelport.recipes.steps import Grey, Letterbox, Resize, ResizeShorter, Step

# An image of Pillow's, or uint8 (H, W, C) of any number of channels.
Picture = Image.Image | NDArray[np.uint8]
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


def resized(picture: Picture, size: tuple[int, int], interpolation: str) -> Picture:
    """Return the picture of 8 bits a channel resized to (width, height), as the library named does it.

    Pillow takes an array's channels one by one, and multiplies the colours of an RGBA image by its alpha meanwhile.
    OpenCV gets all channels at once, in their order: its last bit hangs on where in memory a value lies.
    """
    if interpolation not in RESAMPLING:
        module = opencv(interpolation)
        flags = getattr(module, INTERPOLATION[interpolation])
        made = module.resize(np.asarray(picture), size, interpolation=flags)
        return made.reshape(size[1], size[0], -1) if isinstance(picture, np.ndarray) else Image.fromarray(made)
    if isinstance(picture, Image.Image):
        return picture.resize(size, RESAMPLING[interpolation])
    planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in picture.transpose(2, 0, 1))
    return np.stack([np.asarray(plane.resize(size, RESAMPLING[interpolation])) for plane in planes], axis=2)


def size_of(picture: Picture) -> tuple[int, int]:
    """Return width and height."""
    return picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])


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
