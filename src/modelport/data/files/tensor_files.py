"""Tensors → files: written by threads, each aside and then into place, so that a file is whole or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

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


@contextlib.contextmanager
def tensor_writer(folder: Path, format: Format) -> Iterator[Callable[[str, Array], str]]:
    """Yield what writes an array into ``folder`` under a stem, by threads, and returns the file's name.

    The array must not change any more. At most a few of them wait; an error, an OutputError maybe told later, ends the
    writing. A file is not forced to the disk: tens of thousands of them would take minutes, and after a power cut there
    is no index file to vouch for them.
    """
    workers = max(2, machine.cores())
    flights: deque[Future[None]] = deque()

    def write(stem: str, array: Array) -> str:
        name = f"{stem}.{format}"
        flights.append(pool.submit(write_tensor, folder / name, array))
        if len(flights) > 4 * workers:
            flights.popleft().result()
        return name

    with ThreadPoolExecutor(workers, thread_name_prefix="modelport-write") as pool:
        try:
            yield write
            for flight in flights:
                flight.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


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
