"""``index.json``: what lies in a folder of tensor files, and which rows each file holds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.errors import DataError
from modelport.core.files import read_json
from modelport.core.values import RowId
from modelport.data.files.tensor_form import INDEX, MAX_INDEX_BYTES, SCHEMA, TensorForm, form_of
from modelport.data.stream.tensor_rows import row_form
from modelport.recipes.schema import Recipe

_AGAIN = "write the tensors again, or leave --tensors out"


@dataclass(frozen=True, slots=True)
class TensorIndex:
    """The parts of an index that a reader of results needs."""

    place: Path
    recipe: str
    files: dict[str, tuple[str, ...]]  # file name → ids of its rows
    digests: dict[str, str]  # sample id → sha256 of its content
    skipped: tuple[str, ...]  # samples that could not be decoded
    recipe_sha256: str
    variant: str | None
    form: TensorForm
    views: int
    seed: int

    def sample_of(self, row: str) -> str:
        """Return the id of the sample that a row is of."""
        return RowId.parse(row, self.views).sample


def read_index(place: Path) -> TensorIndex:
    """Read ``index.json``, or the one in a folder. Raises DataError where it is missing or no such file."""
    file = place / INDEX if place.is_dir() else place
    value = read_json(file, MAX_INDEX_BYTES, DataError, "name the folder that preprocess wrote")
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise DataError(f"{file}: is no index of tensor files ({SCHEMA})", "name the folder that preprocess wrote")
    try:
        return _parsed(file, value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: is not as preprocess writes it: {error!r}", _AGAIN) from error


def _parsed(file: Path, value: dict[str, Any]) -> TensorIndex:
    files, digests = {}, {}
    for entry in value["files"]:
        if not entry["ids"]:
            raise ValueError(f"{entry['file']} without a row")
        files[str(entry["file"])] = tuple(map(str, entry["ids"]))
        for row, digest in zip(entry["ids"], entry["sha256"], strict=True):
            digests[RowId.parse(str(row), value["views"]).sample] = str(digest)
    variant = value["variant"]
    return TensorIndex(
        *(file, str(value["recipe"]), files, digests, tuple(map(str, value["skipped"]))),
        recipe_sha256=str(value["recipe_sha256"]),
        variant=None if variant is None else str(variant),
        form=form_of(file, value),
        views=int(value["views"]),
        seed=int(value.get("seed", 0)),
    )


def hold_index(index: TensorIndex, recipe: Recipe) -> None:
    """Raise DataError unless the tensors were made by this recipe, in this variant, as it makes them today."""
    if index.recipe != recipe.name:
        raise DataError(f"{index.place} is of {index.recipe}, not of {recipe.name}", "name the recipe of the tensors")
    if index.variant != recipe.variant:
        told, asked = (f"variant '{name}'" if name else "no variant" for name in (index.variant, recipe.variant))
        fix = f"--variant {index.variant}" if index.variant else "leave --variant and --style guide out"
        raise DataError(f"{index.place}: the tensors are of {told}, the results are scored with {asked}", fix)
    if index.recipe_sha256 != recipe.digest:
        raise DataError(
            f"{index.place}: the recipe {recipe.name} was another when the tensors were written "
            f"(sha256 {index.recipe_sha256[:12]}…, now {recipe.digest[:12]}…)",
            "write the tensors again and run the model on them, or give the recipe that they were made by",
        )
    kinds = ("float32", "float16", "uint8", "int8")
    form = next((row_form(recipe, kind) for kind in kinds if kind == index.form.dtype), None)  # type: ignore[arg-type]
    if form is None or (form.layout, form.shape) != (index.form.layout, index.form.shape):
        raise DataError(f"{index.place}: {recipe.name} has no tensors of {index.form}", _AGAIN)


def hold_sizes(index: TensorIndex) -> None:
    """Raise DataError where a tensor file that is still there has not the rows that the index tells.

    Only raw files (``.bin``) tell their rows by their size.
    """
    row = math.prod(index.form.shape) * np.dtype(index.form.dtype).itemsize
    for name, ids in index.files.items():
        file = index.place.parent / name
        if file.suffix != ".bin" or not file.is_file():
            continue
        size, wanted = file.stat().st_size, row * len(ids)
        if size != wanted:
            raise DataError(
                f"{file}: has {size} bytes, the index tells {len(ids)} rows of {row}: {wanted}",
                "write the tensors again and run the model on them",
            )
