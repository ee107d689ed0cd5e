"""The AIPP file of a recipe, one held against a recipe, and what it does to images, without a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.artifacts import write_text, written_aside
from modelport.core.errors import DataError, OutputError, UsageError
from modelport.core.progress import Progress
from modelport.core.values import Array, Sample
from modelport.data.files.tensor_form import form_beside, hold_form
from modelport.data.prepare.transforms import Preprocess
from modelport.engines.ascend.aipp import (
    Aipp,
    aipp_of,
    colour_order,
    emulate,
    input_size,
    padding_bytes,
    settings_of,
    text_of,
    unpacked,
    wanted_constants,
)
from modelport.engines.ascend.aipp_lint import lint, lint_tensors
from modelport.engines.ascend.aipp_text import read_blocks
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Decode, Normalize, Step

FORMATS = ("bin", "npy")
TENSORS = (".bin", ".npy")
# uint8 (H, W, C), as the device would get them.
Pixels = NDArray[np.uint8]


def write_aipp(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Write the AIPP file that does a recipe's normalisation. Raises RecipeError where AIPP cannot."""
    width, height = input_size(recipe)
    write_text(out, text_of(aipp_of(recipe)))
    notes = [f"the compiled model then takes uint8 NHWC, ({height}, {width}, 3) an image"]
    if colour_order(recipe) == "BGR":
        notes.append("blue comes first in a pixel, as the recipe decodes it; rbuv_swap_switch: true takes RGB")
    colour = padding_bytes(recipe)
    if colour is not None:
        notes.append(f"pad before it, with the bytes {', '.join(map(str, colour))}, the nearest to the recipe's zeros")
    return {"schema": "modelport.aipp-write/1", "path": str(out), "recipe": recipe.name, "notes": notes}


def check_aipp(path: Path, recipe: Recipe, tensors: Path | None) -> dict[str, Any]:
    """Return what is wrong with an AIPP file for a recipe, and with tensor files given to it.

    Raises DataError for a file that cannot be read so far, RecipeError where AIPP cannot serve the recipe.
    """
    blocks = read_blocks(path)
    findings = lint(blocks, recipe, str(path))
    if tensors is not None:
        findings = [*lint_tensors(settings_of(blocks[0], str(path)), recipe, tensors), *findings]
    return {
        "schema": "modelport.aipp-check/1",
        "path": str(path),
        "recipe": recipe.name,
        "clean": not any(finding.level == "error" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def apply_aipp(
    path: Path, images: Sequence[Path], out: Path, recipe: Recipe | None, form: str, progress: Progress
) -> dict[str, Any]:
    """Write, for each image or uint8 tensor file, what AIPP would hand to the network, as float32 (1, C, H, W).

    The values are those of float16. With a recipe an image goes through its resize, crop and padding first.
    Raises DataError or BadSampleError for a file that does not fit, UsageError for names that would collide.
    """
    blocks = read_blocks(path)
    if len(blocks) != 1:
        raise DataError(f"{path}: {len(blocks)} aipp_op", "give a file with one")
    aipp = settings_of(blocks[0], str(path))
    if aipp.mode != "static" or not aipp.format:
        raise DataError(
            f"{path}: only a static file with an input_format can be computed", "run `modelport aipp check`"
        )
    files = _all_files(images)
    targets = _targets(files, out, form)
    read = _Reader(aipp, recipe)
    differences: list[float] = []
    shape, written = (0, 0, 0), []
    with progress.bar("aipp", len(files), "images") as bar:
        for file, target in zip(files, targets, strict=True):
            pixels = read.pixels(file)
            try:
                result = emulate(aipp, pixels)
            except DataError as error:
                raise DataError(f"{file}: {error.found}", error.fix) from error
            if recipe is not None:
                differences += _difference(recipe, pixels, result, file)
            _write(target, result.astype(np.float32)[None], form)
            written.append(str(target))
            shape = result.shape
            bar.advance()
    notes = [
        "the values are float16's, as the device computes them, kept in float32 NCHW files; no device has computed them"
    ]
    value: dict[str, Any] = {"schema": "modelport.aipp-apply/1", "files": written}
    value |= {"shape": [1, *shape], "dtype": "float32"}
    if differences:
        value["largest_difference"] = max(differences)
        notes.append(f"largest difference from the recipe's own normalisation: {max(differences):.3g}")
    if recipe is not None and padding_bytes(recipe) is not None:
        notes.append("padded before the normalisation with the bytes nearest to the recipe's zeros")
    return value | {"notes": notes}


class _Reader:
    """Turns a file into the bytes that the device would get."""

    def __init__(self, aipp: Aipp, recipe: Recipe | None) -> None:
        self._aipp, self._recipe = aipp, recipe
        # Made when it is needed: tensor files need no steps.
        self._preprocess: Preprocess | None = None

    def pixels(self, path: Path) -> Pixels:
        """Return uint8 (H, W, C) in the channels of ``input_format``."""
        if path.suffix in TENSORS:
            return self._of_tensor(path)
        if self._aipp.format != "RGB888_U8":
            raise DataError(
                f"{path}: an image gives RGB888_U8, not {self._aipp.format}", "give .bin files in that format"
            )
        pixels = self._of_image(path)
        size = self._aipp.source_size()
        if size is not None and (pixels.shape[1], pixels.shape[0]) != size:
            raise DataError(
                f"{path}: {pixels.shape[1]} × {pixels.shape[0]}, AIPP takes {size[0]} × {size[1]} (src_image_size)",
                "add --recipe to resize and crop as it does, or give images of that size",
            )
        return pixels

    def _of_image(self, path: Path) -> Pixels:
        content = Sample(path.name, None, path).read()
        if self._recipe is None:
            return _plain(content, str(path))
        if self._recipe.dataset.views > 1:
            raise UsageError(
                f"{path}: {self._recipe.name} makes random views of its images",
                "give the .bin files of `modelport preprocess --input-type uint8`",
            )
        self._preprocess = self._preprocess or Preprocess(self._recipe.preprocess)
        pixels = self._preprocess.pixels(content, str(path))
        place = self._preprocess.place(content, str(path))
        colour = padding_bytes(self._recipe)
        if place is None or colour is None:
            return pixels
        width, height = input_size(self._recipe)
        whole = np.full((height, width, 3), colour, np.uint8)
        whole[place.pad_top :, place.pad_left :][: pixels.shape[0], : pixels.shape[1]] = pixels
        return whole

    def _of_tensor(self, path: Path) -> Pixels:
        form = form_beside(path)
        if form is not None and form.dtype == "float32":
            hold_form(form, "uint8", form.shape, "AIPP")
        if form is not None and self._aipp.format == "RGB888_U8" and form.layout != "NHWC":
            raise DataError(
                f"{form.place}: the files hold {form}: planes, AIPP takes the values of a pixel side by side",
                "write them with `modelport preprocess --input-type uint8`",
            )
        size = self._aipp.source_size() or (None if self._recipe is None else input_size(self._recipe))
        try:
            if path.suffix == ".npy":
                array: Array = np.load(path, allow_pickle=False)
                if array.dtype != np.uint8:
                    raise DataError(
                        f"{path}: holds {array.dtype}, AIPP takes uint8", "write it with --input-type uint8"
                    )
                content = array.tobytes()
            else:
                content = Sample(path.name, None, path).read()
        except (ValueError, EOFError, OSError) as error:
            raise DataError(f"{path}: cannot be read: {error}", "write the file again") from error
        if size is None:
            raise DataError(f"{path}: how large the image is, is not known", "write src_image_size, or add --recipe")
        try:
            return unpacked(self._aipp, content, *size)
        except DataError as error:
            raise DataError(f"{path}: {error.found}", error.fix) from error


def _plain(content: bytes, name: str) -> Pixels:
    """Return an image as it is, in RGB."""
    steps: list[Step] = [
        Decode(step="decode", color="RGB", exif_rotation="ignore"),
        Normalize(step="normalize", divide=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    ]
    return Preprocess(steps).pixels(content, name)


def _difference(recipe: Recipe, pixels: Pixels, result: Array, path: Path) -> list[float]:
    """Return the largest difference from the recipe's normalisation, nothing where AIPP crops or pads the pixels."""
    width, height = input_size(recipe)
    if result.shape != (3, height, width):
        got = "×".join(map(str, result.shape))
        raise DataError(f"{path}: {got} comes out, the network takes 3×{height}×{width}", "run `modelport aipp check`")
    if pixels.shape != (height, width, 3):
        return []
    offsets, factors = (np.array(numbers) for numbers in wanted_constants(recipe))
    want = ((pixels - offsets) * factors).transpose(2, 0, 1)
    return [float(np.abs(result.astype(np.float64) - want).max())]


def _all_files(images: Sequence[Path]) -> list[Path]:
    """Return the files, those of a folder in the order of their names."""
    files: list[Path] = []
    for path in images:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"{path}: no such file", "check the path")
    if not files:
        raise DataError(f"{', '.join(map(str, images))}: no files", "give images, .bin or .npy files")
    return files


def _targets(files: Sequence[Path], out: Path, form: str) -> list[Path]:
    targets = [out / f"{file.stem}.{form}" for file in files]
    first: dict[Path, Path] = {}
    for file, target in zip(files, targets, strict=True):
        if target in first:
            raise UsageError(
                f"{first[target]} and {file} would both be written to {target}", "give one of them at a time"
            )
        if target.exists() and target.resolve() == file.resolve():
            raise OutputError(f"{target} is an input", "choose another --out")
        first[target] = file
    return targets


def _write(target: Path, array: Array, form: str) -> None:
    with written_aside(target) as aside:
        if form == "npy":
            np.save(aside, array, allow_pickle=False)
        else:
            aside.write_bytes(array.tobytes())
