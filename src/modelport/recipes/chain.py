"""How steps may follow each other, and what a chain of them makes of an image: channels, size, layout, arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, Literal

from modelport.core.values import TensorSpec
from modelport.recipes.operations import Contradiction, check_range, operations
from modelport.recipes.steps import (
    Arithmetic,
    CenterCrop,
    CropByRatio,
    Decode,
    DecodeArray,
    DecodeRaw,
    Decoding,
    Divide,
    Geometry,
    Grey,
    Letterbox,
    Multiply,
    Normalize,
    PadCenter,
    Random,
    RandomResizedCrop,
    Resize,
    ResizeShorter,
    ResizeToFit,
    Step,
    Subtract,
    ToTensor,
    TruncateToInteger,
)

# What a chain is made of, in this order.
PHASES = (Decoding, Geometry | Random, Arithmetic, PadCenter | TruncateToInteger, ToTensor)
# What may not follow a decoder.
_STRANGE: dict[type[Any], UnionType] = {
    DecodeRaw: Geometry | Divide | Multiply | Subtract | PadCenter | ToTensor,
    DecodeArray: Random | Grey,
    Decode: Random,
}
CHANNELS = {"RGB": 3, "BGR": 3, "L": 1, "RGBA": 4}
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Form:
    """What a chain makes: ``size`` (width, height) where all images get one, ``shorter`` side where that is known."""

    channels: int
    size: Size | None = None
    shorter: int | None = None
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "float16", "uint8"] = "float32"

    def shape(self, layout: Literal["NCHW", "NHWC"] | None = None) -> tuple[int, int, int] | None:
        """Return (C, H, W), or (H, W, C) where the layout is NHWC; None where the size is left to the image."""
        if self.size is None:
            return None
        width, height = self.size
        nchw = (layout or self.layout) == "NCHW"
        return (self.channels, height, width) if nchw else (height, width, self.channels)


def affine(steps: Sequence[Step]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what all the arithmetic amounts to: ``(pixel - offset) / divisor`` per channel, in float64."""
    channels = form_of(steps).channels
    offsets, divisors = [0.0] * channels, [1.0] * channels
    for operation in operations(steps):
        for index, value in enumerate(operation.each(channels)):
            if operation.name == "subtract":
                offsets[index] += value * divisors[index]
            elif operation.name == "divide":
                divisors[index] *= value
            else:
                divisors[index] /= value
    return tuple(offsets), tuple(divisors)


def lowered(steps: Sequence[Step]) -> list[Step]:
    """Return the steps with each that stands for several replaced by those."""
    return [part for step in steps for part in (step.parts() if isinstance(step, CropByRatio) else (step,))]


def resized_size(size: int, image: Size) -> Size:
    """Return width and height of an image of this (width, height) whose shorter side becomes ``size``."""
    width, height = image
    longer = int(size * max(width, height) / min(width, height))
    return (size, longer) if width <= height else (longer, size)


def form_of(steps: Sequence[Step]) -> Form:
    """Return what the steps make of an image. Raises Contradiction where they do not go together."""
    _check_order(steps)
    form, seen = _decoded(steps[0]), list[Step]()
    for step in lowered(steps)[1:]:
        form = _after(form, step, seen)
        seen.append(step)
    _check_padding(seen)
    check_range(steps, form.channels, form.dtype)
    return form


def pixel_shape(steps: Sequence[Step], tensor: TensorSpec) -> tuple[int, int, int]:
    """Return (H, W, C) of the pixels that become this image input, whose axes but the batch's are fixed."""
    one, two, three = (int(axis) for axis in tensor.shape[1:])
    return (two, three, one) if form_of(steps).layout == "NCHW" else (one, two, three)


def sound(steps: list[Step]) -> list[Step]:
    """Return the steps as they are. Raises Contradiction where they do not go together."""
    form_of(steps)
    return steps


def check_input(steps: Sequence[Step], tensor: TensorSpec) -> None:
    """Raise Contradiction where what the steps make is not the network's image input, as far as both are known."""
    form = form_of(steps)
    height, width = form.size[::-1] if form.size else ("H", "W")
    axes = (form.channels, height, width) if form.layout == "NCHW" else (height, width, form.channels)
    fits = len(tensor.shape) == 4 and all(
        isinstance(one, str) or isinstance(other, str) or one == other
        for one, other in zip(axes, tensor.shape[1:], strict=True)
    )
    if tensor.dtype != form.dtype or not fits:
        made = f"{form.dtype} ({', '.join(map(str, axes))})"
        raise Contradiction(
            f"preprocess makes {made} of an image, the input is {tensor}",
            "mend tensors.inputs, the steps, or to_tensor (without it the input is float32 NCHW)",
        )


def _check_order(steps: Sequence[Step]) -> None:
    names = [step.step for step in steps]
    order = [next(place for place, kinds in enumerate(PHASES) if isinstance(step, kinds)) for step in steps]
    arithmetic, last = 2 in order, steps[-1]
    if isinstance(last, ToTensor) and last.dtype == "uint8" and not {2, 3}.isdisjoint(order):
        raise Contradiction(
            f"to_tensor in uint8 among {names}: bytes hold no normalised values",
            "leave the arithmetic out, or write float32",
        )
    twice = order.count(0) > 1 or order.count(4) > 1 or names.count("normalize") > 1
    bare = not arithmetic and not (isinstance(last, ToTensor) and last.dtype == "uint8")
    if order[0] != 0 or order != sorted(order) or twice or bare:
        raise Contradiction(
            f"must begin with decode and end with normalize, once each, not {names}",
            "write decoding, resizing and cropping, arithmetic, padding, to_tensor in this order",
        )
    for step in steps:
        if isinstance(step, _STRANGE[type(steps[0])]):
            raise Contradiction(
                f"step '{step.step}' after {names[0]}",
                "random views begin with decode_raw and end with normalize; what is made of an image, and grey of its "
                "colours, begins with decode; an array's channels are no colours",
            )


def _decoded(step: Step) -> Form:
    match step:
        case DecodeArray():
            return Form(step.channels)
        case DecodeRaw():
            return Form(3, (step.width, step.height), min(step.width, step.height))
        case Decode():
            return Form(CHANNELS[step.color])
    raise AssertionError(step)


def _after(form: Form, step: Step, before: Sequence[Step]) -> Form:
    """Return the form after one step more. Raises Contradiction where the step cannot take what it gets."""
    boxed = next((one for one in before if isinstance(one, Letterbox)), None)
    if boxed is not None and isinstance(step, Geometry) and not isinstance(step, Grey):
        raise Contradiction(f"{step.step} after letterbox cuts or scales what it has placed", "leave one of them out")
    if getattr(step, "interpolation", None) == "opencv_area" and form.channels > 4:
        raise Contradiction(f"opencv_area of {form.channels} channels: OpenCV takes four at most", "take another")
    match step:
        case Grey():
            if form.channels != 3:
                raise Contradiction(f"grey of {form.channels} channels", "take grey of RGB or BGR only")
            return replace(form, channels=step.channels)
        case Resize() | PadCenter():
            return replace(form, size=(step.width, step.height), shorter=min(step.width, step.height))
        case ResizeShorter():
            return replace(form, size=form.size and resized_size(step.size, form.size), shorter=step.size)
        case CenterCrop() | RandomResizedCrop():
            if isinstance(step, CenterCrop) and form.shorter is not None and step.size > form.shorter:
                raise Contradiction(
                    f"center_crop of {step.size} after a shorter side of {form.shorter} leaves the image",
                    f"crop at most {form.shorter}, or resize to at least {step.size}",
                )
            return replace(form, size=(step.size, step.size), shorter=step.size)
        case Letterbox():
            if others := [one.step for one in before if isinstance(one, Geometry) and not isinstance(one, Grey)]:
                raise Contradiction(
                    f"letterbox after {others[-1]}: where the image lies would be lost", f"leave {others[-1]} out"
                )
            _check_count("letterbox.colour", len(step.colour), form.channels)
            return replace(form, size=(step.width, step.height), shorter=min(step.width, step.height))
        case ResizeToFit() if form.channels != 3:
            raise Contradiction(f"resize_to_fit of {form.channels} channels", "decode to RGB or BGR, or take letterbox")
        case ToTensor():
            return replace(form, layout=step.layout, dtype=step.dtype)
    for operation in operations([step]):
        key = operation.what if isinstance(step, Normalize) else "mean" if isinstance(step, Subtract) else "by"
        _check_count(f"{step.step}.{key}", len(operation.values), form.channels)
    return form


def _check_count(what: str, count: int, channels: int) -> None:
    if count not in (1, channels):
        raise Contradiction(
            f"{what} has {count} numbers, where a pixel has {channels} channels",
            f"give one number, or {channels}" if channels > 1 else "give one number",
        )


def _check_padding(steps: Sequence[Step]) -> None:
    """Raise Contradiction for half a letterbox, or one that cannot hold the image."""
    if not any(isinstance(step, ResizeToFit | PadCenter) for step in steps):
        return
    match [step for step in steps if isinstance(step, Geometry | PadCenter)]:
        case [ResizeToFit() as fit, PadCenter() as pad]:
            if fit.width > pad.width or fit.height > pad.height:
                raise Contradiction(
                    f"pad_center to {pad.width} × {pad.height} after resize_to_fit to {fit.width} × {fit.height} "
                    "cannot hold the image",
                    "pad to at least what the resize fits",
                )
        case _:
            raise Contradiction(
                "resize_to_fit and pad_center belong together", "write decode, resize_to_fit, normalize, pad_center"
            )
