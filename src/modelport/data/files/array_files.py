"""Arrays of ``.npy`` and ``.npz`` files, held against their headers before memory is taken; none is unpickled."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Literal

import numpy as np

from modelport.core.errors import DataError, raised_as
from modelport.core.files import open_regular
from modelport.core.text import plain
from modelport.core.values import Array

# A member of an archive is held in memory; a few megabytes of deflate can stand for gigabytes.
MAX_MEMBER_BYTES = 1024**3
MAX_MEMBERS = 1000
_FIX = "write it again with numpy.save or numpy.savez"


def map_npy(path: Path) -> Array:
    """Return the array of an ``.npy`` file, mapped and not read; it cannot be written to. Raises DataError."""
    with open_regular(path) as stream, raised_as(DataError, f"{path}: is no whole NPY file", _FIX):
        shape, order, dtype = _header(stream, str(path))
        offset = stream.tell()
        _hold_size(shape, dtype, stream.seek(0, 2) - offset, str(path))
        return np.memmap(path, dtype, "r", offset, shape, order)


def npz_members(path: Path) -> list[str]:
    """Return the names of the arrays in an ``.npz`` archive. Raises DataError."""
    with open_regular(path) as stream, raised_as(DataError, f"{path}: is no NPZ archive", _FIX):
        names = [info.filename for info in zipfile.ZipFile(stream).infolist()]
    if len(names) > MAX_MEMBERS or len(set(names)) < len(names):
        raise DataError(f"{path}: {len(names)} members, more than {MAX_MEMBERS} or some of one name", _FIX)
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def read_member(path: Path, name: str) -> Array:
    """Return one array of an ``.npz`` archive. Raises DataError, naming both, also for one of more than a gigabyte."""
    place = f"{path}, member {plain(name, 60)}"
    # An encrypted member is a RuntimeError, one compressed in a way that Python does not know NotImplementedError.
    with open_regular(path) as stream, raised_as(DataError, f"{place}: cannot be read", _FIX):
        archive = zipfile.ZipFile(stream)
        size = archive.getinfo(f"{name}.npy").file_size
        if size > MAX_MEMBER_BYTES:
            fix = "write it as an .npy file, which is mapped and not held in memory"
            raise DataError(f"{place}: {size} bytes, more than the {MAX_MEMBER_BYTES} that are held in memory", fix)
        with archive.open(f"{name}.npy") as member:
            shape, order, dtype = _header(member, place)
            content = member.read(size)  # to its end, where the checksum is held
        _hold_size(shape, dtype, len(content), place)
        return np.frombuffer(content, dtype).reshape(shape, order=order)


def _header(stream: IO[bytes], place: str) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[np.generic]]:
    """Return shape, order (C or F) and dtype of what follows. Raises DataError, and ValueError for no header."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"NPY version {version}")
    shape, fortran, dtype = readers[version](stream)
    if dtype.hasobject:
        raise DataError(f"{place}: holds Python objects, which could run anything when read", "save numbers alone")
    if dtype.names is not None or dtype.subdtype is not None:
        raise DataError(f"{place}: holds records ({plain(dtype, 60)})", "save an array of one dtype")
    return shape, "F" if fortran else "C", dtype


def _hold_size(shape: tuple[int, ...], dtype: np.dtype[np.generic], size: int, place: str) -> None:
    if math.prod(shape) * dtype.itemsize != size or size == 0:
        found = f"the header tells {dtype} {shape}, {math.prod(shape) * dtype.itemsize} bytes, and {size} are there"
        raise DataError(f"{place}: {found}", _FIX)
