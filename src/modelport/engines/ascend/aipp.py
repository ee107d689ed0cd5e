"""AIPP, the input stage of an Ascend device: its settings, those of a recipe, and what they do to bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError, RecipeError, unknown
from modelport.engines.ascend.aipp_text import Block, Entry
from modelport.recipes.chain import affine
from modelport.recipes.operations import operations
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Decode, PadCenter, TruncateToInteger

# Input format: bytes per pixel, channels of the result.
FORMATS = {"YUV420SP_U8": (1.5, 3), "XRGB8888_U8": (4.0, 4), "RGB888_U8": (3.0, 3), "YUV400_U8": (1.0, 1)}
MODES = ("static", "dynamic")
MATRIX = tuple(f"matrix_r{row}c{column}" for row in range(3) for column in range(3))
_SIDES = ("left", "right", "top", "bottom")
SWITCHES = (
    "crop", "resize", "padding", "csc_switch", "rbuv_swap_switch", "ax_swap_switch", "support_rotation",
    "single_line_mode",
)  # fmt: skip
WHOLE = (
    "related_input_rank", "input_edge_idx", "src_image_size_w", "src_image_size_h", "max_src_image_size",
    "load_start_pos_w", "load_start_pos_h", "crop_size_w", "crop_size_h", "resize_output_w", "resize_output_h",
    *(f"{side}_padding_size" for side in _SIDES), *MATRIX,
    *(f"{kind}_bias_{index}" for kind in ("output", "input") for index in range(3)),
    *(f"mean_chn_{index}" for index in range(4)), "raw_rgbir_to_f16_n",
)  # fmt: skip
DECIMAL = (
    *(f"{kind}_chn_{index}" for kind in ("min", "var_reci") for index in range(4)),
    "padding_value",
    "cpadding_value",
)
TEXT = ("aipp_mode", "input_format", "related_input_name")
KEYS = frozenset({*SWITCHES, *WHOLE, *DECIMAL, *TEXT})
_TRUE, _FALSE = {"true", "1", "t"}, {"false", "0", "f"}


@dataclass(frozen=True, slots=True)
class Aipp:
    """The settings of one input. ``values`` holds what the file gives; the rest has the device's defaults."""

    values: dict[str, Any] = field(default_factory=dict)

    def whole(self, key: str) -> int:
        """Return a whole number, 0 by default."""
        return int(self.values.get(key, 0))

    def on(self, key: str) -> bool:
        """Return a switch, off by default."""
        return bool(self.values.get(key, False))

    @property
    def mode(self) -> str:
        """``static`` or ``dynamic``; empty where the file does not say."""
        return str(self.values.get("aipp_mode", ""))

    @property
    def format(self) -> str:
        """The format of the bytes that go in."""
        return str(self.values.get("input_format", ""))

    @property
    def channels(self) -> int:
        """Channels that come out."""
        return 3 if self.format == "XRGB8888_U8" else FORMATS[self.format][1]

    def means(self) -> tuple[int, ...]:
        """Whole numbers from 0 to 255 taken off each channel, 0 by default. Raises DataError for others."""
        for key in self.not_bytes():
            raise DataError(f"{key}: {self.values[key]} is no whole number from 0 to 255", "put it into min_chn")
        return tuple(self.whole(f"mean_chn_{index}") for index in range(self.channels))

    def not_bytes(self) -> list[str]:
        """Return the keys of means that are no bytes."""
        given = {key: value for key, value in self.values.items() if key.startswith("mean_chn")}
        return [key for key, value in given.items() if not (value == int(value) and 0 <= value <= 255)]

    def minima(self) -> tuple[float, ...]:
        """Decimal numbers taken off each channel after that, 0 by default."""
        return tuple(float(self.values.get(f"min_chn_{index}", 0.0)) for index in range(self.channels))

    def factors(self) -> tuple[float, ...]:
        """What each channel is multiplied by: by default 1 in a static file and 0 in a dynamic one."""
        default = 1.0 if self.mode == "static" else 0.0
        return tuple(float(self.values.get(f"var_reci_chn_{index}", default)) for index in range(self.channels))

    def crop(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height of what is cut out, None where nothing is."""
        if not self.on("crop"):
            return None
        return tuple(self.whole(key) for key in ("load_start_pos_w", "load_start_pos_h", "crop_size_w", "crop_size_h"))  # type: ignore[return-value]

    def padding(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom, in pixels."""
        return tuple(self.whole(f"{side}_padding_size") if self.on("padding") else 0 for side in _SIDES)  # type: ignore[return-value]

    def source_size(self) -> tuple[int, int] | None:
        """Width and height of the image that goes in, None where the file leaves it to the model."""
        size = self.whole("src_image_size_w"), self.whole("src_image_size_h")
        return size if all(size) else None

    def result_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of what comes out of an image of this size."""
        left, right, top, bottom = self.padding()
        _, _, width, height = self.crop() or (0, 0, width, height)
        return width + left + right, height + top + bottom


def settings_of(block: Block, place: str) -> Aipp:
    """Return a block's values in their types. Unknown keys are left out: the lint names them.

    Raises DataError with the line for a value that is none of its kind.
    """
    return Aipp({key: _value(key, entry, place) for key, entry in block.items() if key in KEYS})


def text_of(settings: dict[str, Any]) -> str:
    """Return the file for settings, in their order."""
    lines = [f"    {key}: {_spelled(value)}\n" for key, value in settings.items()]
    return "aipp_op {\n" + "".join(lines) + "}\n"


def wanted_constants(recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return what the recipe's normalisation takes off each byte, and what it multiplies the rest by.

    Raises RecipeError where the normalisation is not of that form.
    """
    if any(isinstance(step, TruncateToInteger) for step in recipe.preprocess):
        raise RecipeError(
            f"{recipe.name}: the step truncate_to_integer cannot be done by AIPP",
            "take the recipe without that variant",
        )
    if not operations(recipe.preprocess):
        raise RecipeError(
            f"{recipe.name}: the network takes bytes, and AIPP would hand it float16", "leave AIPP out of the model"
        )
    offsets, divisors = affine(recipe.preprocess)
    return offsets, tuple(1 / divisor for divisor in divisors)


def colour_order(recipe: Recipe) -> str:
    """Return RGB or BGR: the order of a pixel's bytes, as the recipe decodes and ``preprocess`` writes them."""
    return "BGR" if any(isinstance(step, Decode) and step.color == "BGR" for step in recipe.preprocess) else "RGB"


def input_size(recipe: Recipe) -> tuple[int, int]:
    """Return width and height of the recipe's image input. Raises RecipeError where it is no (N, 3, H, W)."""
    inputs, shape = recipe.tensors.inputs, recipe.tensors.sample.shape
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3 or any(isinstance(axis, str) for axis in shape[2:]):
        raise RecipeError(
            f"{recipe.name}: the input is no batch of images with 3 channels, {shape}", "AIPP takes images"
        )
    return int(shape[3]), int(shape[2])


def aipp_of(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that do the recipe's normalisation on uint8 pixels of the network's size.

    The pixels are in the recipe's own order of colours. Raises RecipeError.
    """
    width, height = input_size(recipe)
    offsets, factors = wanted_constants(recipe)
    settings: dict[str, Any] = {"aipp_mode": "static", "related_input_rank": 0, "input_format": "RGB888_U8"}
    settings |= {"src_image_size_w": width, "src_image_size_h": height}
    settings |= dict.fromkeys(("crop", "csc_switch", "rbuv_swap_switch"), False)
    settings |= {f"min_chn_{index}": offset for index, offset in enumerate(offsets)}
    return settings | {f"var_reci_chn_{index}": factor for index, factor in enumerate(factors)}


def padding_bytes(recipe: Recipe) -> tuple[int, ...] | None:
    """Return the bytes nearest to the recipe's zero padding, None where the recipe pads nothing."""
    if not any(isinstance(step, PadCenter) for step in recipe.preprocess):
        return None
    return tuple(round(offset) for offset in wanted_constants(recipe)[0])


def emulate(aipp: Aipp, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Return what the device would hand to the network: float16 (C, H, W), rounded to float16 at each step.

    ``pixels`` is uint8 (H, W, C) in the channel order of the file, C by ``input_format`` (YUV already spread to one
    triple per pixel). Order: channel swap, crop, colour conversion, mean and factor, padding. Raises DataError.
    """
    if aipp.on("resize"):
        raise DataError("resize is not computed here", "resize the images first, and leave resize out")
    planes = _swapped(aipp, pixels)
    crop = aipp.crop()
    if crop is not None:
        left, top, width, height = crop
        if left + width > planes.shape[1] or top + height > planes.shape[0] or not (width and height):
            size = f"{planes.shape[1]} × {planes.shape[0]}"
            raise DataError(
                f"the crop of {width} × {height} at {left}, {top} leaves the image of {size}",
                "mend load_start_pos and crop_size",
            )
        planes = planes[top : top + height, left : left + width]
    if aipp.on("csc_switch"):
        planes = _converted(aipp, planes)
    half = planes.astype(np.float16) - np.array(aipp.means(), np.float16)
    half = (half - np.array(aipp.minima(), np.float16)) * np.array(aipp.factors(), np.float16)
    left, right, top, bottom = aipp.padding()
    margin = np.float16(aipp.values.get("padding_value", 0.0))
    half = np.pad(half, ((top, bottom), (left, right), (0, 0)), constant_values=margin)
    return np.ascontiguousarray(half.transpose(2, 0, 1))


def unpacked(aipp: Aipp, content: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """Return uint8 (H, W, C) of raw bytes in the file's ``input_format``. Raises DataError for another size."""
    per_pixel, channels = FORMATS[aipp.format]
    want = int(width * height * per_pixel)
    if len(content) != want:
        raise DataError(size_complaint(len(content), want), "write them with `modelport preprocess --input-type uint8`")
    flat = np.frombuffer(content, np.uint8)
    if aipp.format != "YUV420SP_U8":
        return flat.reshape(height, width, channels)
    light = flat[: width * height].reshape(height, width, 1)
    tint = flat[width * height :].reshape(height // 2, width // 2, 2).repeat(2, axis=0).repeat(2, axis=1)
    return np.concatenate([light, tint], axis=2)


def size_complaint(got: int, want: int) -> str:
    """Return what a file of another size than the bytes AIPP takes must be."""
    kinds = {4: ": float32 values, four times the size; AIPP takes uint8", 2: ": float16 values; AIPP takes uint8"}
    return f"{got} bytes, AIPP takes {want}" + kinds.get(got // want if want and got % want == 0 else 0, "")


def _swapped(aipp: Aipp, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if aipp.format == "XRGB8888_U8":
        # The unused fourth byte comes first unless the switch moves it to the end; three channels go on.
        pixels = pixels[:, :, 1:] if aipp.on("ax_swap_switch") else pixels[:, :, :3]
    if aipp.on("rbuv_swap_switch"):
        order = [0, 2, 1] if aipp.format == "YUV420SP_U8" else [2, 1, 0]
        pixels = pixels[:, :, order]
    return pixels


def _converted(aipp: Aipp, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return matrix · (pixel − input bias) / 256 + output bias, cut to whole numbers from 0 to 255."""
    matrix = np.array([aipp.whole(key) for key in MATRIX], np.int64).reshape(3, 3)
    before, after = (
        np.array([aipp.whole(f"{kind}_bias_{index}") for index in range(3)]) for kind in ("input", "output")
    )
    mixed = ((pixels.astype(np.int64) - before) @ matrix.T >> 8) + after
    whole: NDArray[np.uint8] = np.clip(mixed, 0, 255).astype(np.uint8)
    return whole


def _value(key: str, entry: Entry, place: str) -> Any:
    where, text = f"{place}, line {entry.line}: {key}", entry.text
    try:
        if key in SWITCHES:
            if text.lower() not in _TRUE | _FALSE:
                raise ValueError
            return text.lower() in _TRUE
        if key in WHOLE:
            return _number(text) if key.startswith("mean_chn") else _whole(key, text)
        if key in DECIMAL:
            return _number(text)
    except ValueError as error:
        kind = "true or false" if key in SWITCHES else "a whole number of its range" if key in WHOLE else "a number"
        raise DataError(f"{where}: '{text}' is not {kind}", "mend the value") from error
    choices: Iterable[str] = {"aipp_mode": MODES, "input_format": tuple(FORMATS)}.get(key, (text,))
    if text not in choices:
        raise DataError(f"{where}: '{text}'", unknown("values", text, choices))
    return text


def _whole(key: str, text: str) -> int:
    """Return a whole number: of 16 bits, sizes and positions not negative. Raises ValueError."""
    value = int(text) if len(text) <= 11 else None
    signed = key in MATRIX or key.startswith(("output_bias", "input_bias"))
    top = 2**31 if key == "max_src_image_size" else 2**12 if key.endswith("_padding_size") else 2**16
    if value is None or not (-(2**15) if signed else 0) <= value < top:
        raise ValueError
    return value


def _number(text: str) -> float:
    value = float(text)
    # The device computes in float16.
    if not abs(value) <= float(np.finfo(np.float16).max):
        raise ValueError
    return value


def _spelled(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, ".7g") if isinstance(value, float) else str(value)
