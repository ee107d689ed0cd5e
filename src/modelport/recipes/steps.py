"""The steps of preprocessing: one class each, told apart by ``step``. How they may follow each other: ``chain``.

The first sentence of a step's docstring stands in docs/preprocessing.md.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# A probability.
Share = Annotated[float, Field(ge=0, le=1)]
# Pixels along an axis: an image of more is no input of a network, but fills the memory.
MAX_SIDE = 16_384
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
# Channels of a pixel: as many as OpenCV takes.
MAX_CHANNELS = 512
# What float32 divides by without overflowing or losing everything.
SMALLEST_DIVISOR = 1e-30
Divisor = Annotated[float, AfterValidator(lambda value: _divisor(value))]


def _divisor(value: float) -> float:
    if not SMALLEST_DIVISOR <= abs(value) <= 1 / SMALLEST_DIVISOR:
        raise ValueError(f"{value:g}: nothing can be divided by it; give a finite number other than 0")
    return value


def _in_order(pair: tuple[float, float]) -> tuple[float, float]:
    if not 0 < pair[0] <= pair[1]:
        raise ValueError(f"{list(pair)}: give a smaller and a larger number, both above 0")
    return pair


# A range that is drawn from.
Span = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_in_order)]


# One number for all channels, or one for each, in the order of the channels.
Numbers = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=MAX_CHANNELS)]
Divisors = Annotated[tuple[Divisor, ...], Field(strict=False, min_length=1, max_length=MAX_CHANNELS)]
Byte = Annotated[int, Field(ge=0, le=255)]
Colour = Annotated[tuple[Byte, ...], Field(strict=False, min_length=1, max_length=MAX_CHANNELS)]
# Pillow's resampling filters, antialiased but for the nearest, and OpenCV's interpolations, which take the same number
# of pixels however much smaller the image becomes (but for the area).
Interpolation = Literal[
    "nearest", "bilinear", "bicubic", "lanczos", "box", "hamming",
    "opencv_nearest", "opencv_linear", "opencv_cubic", "opencv_area", "opencv_lanczos4",
]  # fmt: skip


class Strict(BaseModel):
    """Base of every part: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Decode(Strict):
    """Bytes → uint8 (H, W, C) by Pillow, channels in the order of ``color``; ``L`` is Pillow's grey, one channel.

    Grey, CMYK and palette images become RGB or L as Pillow converts them; RGBA is taken from files that have it.
    """

    step: Literal["decode"]
    color: Literal["RGB", "BGR", "L", "RGBA"]
    exif_rotation: Literal["ignore", "apply"]


class DecodeArray(Strict):
    """The bytes of an ``.npy`` file → uint8 (H, W, C) of ``channels``, as they are; (H, W) is one channel."""

    step: Literal["decode_array"]
    channels: Annotated[int, Field(gt=0, le=MAX_CHANNELS)]


class DecodeRaw(Strict):
    """Bytes → uint8 (H, W, 3): planes of red, green and blue, as CIFAR-10 keeps them."""

    step: Literal["decode_raw"]
    height: Side
    width: Side


class Grey(Strict):
    """Three channels → grey in ``channels`` equal ones, with the weights and the rounding of Pillow or OpenCV."""

    step: Literal["grey"]
    by: Literal["pillow", "opencv"]
    channels: Literal[1, 3]


class Resize(Strict):
    """Resize to ``width`` × ``height``, whatever the image's ratio."""

    step: Literal["resize"]
    width: Side
    height: Side
    interpolation: Interpolation


class ResizeShorter(Strict):
    """Resize so that the shorter side is ``size``; the longer is ``int(size * longer / shorter)``."""

    step: Literal["resize_shorter"]
    size: Side
    interpolation: Interpolation


class CenterCrop(Strict):
    """Cut ``size`` × ``size`` from the middle; ``rounding`` says where an odd margin goes."""

    step: Literal["center_crop"]
    size: Side
    rounding: Literal["half_even", "floor"]


class CropByRatio(Strict):
    """Resize the shorter side to ``floor(size / ratio)`` and cut ``size`` × ``size`` from the middle (timm's crop_pct).

    The same as ``resize_shorter`` and ``center_crop`` with ``half_even``, as timm's transforms for evaluation make them
    (timm/data/transforms_factory.py, crop mode center).
    """

    step: Literal["crop_by_ratio"]
    size: Side
    ratio: Annotated[float, Field(gt=0, le=1)]
    interpolation: Interpolation

    @model_validator(mode="after")
    def _of_a_size(self) -> CropByRatio:
        if self.size / self.ratio > MAX_SIDE:
            raise ValueError(f"a ratio of {self.ratio:g} asks for a shorter side beyond {MAX_SIDE}; give a larger one")
        return self

    def parts(self) -> tuple[ResizeShorter, CenterCrop]:
        """Return the two steps that it is."""
        shorter = math.floor(self.size / self.ratio)
        resize = ResizeShorter(step="resize_shorter", size=shorter, interpolation=self.interpolation)
        return resize, CenterCrop(step="center_crop", size=self.size, rounding="half_even")


class Letterbox(Strict):
    """Resize to fit ``width`` × ``height``, keeping the ratio, and fill what is left with ``colour``, as YOLO does.

    A side becomes ``round(side * scale)``; in the middle an odd margin's extra row goes below and right. With
    ``enlarge`` false a smaller image keeps its size. The arithmetic is that of LetterBox in Ultralytics'
    data/augment.py (``scaleup``, ``center``, ``auto`` false): half the margin less and plus 0.1, rounded.
    """

    step: Literal["letterbox"]
    width: Side
    height: Side
    colour: Colour
    placement: Literal["center", "top_left"]
    enlarge: bool
    interpolation: Interpolation


class ResizeToFit(Strict):
    """Resize to fit ``width`` × ``height``, keeping the ratio; a side becomes ``int(side * scale + 0.5)``."""

    step: Literal["resize_to_fit"]
    width: Side
    height: Side
    interpolation: Literal["opencv_bilinear"]


class Normalize(Strict):
    """``(pixel / divide - mean) / std`` in float32, each operation rounded, ``mean`` and ``std`` per channel or one."""

    step: Literal["normalize"]
    divide: Divisor
    mean: Numbers
    std: Divisors


class Divide(Strict):
    """``value / by`` in float32, per channel or by one number."""

    step: Literal["divide"]
    by: Divisors


class Multiply(Strict):
    """``value * by`` in float32, per channel or by one number; torchvision's v2 scales by 1/255 so."""

    step: Literal["multiply"]
    by: Divisors


class Subtract(Strict):
    """``value - mean`` in float32, per channel or one number."""

    step: Literal["subtract"]
    mean: Numbers


class PadCenter(Strict):
    """Pad with zeros to ``width`` × ``height`` after normalisation; an odd margin's extra row goes below, right."""

    step: Literal["pad_center"]
    width: Side
    height: Side


class RandomResizedCrop(Strict):
    """Cut a random part (share of the area, ratio of the sides log-uniform) and resize it, bilinear, antialiased."""

    step: Literal["random_resized_crop"]
    size: Side
    scale: Span
    ratio: Span


class RandomFlip(Strict):
    """Mirror left and right with probability ``p``."""

    step: Literal["random_flip"]
    p: Share


class ColorJitter(Strict):
    """Brightness, contrast, saturation and hue in random order, by up to these shares, with probability ``p``."""

    step: Literal["color_jitter"]
    brightness: Annotated[float, Field(ge=0)]
    contrast: Annotated[float, Field(ge=0)]
    saturation: Annotated[float, Field(ge=0)]
    hue: Annotated[float, Field(ge=0, le=0.5)]
    p: Share


class RandomGrayscale(Strict):
    """Grey in three equal channels with probability ``p``."""

    step: Literal["random_grayscale"]
    p: Share


class GaussianBlur(Strict):
    """Blur always, with a sigma drawn uniformly."""

    step: Literal["gaussian_blur"]
    kernel: Side
    sigma: Span


class TruncateToInteger(Strict):
    """Cut off the fraction after normalisation, as a cast to int8 does: of pixels in [0, 1] it leaves 0 or 1.

    Random steps before it work on images of 8 bits, as the published script's do.
    """

    step: Literal["truncate_to_integer"]


class ToTensor(Strict):
    """Say layout and dtype of the network's input; without this step it is NCHW in float32.

    float16 is rounded to after the last operation; uint8 takes the pixels as they are, and no normalisation.
    """

    step: Literal["to_tensor"]
    layout: Literal["NCHW", "NHWC"]
    dtype: Literal["float32", "float16", "uint8"]


Decoding = Decode | DecodeArray | DecodeRaw
Geometry = Grey | Resize | ResizeShorter | CenterCrop | CropByRatio | Letterbox | ResizeToFit
Random = RandomResizedCrop | RandomFlip | ColorJitter | RandomGrayscale | GaussianBlur
Arithmetic = Normalize | Divide | Multiply | Subtract
Ending = PadCenter | TruncateToInteger | ToTensor
Step = Annotated[Decoding | Geometry | Random | Arithmetic | Ending, Field(discriminator="step")]
