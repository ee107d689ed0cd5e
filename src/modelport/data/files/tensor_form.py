"""What the index beside tensor files says of them, held against what is to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError
from modelport.core.files import read_json
from modelport.core.text import natural_key, plain, some
from modelport.core.values import TensorSpec, shape_fits

SCHEMA = "modelport.tensors/1"
INDEX = "index.json"
MAX_INDEX_BYTES = 1024 * 1024 * 1024
# Bytes as the guide's script casts them; a model takes them through an input of the other type.
_CAST = ("int8", "uint8")


@dataclass(frozen=True, slots=True)
class TensorForm:
    """What every row of a folder's files is: ``shape`` without the batch axis, ``layout`` NCHW or NHWC."""

    place: Path
    dtype: str
    layout: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.layout} ({', '.join(map(str, self.shape))}) a row"


def form_beside(file: Path) -> TensorForm | None:
    """Return what the index in a tensor file's folder says of it; None where there is none, or it names other files."""
    place = file.parent / INDEX
    if not place.is_file():
        return None
    form, names = _index_at(place, place.stat().st_mtime_ns)
    return form if file.name in names else None


@lru_cache(maxsize=8)
def _index_at(place: Path, _changed: int) -> tuple[TensorForm | None, frozenset[str]]:
    """Return what an index tells and which files it names: read once, however many files of its folder are met."""
    try:
        value = read_json(place, MAX_INDEX_BYTES)
        if value["schema"] != SCHEMA:
            return None, frozenset()
        return form_of(place, value), frozenset(str(entry["file"]) for entry in value["files"])
    except (DataError, ValueError, KeyError, TypeError):
        return None, frozenset()  # another program's index


def form_of(place: Path, value: dict[str, Any]) -> TensorForm:
    """Return the form that an index tells. Raises KeyError, TypeError or ValueError where it tells none."""
    return TensorForm(place, str(value["dtype"]), str(value["layout"]), tuple(map(int, value["shape"])))


def hold_form(form: TensorForm, dtype: str, shape: Sequence[int | str], what: str) -> None:
    """Raise DataError where rows of ``form`` are no rows of ``what``: another type, or the same axes in another order.

    ``shape`` is without the batch axis; a free axis fits any size. Bytes cast to int8 fit a uint8 input.
    """
    if (form.dtype, dtype) == _CAST:
        return
    if form.dtype == dtype and (len(shape) != len(form.shape) or shape_fits(form.shape, shape)):
        return
    wanted = f"{dtype} ({', '.join(map(str, shape))})"
    fix = "give tensor files of that type, or a model that takes these"
    if dtype in ("float32", "uint8"):
        fix = f"write them with `modelport preprocess --input-type {dtype}`, or give a model of that input"
    raise DataError(f"{form.place}: the files hold {form}, {what} takes {wanted}", fix)


def hold_files(lists: Sequence[Sequence[str]], specs: Sequence[TensorSpec]) -> None:
    """Hold the files of each model input against it, where an index lies beside them. Raises DataError."""
    for files, spec in zip(lists, specs, strict=True):
        form = form_beside(Path(files[0]))
        if form is not None:
            hold_form(form, spec.dtype, spec.shape[1:], f"the model's input '{spec.name}'")


def lost_files(files: Sequence[str]) -> str:
    """Say which files an index in the folder of these names that are not there; empty for none."""
    folder = Path(files[0]).parent
    place = folder / INDEX
    if form_beside(Path(files[0])) is None:
        return ""
    _, names = _index_at(place, place.stat().st_mtime_ns)
    lost = sorted(names - {path.name for path in folder.iterdir()}, key=natural_key)
    if not lost:
        return ""
    named = some(map(plain, lost))
    return f"{place} names {len(names)} files, {len(lost)} of them are not there: {named}; they will have no result"
