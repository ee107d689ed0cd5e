"""How a file that a user names is read: regular files only, of a bounded size, without ever waiting for one.

Text and JSON of it are what they should be, or one error names the file.
"""

from __future__ import annotations

import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from modelport.core.errors import DataError, ModelportError, raised_as

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)
MAX_TEXT_BYTES = 64 * 1024 * 1024


def kind_of(mode: int) -> str:
    """Return what a file's mode (``st_mode``) says that it is, empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in KINDS if test(mode)), "no regular file")


def open_regular(
    path: Path, limit: int | None = None, error: type[ModelportError] = DataError, fix: str = "check the path"
) -> BinaryIO:
    """Open a regular file for reading bytes.

    A pipe, a device or a folder is refused instead of waited for, and a file of more than ``limit`` bytes before
    any of it is read. Raises ``error``, naming the file.
    """
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as failed:  # ValueError: a NUL inside the name
        raise error(f"{path}: {getattr(failed, 'strerror', None) or failed}", fix) from failed
    return regular(handle, path, limit, error, fix)


def regular(
    handle: int,
    place: Path | str,
    limit: int | None = None,
    error: type[ModelportError] = DataError,
    fix: str = "check the path",
) -> BufferedReader:
    """Return the stream of an open file, which is closed where it is no regular one or beyond ``limit`` bytes.

    ``place`` names it. Raises ``error``.
    """
    found = os.fstat(handle)
    if kind := kind_of(found.st_mode):
        os.close(handle)
        raise error(f"{place}: is {kind}, not a file", fix)
    if limit is not None and found.st_size > limit:
        os.close(handle)
        raise error(f"{place}: {found.st_size} bytes, more than the {limit} that such a file may have", fix)
    return os.fdopen(handle, "rb")


def read_regular(path: Path, limit: int, error: type[ModelportError] = DataError, fix: str = "check the path") -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes. Raises ``error``, naming the file."""
    with open_regular(path, limit, error, fix) as stream, raised_as(error, str(path), fix, OSError):
        content = stream.read(limit + 1)
    if len(content) > limit:  # it grew meanwhile
        raise error(f"{path}: more than the {limit} bytes that such a file may have", fix)
    return content


def read_regular_text(
    path: Path,
    limit: int = MAX_TEXT_BYTES,
    error: type[ModelportError] = DataError,
    fix: str = "check the path",
    encoding: str = "utf-8",
) -> str:
    """Return the text of a regular file. Raises ``error`` for another encoding too, with the place of the fault."""
    content = read_regular(path, limit, error, fix)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as failed:
        raise error(f"{path}: byte {failed.start} is no {encoding} text", "save it as UTF-8") from failed


def read_json(
    path: Path,
    limit: int = MAX_TEXT_BYTES,
    error: type[ModelportError] = DataError,
    fix: str = "mend the file",
    finite: bool = True,
) -> Any:
    """Return the value in a regular file of at most ``limit`` bytes.

    Raises ``error``, naming the file, where it cannot be read, and where ``parse_json`` does.
    """
    return parse_json(read_regular(path, limit, error), str(path), error, fix, finite)


def parse_json(
    content: str | bytes,
    place: str,
    error: type[ModelportError] = DataError,
    fix: str = "mend the file",
    finite: bool = True,
) -> Any:
    """Return the value of a JSON text (RFC 8259). ``place`` names it in errors.

    Bytes are UTF-8, or UTF-16 or UTF-32 that their first bytes tell. Raises ``error`` for any other text, an integer
    of thousands of digits, and lists nested beyond what the parser descends into. Every number is finite: NaN and
    Infinity, which JSON does not have, and a number beyond float64 are errors, too; with ``finite`` False they are
    what Python makes of them, for a reader that tells of them where they stand.
    """
    try:
        return json.loads(content, parse_float=_finite, parse_constant=_no_number) if finite else json.loads(content)
    except UnicodeDecodeError as failed:
        found = f"{place}: is no JSON: byte {failed.start} is no {failed.encoding} text"
        raise error(found, "save it as UTF-8") from failed
    except RecursionError as failed:
        raise error(f"{place}: is no JSON: nested too deeply to be read", fix) from failed
    except ValueError as failed:
        raise error(f"{place}: is no JSON: {str(failed)[:200]}", fix) from failed


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isfinite(value):
        return value
    raise ValueError(f"the number {digits[:40]} is beyond what a float64 holds")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no value of JSON")
