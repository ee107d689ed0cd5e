"""Tensors → files: written by threads, each aside and then into place, so that a file is whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from modelport.core import machine
from modelport.core.artifacts import cannot_write
from modelport.core.errors import OutputError
from modelport.core.values import Array

Format = Literal["bin", "npy"]
# ais_bench takes every file with such an ending for an input, in either case.
TENSOR_SUFFIXES = (".bin", ".npy")
# Leaves no ending that ais_bench knows.
UNFINISHED = ".unfinished"
_MEGABYTE = 1024 * 1024


class TensorWriter:
    """Writes arrays into one folder by threads. At most a few of them wait; an error ends the writing.

    A file is not forced to the disk: tens of thousands of them would take minutes, and after a power cut there is no
    index file to vouch for them.
    """

    def __init__(self, folder: Path, format: Format) -> None:
        self._folder = folder
        self._format = format
        workers = max(2, machine.cores())
        self._most = 4 * workers
        self._flights: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="modelport-write")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=error is not None)
        if error is None:
            self._land(0)

    def write(self, stem: str, array: Array) -> str:
        """Write one file and return its name; the array must not change any more. Raises OutputError, maybe later."""
        name = f"{stem}.{self._format}"
        self._flights.append(self._pool.submit(write_tensor, self._folder / name, array))
        self._land(self._most)
        return name

    def _land(self, left: int) -> None:
        while len(self._flights) > left:
            self._flights.popleft().result()


def write_tensor(path: Path, array: Array) -> None:
    """Write one array, as raw bytes or by its ending as ``.npy``. Raises OutputError; then there is no such file."""
    aside = path.with_name(f".{path.name}{UNFINISHED}")
    rows = np.ascontiguousarray(array)
    try:
        with aside.open("wb") as stream:
            if path.suffix == ".npy":
                np.save(stream, rows, allow_pickle=False)
            else:
                stream.write(rows.data)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def tensor_files(folder: Path) -> list[str]:
    """Return the names of the files that ais_bench would take from a folder, sorted; empty where there is none."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith(TENSOR_SUFFIXES))


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed run left half written."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(UNFINISHED) and entry.is_file(follow_symlinks=False):
                Path(entry.path).unlink(missing_ok=True)


def free_bytes(folder: Path) -> int | None:
    """Return the free space of the disk that a folder is or would be on; None where it cannot be known."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:
            continue
    return None


def check_space(folder: Path, files: int, wanted: int) -> str:
    """Return what the files will take, in words. Raises OutputError where the disk has less."""
    free = free_bytes(folder)
    need = f"{files} files of together {size_text(wanted)}"
    if free is not None and wanted > free:
        raise OutputError(
            f"{folder}: {need} are to be written, and the disk has {size_text(free)} free",
            "free space, choose another --out, or write fewer with --limit",
        )
    return need + ("" if free is None else f"; the disk has {size_text(free)} free")


def size_text(count: int) -> str:
    """Return a number of bytes for people."""
    if count < _MEGABYTE:
        return f"{count / 1024:.1f} KiB"
    return f"{count / _MEGABYTE:.1f} MiB" if count < 1024 * _MEGABYTE else f"{count / _MEGABYTE / 1024:.1f} GiB"
