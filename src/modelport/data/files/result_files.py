"""Files that ais_bench left: found in all its layouts, old and new, and read as BIN, NPY or TXT."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.errors import DataError, raised_as
from modelport.core.files import read_json
from modelport.core.text import some
from modelport.core.values import Array, Tensors, TensorSpec
from modelport.data.files.raw_values import size_reading

SUFFIXES = (".bin", ".npy", ".txt")
SUMMARIES = ("summary.json", "sumary.json")
# A batch of outputs is a few megabytes; a file beyond this is some other.
MAX_RESULT_BYTES = 1024 * 1024 * 1024
MAX_SUMMARY_BYTES = 256 * 1024 * 1024

_RESULT = re.compile(r"(?P<stem>.+)_(?P<output>[0-9]{1,4})(?P<suffix>\.(bin|npy|txt))", re.IGNORECASE)
_DEVICE = re.compile(r"device[0-9]+_[0-9]+")


@dataclass(frozen=True, slots=True)
class Results:
    """What lies in the folder of one inference."""

    folder: Path
    suffix: str
    files: dict[str, dict[int, Path]]  # stem → number of the output → file
    notes: list[str]

    def to_json(self) -> dict[str, str | int]:
        """Return what a result says of the saved outputs that it was scored from."""
        return {"path": str(self.folder), "format": self.suffix[1:].upper(), "files": len(self.files)}


@dataclass(slots=True)
class _Listing:
    """One folder: its results, the folders inside, and all else."""

    results: list[tuple[re.Match[str], Path]]
    folders: list[Path]
    other: list[str]


def find_results(place: Path) -> Results:
    """Find the results in ``place``, in its device folders, or in the one run folder that it holds.

    Raises DataError where there are none, two formats, several run folders, or two results of one name.
    """
    try:
        return _find(place)
    except OSError as error:
        raise DataError(f"{error.filename or place}: {error.strerror or error}", "check --results") from error


def summary_of(folder: Path) -> dict[str, Any] | None:
    """Return the summary that ais_bench left beside a run folder or in it; None where there is no readable one."""
    places = [folder.with_name(f"{folder.absolute().name}_{SUMMARIES[0]}")]
    places += [place / name for place in (folder, folder.absolute().parent) for name in (*SUMMARIES, "_summary.json")]
    for place in places:
        try:
            value = read_json(place, MAX_SUMMARY_BYTES)
        except DataError:
            continue
        if isinstance(value, dict):
            return value
    return None


def _find(place: Path) -> Results:
    if not place.is_dir():
        raise DataError(f"{place} {'is no folder' if place.exists() else 'does not exist'}", "name what ais_bench left")
    listing = _all_of(place)
    folder = place
    if not listing.results:
        runs = [(inner, found) for inner in listing.folders if (found := _all_of(inner)).results]
        if len(runs) > 1:
            named = some(sorted(inner.name for inner, _ in runs))
            raise DataError(f"{place} holds {len(runs)} folders with results: {named}", "name the one of them")
        if not runs:
            raise DataError(
                f"{place} holds no results (files like NAME_0.bin, .npy or .txt), nor does a folder in it",
                "name what ais_bench left: its --output, or the folder in that",
            )
        folder, listing = runs[0]
    suffixes = {match["suffix"].lower(): path.name for match, path in listing.results}
    if len(suffixes) > 1:
        named = ", ".join(f"{name} and others in {suffix[1:].upper()}" for suffix, name in sorted(suffixes.items()))
        raise DataError(f"{folder} holds results in {len(suffixes)} formats: {named}", "keep those of one inference")
    notes = [f"{folder}: not looked at: {some(sorted(listing.other))}"] if listing.other else []
    return Results(folder, next(iter(suffixes)), _by_stem(folder, listing), notes)


def _all_of(folder: Path) -> _Listing:
    """List a folder; the results in its device folders count as its own where it has none itself."""
    listing = _listing(folder)
    if not listing.results:
        for inner in listing.folders:
            if _DEVICE.fullmatch(inner.name):
                found = _listing(inner)
                listing.results += found.results
                listing.other += found.other
    return listing


def _listing(folder: Path) -> _Listing:
    listing = _Listing([], [], [])
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith("."):
                continue
            match = _RESULT.fullmatch(entry.name)
            if entry.is_dir():
                listing.folders.append(Path(entry.path))
            elif match and entry.is_file():
                listing.results.append((match, Path(entry.path)))
            elif not entry.name.endswith(SUMMARIES):
                listing.other.append(entry.name)
    return listing


def _by_stem(folder: Path, listing: _Listing) -> dict[str, dict[int, Path]]:
    files: dict[str, dict[int, Path]] = {}
    for match, path in listing.results:
        outputs = files.setdefault(match["stem"], {})
        number = int(match["output"])
        if number in outputs:
            one, two = (str(file.relative_to(folder)) for file in (outputs[number], path))
            raise DataError(
                f"{folder} holds two results of one sample: {one} and {two}",
                "keep one of the two; of several devices that did the same work, name one device's folder",
            )
        outputs[number] = path
    return files


def read_outputs(files: Mapping[int, Path], outputs: tuple[TensorSpec, ...]) -> tuple[Tensors, set[str]]:
    """Return the outputs (rows, …) of one result by name, and what is to be said of them.

    A BIN file holds the bytes of the declared dtype; int64 may come as int32, told by its size. Raises DataError,
    naming the file, for anything else: nothing is guessed, cut or filled up.
    """
    first = next(iter(files.values()))
    if missing := [number for number in range(len(outputs)) if number not in files]:
        raise DataError(
            f"{first.parent}: {first.name} has no output {missing[0]} beside it ({outputs[missing[0]].name})",
            "run the inference again, with all outputs",
        )
    if more := [number for number in files if number >= len(outputs)]:
        raise DataError(
            f"{files[more[0]]}: is output {more[0]}, and the recipe has {len(outputs)} outputs",
            "name the recipe of this model",
        )
    said: set[str] = set()
    arrays: dict[str, Array] = {}
    rows: int | None = None
    for number, spec in enumerate(outputs):
        arrays[spec.name] = _read(files[number], spec, rows, said)
        rows = len(arrays[spec.name])
    return arrays, said


def _read(path: Path, spec: TensorSpec, rows: int | None, said: set[str]) -> Array:
    with raised_as(DataError, str(path), "check the file", OSError):
        size = path.stat().st_size
        if size == 0 or size > MAX_RESULT_BYTES:
            raise DataError(f"{path}: {size} bytes", "run the inference again")
        match path.suffix.lower():
            case ".bin":
                array = _from_bytes(path, spec, rows, said)
            case ".npy":
                array = _from_npy(path, spec, said)
            case _:
                array = _from_text(path, spec)
    if rows is not None and len(array) != rows:
        raise DataError(f"{path}: {len(array)} rows of {spec.name}, and {rows} of the output before", "run it again")
    return array


def _from_bytes(path: Path, spec: TensorSpec, rows: int | None, said: set[str]) -> Array:
    content = path.read_bytes()
    tail = tuple(int(axis) for axis in spec.shape[1:])
    numbers = int(np.prod(tail))
    dtype = np.dtype(spec.dtype)
    # An int32 row is half as long; how many rows there are, the output before it has told.
    if dtype == np.int64 and rows is not None and len(content) == rows * numbers * 4:
        said.add(f"{spec.name}: int32, by the size of the files; taken as int64")
        dtype = np.dtype(np.int32)
    elif len(content) % (numbers * dtype.itemsize):
        other = size_reading(len(content), numbers, spec.dtype)
        raise DataError(
            f"{path}: {len(content)} bytes are no whole number of rows of {spec} ({numbers * dtype.itemsize} bytes)"
            + (f"; {other}" if other else ""),
            "a truncated file, or one of another model or dtype: run the inference again",
        )
    array: Array = np.frombuffer(content, dtype.newbyteorder("<")).reshape(-1, *tail).astype(spec.dtype)
    return array


def _from_npy(path: Path, spec: TensorSpec, said: set[str]) -> Array:
    try:
        with path.open("rb") as stream:
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
            whole = not stream.read(1)
    except OSError:
        raise
    # A damaged header meets what its parser stumbles over: ValueError, SyntaxError, TokenError, MemoryError...
    except Exception as error:
        raise DataError(f"{path}: is no whole NPY file: {str(error)[:200]}", "run the inference again") from error
    tail = tuple(int(axis) for axis in spec.shape[1:])
    if not whole or (array.shape != tail and array.shape[1:] != tail):
        more = "" if whole else " and more after it"
        raise DataError(f"{path}: {array.shape}{more} where {spec} is wanted", "name the recipe of this model")
    if (str(array.dtype), spec.dtype) in (("float16", "float32"), ("int32", "int64")):
        said.add(f"{spec.name}: {array.dtype}, taken as {spec.dtype}; every value of it is one of that too")
    elif array.dtype != np.dtype(spec.dtype):
        raise DataError(f"{path}: {array.dtype} where {spec} is wanted", "name the recipe of this model")
    rows: Array = array.reshape(-1, *tail).astype(spec.dtype)
    return rows


def _from_text(path: Path, spec: TensorSpec) -> Array:
    """Read rows of numbers: as many lines as the tensor has without its last axis."""
    tail = tuple(int(axis) for axis in spec.shape[1:])
    number = int if np.dtype(spec.dtype).kind in "iu" else float
    try:
        text = path.read_text(encoding="ascii")
        lines = [list(map(number, line.split())) for line in text.splitlines() if line.strip()]
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: is no table of numbers: {str(error)[:120]}", "run the inference again") from error
    widths = sorted({len(line) for line in lines})
    if widths != [tail[-1]] or len(lines) % int(np.prod(tail[:-1])) or _cut_off(text, spec.dtype):
        named = ", ".join(map(str, widths[:4])) or "0"
        raise DataError(
            f"{path}: {len(lines)} lines of {named} numbers, cut off or not whole rows of {spec}",
            "a truncated file, or one of another model: run the inference again",
        )
    try:
        # A float32 never prints what overflows it; a longer one becomes infinite, as its cast would.
        with np.errstate(over="ignore"):
            return np.array(lines, spec.dtype).reshape(-1, *tail)
    except OverflowError as error:
        raise DataError(f"{path}: {error}", "run the inference again") from error


def _cut_off(text: str, dtype: str) -> bool:
    """Whether the last number may have lost digits: nothing ends it, and it has fewer decimals than the first."""
    if text[-1:].isspace():
        return False
    words = text.split()
    return np.dtype(dtype).kind in "iu" or len(words[0].partition(".")[2]) != len(words[-1].partition(".")[2])
