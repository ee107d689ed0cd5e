"""The input files: which there are, how they fill the model's tensors, and reading them."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from modelport.ais_bench.log import Log
from modelport.core.errors import DataError, UsageError, raised_as
from modelport.core.text import natural_key
from modelport.core.values import Array, TensorSpec
from modelport.data.files.raw_values import size_reading

SUFFIXES = (".bin", ".npy")
PURE = "pure_infer_data"


@dataclass(frozen=True, slots=True)
class FileBatch:
    """The files of one execution: per model input as many, the last batch fewer. ``first`` counts from 0."""

    first: int
    files: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """Tensors ready to run, and which share of the last file's rows is not padding."""

    inputs: dict[str, Array]
    kept: Fraction = Fraction(1)


def list_files(entries: Sequence[str], inputs: int, share: tuple[int, int], log: Log) -> list[list[str]]:
    """Return the files of each model input, all lists equally long; ``share`` is (this part, of how many).

    Raises UsageError where the entries do not serve ``inputs`` inputs.
    """
    if Path(entries[0]).is_dir():
        if len(entries) != inputs:
            raise UsageError(f"--input names {_count(len(entries), 'folder')}", f"give {inputs}, one per model input")
        lists = [_files_of_folder(folder, log) for folder in entries]
    else:
        if missing := [file for file in entries if not Path(file).is_file()]:
            kind = "a folder among files" if Path(missing[0]).is_dir() else "no such file or folder"
            raise UsageError(f"--input {missing[0]}: {kind}", "give files alone or folders alone, parted by commas")
        if len(entries) % inputs:
            raise UsageError(
                f"--input names {_count(len(entries), 'file')} for {inputs} model inputs",
                "give every input as many files: first all of the first input, then all of the next",
            )
        each = len(entries) // inputs
        lists = [list(entries[start : start + each]) for start in range(0, len(entries), each)]
    if len(set(map(len, lists))) > 1:
        found = ", ".join(f"{len(files)} from {Path(files[0]).parent}" for files in lists)
        raise UsageError(f"the model's inputs have unequal numbers of files: {found}", "give every input as many files")
    part, parts = share
    each, more = divmod(len(lists[0]), parts)
    start = part * each + min(part, more)  # the first parts get one more where they do not divide
    return [files[start : start + each + (part < more)] for files in lists]


def _count(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _files_of_folder(folder: str, log: Log) -> list[str]:
    if not Path(folder).is_dir():
        raise UsageError(f"--input {folder}: no folder", "give files alone or folders alone, parted by commas")
    with raised_as(UsageError, f"--input {folder}", "check the folder's permissions", OSError):
        names = sorted(path.name for path in Path(folder).iterdir())
    # A link that leads nowhere stays in the list: passing over it would lose a sample in silence.
    files = [name for name in names if name.lower().endswith(SUFFIXES) and not (Path(folder) / name).is_dir()]
    if len(files) < len(names):
        log.note(f"{folder}: {_count(len(names) - len(files), 'name')} passed over that are no .bin or .npy files")
    if not files:
        raise UsageError(f"--input {folder}: holds no .bin or .npy file", "folders are not searched below themselves")
    return [str(Path(folder) / name) for name in sorted(files, key=natural_key)]


@dataclass(frozen=True, slots=True)
class FileFeed:
    """Files that fill the model's tensors in order. ``specs`` have whole shapes; ``lists`` a list per input."""

    specs: tuple[TensorSpec, ...]
    lists: tuple[tuple[str, ...], ...]
    per_batch: int
    npy_as_bytes: bool = False

    def batches(self) -> list[FileBatch]:
        """Return all batches in order."""
        starts = range(0, len(self.lists[0]), self.per_batch)
        return [FileBatch(at, tuple(files[at : at + self.per_batch] for files in self.lists)) for at in starts]

    def read(self, batch: FileBatch) -> Filled:
        """Read the files of a batch. Raises DataError, naming the file that does not fit or cannot be read.

        A short batch is filled up with its first file. The very last file may hold fewer rows than the others.
        """
        is_last = batch.first + len(batch.files[0]) == len(self.lists[0])
        tensors, kept = {}, set()
        for spec, files in zip(self.specs, batch.files, strict=True):
            tensor = np.empty([int(axis) for axis in spec.shape], spec.dtype)
            slots = tensor.reshape(self.per_batch, -1, *tensor.shape[1:])
            for slot, file in zip(slots, files, strict=False):
                rows = _read_into(slot, file, spec, is_last and file is files[-1], self.npy_as_bytes)
            slots[len(files) :] = slots[0]
            kept.add(Fraction(rows, slots.shape[1]))
            tensors[spec.name] = tensor
        if len(kept) > 1:
            last = " and ".join(files[-1] for files in batch.files)
            raise DataError(f"{last}: unequal numbers of rows", "write them again with as many rows each")
        return Filled(tensors, kept.pop())


@dataclass(frozen=True, slots=True)
class OwnShapeFeed:
    """Files that bring their own shapes, one per input and execution."""

    specs: tuple[TensorSpec, ...]
    lists: tuple[tuple[str, ...], ...]

    def batches(self) -> list[FileBatch]:
        """Return all batches in order."""
        each = enumerate(zip(*self.lists, strict=True))
        return [FileBatch(first, tuple((file,) for file in files)) for first, files in each]

    def read(self, batch: FileBatch) -> Filled:
        """Read one file per input. Raises DataError for a file that is no .npy, SignatureError for one that misfits."""
        tensors = {}
        for spec, (file,) in zip(self.specs, batch.files, strict=True):
            if not is_npy(file):
                raise DataError(f"{file}: holds no shape, and its shape is asked for", "give .npy files")
            tensor = np.ascontiguousarray(_load(file))
            spec.check(tensor)
            tensors[spec.name] = tensor
        return Filled(tensors)


@dataclass(frozen=True, slots=True)
class PureFeed:
    """One execution without files: zeros, or values drawn once with seed 0 (floats in [0, 1), integers in 0–255)."""

    specs: tuple[TensorSpec, ...]
    kind: str

    def batches(self) -> list[FileBatch]:
        """Return the one batch."""
        return [FileBatch(0, tuple((PURE,) for _ in self.specs))]

    def read(self, batch: FileBatch) -> Filled:
        """Make the tensors."""
        rng = np.random.default_rng(0)
        return Filled({spec.name: self._tensor(spec, rng) for spec in self.specs})

    def _tensor(self, spec: TensorSpec, rng: np.random.Generator) -> Array:
        shape, dtype = [int(axis) for axis in spec.shape], np.dtype(spec.dtype)
        if self.kind == "zero":
            return np.zeros(shape, dtype)
        if dtype.kind == "f":
            return rng.random(shape, np.float32).astype(dtype)
        top = 2 if dtype.kind == "b" else min(256, int(np.iinfo(dtype).max) + 1)
        return rng.integers(0, top, shape).astype(dtype)


Feed = FileFeed | OwnShapeFeed | PureFeed


def is_npy(file: str) -> bool:
    """Whether a file tells its own dtype and shape."""
    return file.lower().endswith(".npy")


def file_bytes(file: str) -> int:
    """Return how many bytes of a tensor a file holds. Raises DataError where it cannot be read."""
    return int(_load(file, mapped=True).nbytes) if is_npy(file) else _size(file)


def files_per_batch(specs: tuple[TensorSpec, ...], lists: Sequence[Sequence[str]], npy_as_bytes: bool = False) -> int:
    """Return how many files fill the tensors once: tensor bytes ÷ bytes of the first file.

    Raises DataError where that does not divide, is not the same for every input, or the file is of another dtype.
    """
    counts = []
    for spec, files in zip(specs, lists, strict=True):
        if is_npy(files[0]) and not npy_as_bytes:
            _hold_dtype(files[0], _load(files[0], mapped=True).dtype, spec)
        shape = [int(axis) for axis in spec.shape] or [1]
        whole, part = int(np.prod(shape)) * np.dtype(spec.dtype).itemsize, file_bytes(files[0])
        if part == 0 or whole % part or (whole // part > 1 and shape[0] % (whole // part)):
            row = whole // shape[0]
            fix = f"a row of '{spec.name}' has {row} bytes: see that dtype and shape are the model's"
            if part and part % row == 0:
                fix = f"it holds {part // row} rows: give a model, or with a free batch axis --batchsize, of that batch"
            if other := size_reading(part, row // np.dtype(spec.dtype).itemsize, spec.dtype):
                fix = f"{other}: write the files as {spec.dtype}" + (f"; or {fix}" if part % row == 0 else "")
            found = f"{files[0]}: holds {part} bytes, which do not divide the {whole} bytes of {spec} into whole rows"
            raise DataError(found, fix)
        counts.append(whole // part)
    if len(set(counts)) > 1:
        found = ", ".join(f"{files[0]}: {count}" for files, count in zip(lists, counts, strict=True))
        raise DataError(f"the inputs want unequal numbers of files per batch ({found})", "write them with equal rows")
    return counts[0]


def _hold_dtype(file: str, found: np.dtype[Any], spec: TensorSpec) -> None:
    """Raise DataError where a .npy file tells another dtype: its size would mislead."""
    if found != np.dtype(spec.dtype):
        raise DataError(
            f"{file}: holds {found}, the model wants {spec}",
            f"save it as {spec.dtype}: numpy.save(file, array.astype('{spec.dtype}')); nothing is cast "
            "(--npy-as-bytes takes the bytes as they are)",
        )


def _read_into(slot: Array, file: str, spec: TensorSpec, may_be_short: bool, npy_as_bytes: bool) -> int:
    """Read a file into its share of a tensor and return how many rows it held; missing rows repeat its first."""
    rows = _rows_of(file, slot, spec) if is_npy(file) and not npy_as_bytes else _raw_rows(file, slot, spec)
    if len(rows) == len(slot):
        slot[...] = rows
    elif may_be_short and 0 < len(rows) < len(slot):
        slot[: len(rows)], slot[len(rows) :] = rows, rows[0]
    else:
        raise DataError(
            f"{file}: holds {_count(len(rows), 'row')} of '{spec.name}', the first file {len(slot)}",
            "write it again; only the very last file may hold fewer rows",
        )
    return len(rows)


def _raw_rows(file: str, slot: Array, spec: TensorSpec) -> Array:
    """Return a file's bytes as rows: of a .npy file those of its array."""
    array = _load(file) if is_npy(file) else None
    size, row = _size(file) if array is None else array.nbytes, slot[:1].nbytes
    if size % row or size == 0:
        wanted = "in the input's dtype and shape" if array is None else "with as many bytes as the input has"
        raise DataError(
            f"{file}: {size} bytes are no whole number of rows of {row} bytes ({spec})", f"write it again {wanted}"
        )
    try:
        content = np.fromfile(file, spec.dtype) if array is None else np.frombuffer(array.tobytes(), spec.dtype)
    except OSError as error:
        raise _unreadable(file, error) from error
    if content.nbytes != size:
        raise DataError(f"{file}: {content.nbytes} of {size} bytes could be read", "write it again whole")
    return content.reshape(-1, *slot.shape[1:])


def _rows_of(file: str, slot: Array, spec: TensorSpec) -> Array:
    array = _load(file)
    _hold_dtype(file, array.dtype, spec)
    if array.shape == slot.shape[1:]:
        array = array[np.newaxis]  # one sample, saved without a batch axis
    if array.shape[1:] != slot.shape[1:] or array.ndim != slot.ndim:
        raise DataError(
            f"{file}: has shape {array.shape}, the model wants {spec}",
            "write it in that shape; --npy-as-bytes takes the bytes as they are",
        )
    return array


def _load(file: str, mapped: bool = False) -> Array:
    _size(file)
    try:
        loaded = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    # A broken header is read as a Python literal, whose faults are of many classes.
    except Exception as error:
        raise _unreadable(file, error) from error
    if not isinstance(loaded, np.ndarray):
        raise DataError(f"{file}: no single array", "write it with numpy.save")
    return loaded


def _size(file: str) -> int:
    """Return a file's size. Raises DataError where it is missing or no plain file, whose reading might never end."""
    try:
        found = Path(file).stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{file}: no plain file", "take it out of the input")
    return found.st_size


def _unreadable(file: str, error: Exception) -> DataError:
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return DataError(f"{file}: cannot be read: {reason}", "write it again, or take it out of the input")
