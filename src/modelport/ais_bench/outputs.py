"""The result files: where they go, what they are called, and writing them beside the inference."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from modelport.ais_bench.inputs import FileBatch
from modelport.core.artifacts import cannot_write, writing
from modelport.core.errors import OutputError, UsageError
from modelport.core.values import Array

WRITERS = 4
# Results that wait for the disk. Beyond this the inference waits for it too.
WAITING_BYTES = 256 * 1024 * 1024


def folder_name(output: Path, dirname: str | None) -> str:
    """Return the folder inside ``output``, made: ``dirname``, else the time, of which every call gets its own.

    Raises OutputError where it cannot be made or a link leads it out of ``output``.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        if dirname is not None:
            if not (output / dirname).resolve().is_relative_to(output.resolve()):
                raise OutputError(f"{output / dirname} leads out of {output}", "choose another --output_dirname")
            (output / dirname).mkdir(parents=True, exist_ok=True)
            return dirname
        while True:
            name = time.strftime("%Y_%m_%d-%H_%M_%S")
            with contextlib.suppress(FileExistsError):
                (output / name).mkdir()
                return name
            time.sleep(0.1)  # another call took this second
    except OSError as error:
        raise cannot_write(output / (dirname or ""), error) from error


def place_for(output: Path, name: str, part: str | None) -> Path:
    """Return the folder of the results, made; ``part`` is the folder of one of several devices."""
    folder = output / name if part is None else output / name / part
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def stem(file: str) -> str:
    """Return what a file's results are called: its name up to the first dot."""
    return Path(file).name.partition(".")[0]


def check_names(files: Sequence[str]) -> None:
    """Raise UsageError where two inputs would write the same result."""
    taken: dict[str, str] = {}
    for file in files:
        name = stem(file)
        if name in taken:
            raise UsageError(
                f"{taken[name]} and {file} would both write {name}_0",
                "give them names that differ before the first dot",
            )
        taken[name] = file


def split(outputs: Sequence[Array], files: int, axis: int, kept: Fraction, real: int) -> list[list[Array]]:
    """Return each of the first ``real`` files' share of every output, split into ``files`` along ``axis``.

    Of the last one the ``kept`` share remains. Raises UsageError where the axis does not divide.
    """
    parts = []
    for index, output in enumerate(outputs):
        if output.ndim == 0 and files == 1:
            parts.append([output])
            continue
        if axis >= output.ndim or output.shape[axis] % files:
            raise UsageError(
                f"output {index} of shape {output.shape} cannot be split into {files} along axis {axis}",
                "give the --output_batchsize_axis along which the samples lie",
            )
        shares = np.split(output, files, axis)[:real]
        if kept != 1:
            rows = kept * shares[-1].shape[axis]
            if rows.denominator != 1:
                raise UsageError(
                    f"output {index} of shape {output.shape} has no whole number of rows for a short last file",
                    "give the --output_batchsize_axis along which the samples lie",
                )
            shares[-1] = shares[-1].take(range(int(rows)), axis)
        parts.append(shares)
    return [list(share) for share in zip(*parts, strict=True)]


class Writer:
    """Writes results in threads of its own. ``written`` maps a result's number to its infiles and outfiles."""

    def __init__(self, folder: Path, outfmt: str) -> None:
        self.written: dict[int, dict[str, list[str]]] = {}
        self._folder, self._encode, self._suffix = folder, ENCODERS[outfmt], outfmt.lower()
        self._pool = ThreadPoolExecutor(WRITERS, "writer")
        self._room = threading.Condition()
        self._waiting = 0
        self._error: BaseException | None = None

    def save(self, batch: FileBatch, shares: list[list[Array]]) -> None:
        """Hand a batch's results over. Raises OutputError where an earlier one could not be written."""
        for offset, (infiles, arrays) in enumerate(zip(zip(*batch.files, strict=True), shares, strict=True)):
            size = sum(array.nbytes for array in arrays)
            with self._room:
                while self._waiting and self._waiting + size > WAITING_BYTES:
                    self._room.wait()
                self._waiting += size
            self._raise()
            job = self._pool.submit(self._write, batch.first + offset, infiles, arrays)
            job.add_done_callback(partial(self._settle, size))

    def close(self) -> None:
        """Wait until everything handed over is written. Raises OutputError where something could not be."""
        self._pool.shutdown()
        self._raise()

    def _write(self, number: int, infiles: tuple[str, ...], arrays: list[Array]) -> None:
        outfiles = []
        for index, array in enumerate(arrays):
            file = self._folder / f"{stem(infiles[0])}_{index}.{self._suffix}"
            whole_file(file, self._encode(array))
            outfiles.append(str(file))
        self.written[number] = {"infiles": list(infiles), "outfiles": outfiles}

    def _settle(self, size: int, job: Future[None]) -> None:
        with self._room:
            self._waiting -= size
            self._error = self._error or job.exception()
            self._room.notify_all()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def whole_file(path: Path, content: bytes) -> None:
    """Write a file under a hidden name and rename it: whoever looks sees none or all of it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise cannot_write(path, error) from error


def _as_npy(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _as_txt(array: Array) -> bytes:
    """Return a line per last axis, each value followed by a space: floats as %f, integers as %d."""
    if array.size == 0:
        return b""
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1)
    line = ("%f " if array.dtype.kind == "f" else "%d ") * rows.shape[1] + "\n"
    return "".join([line % tuple(row.tolist()) for row in rows]).encode("ascii")


ENCODERS = {"BIN": lambda array: array.tobytes(), "NPY": _as_npy, "TXT": _as_txt}
