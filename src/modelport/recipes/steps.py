"""The steps of preprocessing: one class each, told apart by ``step``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

# A probability.
Share = Annotated[float, Field(ge=0, le=1)]
# A channel triple (R, G, B).
Triple = tuple[float, float, float]
# Pixels along an axis: an image of more is no input of a network, but fills the memory.
MAX_SIDE = 16_384
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
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


class Strict(BaseModel):
    """Base of every part: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Decode(Strict):
    """Bytes → uint8 (H, W, 3), by Pillow. Grey, CMYK and palette images become RGB as Pillow converts them."""

    step: Literal["decode"]
    color: Literal["RGB"]
    exif_rotation: Literal["ignore", "apply"]


class ResizeShorter(Strict):
    """Resize so that the shorter side is ``size``; the longer is ``int(size * longer / shorter)``. Antialiased."""

    step: Literal["resize_shorter"]
    size: Side
    interpolation: Literal["bilinear", "bicubic"]


class CenterCrop(Strict):
    """Cut ``size`` × ``size`` from the middle; ``rounding`` says where an odd margin goes."""

    step: Literal["center_crop"]
    size: Side
    rounding: Literal["half_even", "floor"]


class Normalize(Strict):
    """``(pixel / divide - mean) / std`` per channel in float32, then HWC → CHW."""

    step: Literal["normalize"]
    divide: Divisor
    mean: Annotated[Triple, Field(strict=False)]
    std: Annotated[tuple[Divisor, Divisor, Divisor], Field(strict=False)]


class DecodeRaw(Strict):
    """Bytes → uint8 (H, W, 3): planes of red, green and blue, as CIFAR-10 keeps them."""

    step: Literal["decode_raw"]
    height: Side
    width: Side


class ResizeToFit(Strict):
    """Resize to fit ``width`` × ``height``, keeping the ratio; a side becomes ``int(side * scale + 0.5)``."""

    step: Literal["resize_to_fit"]
    width: Side
    height: Side
    interpolation: Literal["opencv_bilinear"]


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


Geometry = Decode | ResizeShorter | CenterCrop | ResizeToFit
Random = DecodeRaw | RandomResizedCrop | RandomFlip | ColorJitter | RandomGrayscale | GaussianBlur
Step = Annotated[Geometry | Random | Normalize | PadCenter | TruncateToInteger, Field(discriminator="step")]
