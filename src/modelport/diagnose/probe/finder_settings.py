"""How images may have been prepared for an unknown model: settings along three coordinates, and the steps of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from modelport.diagnose.changes.constants import (
    BOX_COLOURS,
    COLOURS,
    CROP_RATIOS,
    MEAN_STD,
    MEAN_STD_GREY,
    UNTOUCHED,
    Numbers,
    at_hand,
)
from modelport.recipes.chain import form_of
from modelport.recipes.steps import Interpolation, Step

Steps = list[dict[str, Any]]
Coordinate = Literal["numbers", "geometry", "interpolation"]
COORDINATES: tuple[Coordinate, ...] = get_args(Coordinate)

# What is done to a pixel's value, by what results call it: plainer words where probe names a change of mean and std.
_ARITHMETIC: Mapping[str, Numbers] = {
    "imagenet": MEAN_STD["imagenet"],
    "-1 to 1": MEAN_STD["half"],
    "0 to 1": MEAN_STD["none"],
    "clip": MEAN_STD["clip"],
    "caffe": MEAN_STD["caffe"],
    "0 to 255": UNTOUCHED,
}
_ARITHMETIC_GREY: Mapping[str, Numbers] = {
    "0 to 1": MEAN_STD_GREY["none"],
    "-1 to 1": MEAN_STD_GREY["half"],
    "mnist": MEAN_STD_GREY["mnist"],
    "0 to 255": UNTOUCHED,
}
# A graph that takes bytes normalises by itself.
BYTES = "bytes"
# Few of those that there are: others hardly differ from one of these.
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "nearest", "opencv_linear")
# The shorter side of most evaluation scripts, whatever the network's size; a smaller part of it is no usual crop.
USUAL_SHORTER, SMALLEST_PART = 256, 0.75
ORDERS = {1: ("L",), 3: COLOURS}


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to prepare images. ``colour`` and ``numbers`` are one coordinate: what is done to a pixel's value."""

    colour: str  # RGB, BGR, or L where images are grey
    numbers: str
    geometry: str
    interpolation: str

    @property
    def pixels(self) -> tuple[str, str]:
        """What decides the pixels before arithmetic and the order of the channels."""
        return self.geometry, self.interpolation

    def __str__(self) -> str:
        colour = "" if self.colour == "L" else f"{self.colour} "
        return f"{colour}{self.numbers}, {self.geometry}, {self.interpolation}"


@dataclass(frozen=True, slots=True)
class Space:
    """All settings of an input of ``size`` (height, width) and 1 or 3 ``channels``.

    ``decode`` is the step that opens a sample; an array's channels are taken as they are.
    """

    size: tuple[int, int]
    channels: int
    layout: str
    dtype: str
    decode: Mapping[str, Any]

    @staticmethod
    def of(steps: Sequence[Step]) -> Space | None:
        """Return the settings of the input that ``steps`` make; None where it is no image of a size and colours."""
        form = form_of(steps)
        if form.size is None or form.channels not in ORDERS:
            return None
        width, height = form.size
        decode = steps[0].model_dump(mode="json")
        return Space((height, width), form.channels, form.layout, form.dtype, decode)

    @property
    def start(self) -> Setting:
        """The usual one: as torchvision evaluates."""
        return Setting(self.colours[0], self.numbers[0], next(iter(self._geometries())), INTERPOLATIONS[0])

    @property
    def colours(self) -> tuple[str, ...]:
        """The orders of channels that can be told in a recipe."""
        orders = ORDERS[self.channels]
        return orders if self.decode["step"] == "decode" else orders[:1]

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of what is done to a pixel's value."""
        if self.dtype == "uint8":
            return (BYTES,)
        return tuple(_ARITHMETIC if self.channels == 3 else _ARITHMETIC_GREY)

    def along(self, coordinate: Coordinate, around: Setting) -> list[Setting]:
        """Return the settings that differ from ``around`` in one coordinate alone, itself among them."""
        if coordinate == "numbers":
            pairs = [(colour, numbers) for numbers in self.numbers for colour in self.colours]
            return [replace(around, colour=colour, numbers=numbers) for colour, numbers in pairs]
        if coordinate == "geometry":
            return [replace(around, geometry=name) for name in self._geometries()]
        return [replace(around, interpolation=name) for name in at_hand(INTERPOLATIONS)]

    def pixel_steps(self, setting: Setting) -> Steps:
        """Return the steps up to the pixels, their channels in the order that the decoder gives."""
        resize, *more = self._geometries()[setting.geometry]
        return [dict(self.decode), resize | {"interpolation": setting.interpolation}, *more]

    def steps(self, setting: Setting) -> Steps:
        """Return the steps that a recipe has."""
        decode, *geometry = self.pixel_steps(setting)
        if decode["step"] == "decode":
            decode["color"] = setting.colour
        return [decode, *geometry, *self.arithmetic(setting), *self._ending]

    def arithmetic(self, setting: Setting) -> Steps:
        """Return the normalisation, mean and std in the order of the channels; none of a graph that takes bytes."""
        if setting.numbers == BYTES:
            return []
        divide, mean, std = (_ARITHMETIC if self.channels == 3 else _ARITHMETIC_GREY)[setting.numbers]
        turn = -1 if setting.colour == "BGR" else 1
        return [{"step": "normalize", "divide": divide, "mean": list(mean)[::turn], "std": list(std)[::turn]}]

    @property
    def _ending(self) -> Steps:
        plain = (self.layout, self.dtype) == ("NCHW", "float32")
        return [] if plain else [{"step": "to_tensor", "layout": self.layout, "dtype": self.dtype}]

    def _geometries(self) -> dict[str, Steps]:
        """Return by name the steps of each geometry; the first of them resizes."""
        height, width = self.size
        found: dict[str, Steps] = {}
        if height == width:
            for ratio in CROP_RATIOS:
                found[f"crop ratio {ratio:g}"] = [{"step": "crop_by_ratio", "size": height, "ratio": ratio}]
            by_ratio = {math.floor(height / ratio) for ratio in CROP_RATIOS}
            if SMALLEST_PART <= height / USUAL_SHORTER < 1.0 and USUAL_SHORTER not in by_ratio:
                crop = {"step": "center_crop", "size": height, "rounding": "half_even"}
                found[f"resize {USUAL_SHORTER}, crop {height}"] = [
                    {"step": "resize_shorter", "size": USUAL_SHORTER},
                    crop,
                ]
        found["squash"] = [{"step": "resize", "width": width, "height": height}]
        box = {"step": "letterbox", "width": width, "height": height, "placement": "center", "enlarge": True}
        for name, colour in zip(("grey", "black"), BOX_COLOURS[:2], strict=True):
            found[f"letterbox on {name}"] = [box | {"colour": [colour] * self.channels}]
        return found


def value_of(name: Coordinate, setting: Setting) -> tuple[str, ...]:
    """Return what a setting has in a coordinate."""
    if name == "numbers":
        return setting.colour, setting.numbers
    return (setting.geometry,) if name == "geometry" else (setting.interpolation,)


def moved(setting: Setting, name: Coordinate, other: Setting) -> Setting:
    """Return the setting with what another one has in a coordinate."""
    if name == "numbers":
        return replace(setting, colour=other.colour, numbers=other.numbers)
    if name == "geometry":
        return replace(setting, geometry=other.geometry)
    return replace(setting, interpolation=other.interpolation)
