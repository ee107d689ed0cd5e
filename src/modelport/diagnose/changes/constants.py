"""Settings that preprocessing is known to have: what changes become, and what an unknown model is looked for among."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from modelport.recipes.presets import AS_IT_IS, CAFFE_MEAN, CLIP, GREY, HALF, IMAGENET, MNIST
from modelport.recipes.steps import Interpolation

Three = tuple[float, float, float]
MeanStd = tuple[Three, Three]


def _three(numbers: list[float]) -> Three:
    one, two, three = numbers * (3 // len(numbers))
    return one, two, three


# Mean and std of pixels of 0 to 1, red first, by what results call them.
MEAN_STD: Mapping[str, MeanStd] = {
    name: (_three(mean), _three(std))
    for name, (mean, std) in (
        ("imagenet", IMAGENET),
        ("half", HALF),
        ("none", AS_IT_IS),
        ("clip", CLIP),
        # Bytes less a mean, as Caffe's networks take them.
        ("caffe", ([mean / 255 for mean in reversed(CAFFE_MEAN)], [1 / 255])),
    )
}
# The same of pixels of one channel.
MEAN_STD_GREY: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    name: (tuple(mean[:1]), tuple(std[:1]))
    for name, (mean, std) in (("mnist", MNIST), ("half", HALF), ("none", AS_IT_IS))
}
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
# What is around a letterboxed image: Ultralytics' grey, black, the middle of the range, white.
BOX_COLOURS = (GREY[0], 0, 128, 255)
