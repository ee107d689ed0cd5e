"""What is wrong with an AIPP file, held against the recipe of the network behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modelport.core.errors import DataError, did_you_mean, raised_as
from modelport.engines.ascend.aipp import (
    FORMATS,
    KEYS,
    Aipp,
    colour_order,
    input_size,
    settings_of,
    size_complaint,
    wanted_constants,
)
from modelport.engines.ascend.aipp_text import Block
from modelport.recipes.schema import Recipe

# The device keeps 11 bits of a number; a file with constants in four digits is no further off than this.
FACTOR_TOLERANCE = 2e-3
OFFSET_TOLERANCE = 0.15  # of 255
MAX_PADDING = 32
# Files looked at in a folder, spread over it.
LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know. An ``error`` breaks the accuracy or the compilation; a ``warning`` may."""

    level: Literal["error", "warning"]
    key: str
    found: str
    fix: str


def lint(blocks: list[Block], recipe: Recipe, place: str) -> list[Finding]:
    """Return the findings, errors first. Raises DataError for a value of the wrong kind, and RecipeError."""
    if len(blocks) > 1:
        raise DataError(f"{place}: {len(blocks)} aipp_op, the recipe has one input", "give one aipp_op")
    block = blocks[0]
    findings = list(_unknown_keys(block))
    aipp = settings_of(block, place)
    findings += _mode(aipp)
    if aipp.format and aipp.mode == "static":
        findings += [*_format(aipp, recipe), *_sizes(aipp, *input_size(recipe))]
    if aipp.format and (aipp.mode == "static" or any("_chn_" in key for key in aipp.values)):
        findings += _constants(aipp, recipe)
    findings += _layout(aipp, recipe)
    return sorted(findings, key=lambda finding: finding.level != "error")


def lint_tensors(aipp: Aipp, recipe: Recipe, folder: Path) -> list[Finding]:
    """Return what is wrong with the tensor files of a folder as the input of this AIPP. DataError without any."""
    fix = "give the folder of the tensor files"
    with raised_as(DataError, str(folder), fix, OSError):
        files = sorted(path for path in folder.iterdir() if path.suffix in (".bin", ".npy") and path.is_file())
    if not files:
        raise DataError(f"{folder}: holds no .bin or .npy file", fix)
    width, height = aipp.source_size() or input_size(recipe)
    per_pixel, channels = FORMATS.get(aipp.format, (3.0, 3))
    want = int(width * height * per_pixel)
    for path in files[:: max(1, len(files) // LOOKED_AT)]:
        complaint = _tensor(path, want, (height, width, channels))
        if complaint:
            fix = "write the files with `modelport preprocess --input-type uint8`"
            return [Finding("error", "input_format", f"{path}: {complaint}", fix)]
    return []


def _tensor(path: Path, want: int, shape: tuple[int, int, int]) -> str:
    """Return what is wrong with a file, empty where nothing is."""
    try:
        if path.suffix == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.dtype != np.uint8:
                return f"holds {array.dtype}, AIPP takes uint8"
            if array.shape[-3:] != shape:
                return f"has the shape {array.shape}, AIPP takes (…, {', '.join(map(str, shape))}): NHWC"
            flat = np.asarray(array).reshape(-1)
        else:
            flat = np.fromfile(path, np.uint8)
    except (OSError, ValueError, EOFError) as error:
        return f"cannot be read: {error}"
    # A file may hold several images; only an odd size tells of another type, but four times one image is float32.
    if flat.size % want or not flat.size or (path.suffix == ".bin" and flat.size == 4 * want and _looks_float(flat)):
        return size_complaint(flat.size, want)
    if shape[2] == 3 and _looks_planar(flat[:want], shape):
        return "looks like planes (CHW), AIPP takes NHWC: the values of a pixel side by side"
    return ""


def _looks_float(flat: np.ndarray[Any, np.dtype[np.uint8]]) -> bool:
    """Whether bytes read as float32 make numbers of a normalised image."""
    values = np.abs(flat.view(np.float32))
    return bool(np.isfinite(values).all() and values.max() < 1024 and np.median(values) > 1e-6)


def _looks_planar(flat: np.ndarray[Any, np.dtype[np.uint8]], shape: tuple[int, int, int]) -> bool:
    """Whether neighbours differ far less where the bytes are read as planes than as pixels."""
    height, width, channels = shape
    pixels = flat.reshape(shape).astype(np.int16)
    planes = flat.reshape(channels, height, width).astype(np.int16)
    rough, smooth = (float(np.abs(np.diff(values, axis=axis)).mean()) for values, axis in ((pixels, 1), (planes, 2)))
    return smooth * 2 < rough


def _unknown_keys(block: Block) -> Iterator[Finding]:
    for key, entry in block.items():
        if key not in KEYS:
            near = did_you_mean(key, KEYS).strip() or "see the list of AIPP's keys in CANN's documentation"
            yield Finding("error", key, f"line {entry.line}: no key that AIPP knows", near)


def _mode(aipp: Aipp) -> Iterator[Finding]:
    if not aipp.mode:
        yield Finding("error", "aipp_mode", "is missing: ATC refuses the file", "write aipp_mode: static")
    if aipp.mode == "dynamic":
        if not aipp.whole("max_src_image_size"):
            yield Finding("error", "max_src_image_size", "is missing, a dynamic file needs it", "write it, in bytes")
        yield Finding(
            "warning",
            "aipp_mode",
            "dynamic: the constants are given with each run; a var_reci_chn left out is 0, and so is the input",
            "give var_reci_chn with every run, or write aipp_mode: static",
        )
    if aipp.mode == "static" and not aipp.format:
        yield Finding("error", "input_format", "is missing", "write input_format: RGB888_U8")


def _format(aipp: Aipp, recipe: Recipe) -> Iterator[Finding]:
    converts, swaps = aipp.on("csc_switch"), aipp.on("rbuv_swap_switch")
    if aipp.format == "YUV400_U8":
        yield Finding("error", "input_format", "YUV400_U8 is grey, the network takes three channels", "write RGB888_U8")
    elif aipp.format == "YUV420SP_U8" and not converts:
        fix = "write csc_switch: true with the matrix, or RGB888_U8"
        yield Finding("error", "csc_switch", "is off: the network would get YUV, not RGB", fix)
    elif aipp.format != "YUV420SP_U8":
        if converts:
            yield Finding("error", "csc_switch", "is on: the network would get YUV, not RGB", "write csc_switch: false")
        if swaps:
            order = colour_order(recipe)
            found = f"is on: the network would get {order[::-1]} where the files hold {order}, as modelport writes them"
            yield Finding("error", "rbuv_swap_switch", found, "write rbuv_swap_switch: false")
    if aipp.format == "XRGB8888_U8" and not aipp.on("ax_swap_switch"):
        found = "is off: the unused first byte would be taken for red"
        yield Finding("error", "ax_swap_switch", found, "write ax_swap_switch: true, or RGB888_U8")


def _sizes(aipp: Aipp, width: int, height: int) -> Iterator[Finding]:
    source, crop = aipp.source_size(), aipp.crop()
    if aipp.on("resize"):
        yield Finding(
            "error", "resize", "resizes as no recipe does", "resize by `modelport preprocess`, and leave it out"
        )
    if source is None and crop is None and not any(aipp.padding()):
        return
    if source is None:
        fix = "write src_image_size_w and src_image_size_h"
        yield Finding("error", "src_image_size_w", "is missing, though the image is cropped or padded", fix)
        return
    if crop is not None and (crop[0] + crop[2] > source[0] or crop[1] + crop[3] > source[1] or 0 in crop[2:]):
        found = f"{crop[2]} × {crop[3]} at {crop[0]}, {crop[1]} leaves the image of {source[0]} × {source[1]}"
        yield Finding("error", "crop_size_w", found, "mend load_start_pos and crop_size")
    if max(aipp.padding()) > MAX_PADDING or min(aipp.padding()) < 0:
        yield Finding("error", "padding", f"{max(aipp.padding())} pixels on a side", f"pad by 0 to {MAX_PADDING}")
    got = aipp.result_size(*source)
    if got != (width, height):
        found = f"{got[0]} × {got[1]} come out, the network takes {width} × {height}"
        yield Finding("error", "crop_size_w" if crop else "src_image_size_w", found, "mend the sizes")


def _constants(aipp: Aipp, recipe: Recipe) -> Iterator[Finding]:
    if aipp.channels != 3:
        return
    bad = aipp.not_bytes()
    for key in bad:
        yield Finding("error", key, f"{aipp.values[key]} is no whole number from 0 to 255", "put it into min_chn")
    if bad:
        return
    offsets, factors = wanted_constants(recipe)
    taken = tuple(mean + least for mean, least in zip(aipp.means(), aipp.minima(), strict=True))
    if _off(taken, offsets) and not _off(taken, offsets[::-1]):
        fix = f"write min_chn_0: {offsets[0]:.7g}, min_chn_2: {offsets[2]:.7g}"
        yield Finding("error", "min_chn_0", "the constants of red and blue have changed places", fix)
        return
    for index, (got, want) in enumerate(zip(taken, offsets, strict=True)):
        if abs(got - want) > OFFSET_TOLERANCE:
            found = f"mean_chn + min_chn take {got:.7g} off, the recipe's normalisation {want:.7g}"
            yield Finding(
                "error", f"min_chn_{index}", found, f"write min_chn_{index}: {want:.7g}, and no mean_chn_{index}"
            )
    for index, (got, want) in enumerate(zip(aipp.factors(), factors, strict=True)):
        key = f"var_reci_chn_{index}"
        if abs(got / want - 1) > FACTOR_TOLERANCE:
            found = f"is {got:.7g}, the recipe's normalisation multiplies by {want:.7g}"
            if key not in aipp.values:
                found = f"is missing, so {got:g} is taken: the network was trained on input multiplied by {want:.7g}"
            yield Finding("error", key, found, f"write {key}: {want:.7g}")


def _off(got: tuple[float, ...], want: tuple[float, ...]) -> bool:
    return any(abs(one - other) > OFFSET_TOLERANCE for one, other in zip(got, want, strict=True))


def _layout(aipp: Aipp, recipe: Recipe) -> Iterator[Finding]:
    width, height = aipp.source_size() or input_size(recipe)
    per_pixel, channels = FORMATS.get(aipp.format, (3.0, 3))
    shape = f"({height}, {width}, {channels})"
    if aipp.format == "YUV420SP_U8":
        shape = f"{int(width * height * per_pixel)} bytes an image"
    yield Finding(
        "warning",
        "input_format",
        f"layout: the compiled model takes uint8 NHWC, {shape}, whatever --input_format says; CHW bytes of "
        "that size are taken without complaint and are wrong, float32 files have four times the size",
        "feed it with `modelport preprocess --input-type uint8`; --tensors DIR looks at the files",
    )
