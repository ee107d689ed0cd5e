"""How JSON that a user's file holds is read: whatever it holds, values that JSON knows or one error naming the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError, ModelportError
from modelport.core.files import MAX_TEXT_BYTES, read_regular

_INFINITE = float("inf")


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
    if -_INFINITE < value < _INFINITE:
        return value
    raise ValueError(f"the number {digits[:40]} is beyond what a float64 holds")


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no value of JSON")
