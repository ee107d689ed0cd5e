"""Settings that preprocessing is known to have: what changes become, and what an unknown model is looked for among."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Literal, NamedTuple, get_args

from modelport.recipes.presets import AS_IT_IS, CAFFE_MEAN, CLIP, GREY, HALF, IMAGENET, MNIST
from modelport.recipes.steps import Interpolation


class Numbers(NamedTuple):
    """What is done to a pixel's value of 0 to 255: divided, less the mean, divided by std; red first."""

    divide: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of_grey(self) -> Numbers:
        """Return the same for pixels of one channel."""
        return Numbers(self.divide, self.mean[:1], self.std[:1])


def _of_shares(mean_std: tuple[list[float], list[float]]) -> Numbers:
    mean, std = mean_std
    return Numbers(255.0, tuple(mean), tuple(std))


# By what results call them.
MEAN_STD: Mapping[str, Numbers] = {
    "imagenet": _of_shares(IMAGENET),
    "half": _of_shares(HALF),
    "none": _of_shares(AS_IT_IS),
    "clip": _of_shares(CLIP),
    "caffe": Numbers(1.0, tuple(reversed(CAFFE_MEAN)), (1.0,)),
}
MEAN_STD_GREY: Mapping[str, Numbers] = {
    "mnist": _of_shares(MNIST),
    "half": MEAN_STD["half"].of_grey(),
    "none": MEAN_STD["none"],
}
# Pixels of 0 to 255, as they are.
UNTOUCHED = Numbers(1.0, (0.0,), (1.0,))
# What pixels are divided by before mean and std.
DIVIDES = (255.0, 1.0)
Colour = Literal["RGB", "BGR"]
COLOURS: tuple[Colour, ...] = get_args(Colour)
# The share of the resized shorter side that is cut out: 256 → 224, and timm's.
CROP_RATIOS = (0.875, 0.9, 0.95, 1.0)
# Pillow's filters look at all pixels that fall into one (antialiased), but for the nearest; OpenCV's at as many,
# however much smaller the image becomes.
INTERPOLATIONS: tuple[Interpolation, ...] = (
    "bilinear", "bicubic", "lanczos", "nearest", "opencv_linear", "opencv_cubic", "opencv_area",
)  # fmt: skip
OPENCV_UNTRIED = "OpenCV's interpolations were not tried, for it is not installed (pip install 'modelport[opencv]')"
# What is around a letterboxed image: Ultralytics' grey, black, the middle of the range, white.
BOX_COLOURS = (GREY[0], 0, 128, 255)


def at_hand(interpolations: Sequence[Interpolation]) -> list[Interpolation]:
    """Return those that can be computed here: OpenCV's where it is installed."""
    there = opencv_is_there()
    return [name for name in interpolations if there or not name.startswith("opencv")]


def opencv_is_there() -> bool:
    """Whether OpenCV is installed."""
    return find_spec("cv2") is not None
