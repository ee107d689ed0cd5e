"""What lies where in a file that anybody may have written: a figure, words or rows, or nothing of that form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain


def at(value: Any, *keys: str | int) -> Any:
    """Return what lies under the keys, one after the other; None where there is nothing."""
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key)
        elif isinstance(value, Sequence) and not isinstance(value, str) and isinstance(key, int):
            value = value[key] if 0 <= key < len(value) else None
        else:
            return None
    return value


def number_at(value: Any, *keys: str | int) -> float | None:
    """Return the figure there, which may be infinite; None for anything else."""
    found = at(value, *keys)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    try:
        return float(found)
    except OverflowError:  # a whole number beyond all floats
        return None


def rows_at(value: Any, *keys: str | int) -> list[Mapping[str, Any]]:
    """Return the objects of the list there; what is no object becomes an empty one, so that places stay."""
    found = at(value, *keys)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [row if isinstance(row, Mapping) else {} for row in found]


def numbers_at(value: Any, *keys: str | int) -> list[float] | None:
    """Return the figures of the list there; None unless all are such."""
    found = at(value, *keys)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return None
    numbers = [number_at(entry) for entry in found]
    return None if None in numbers else [number for number in numbers if number is not None]


def words_at(value: Any, *keys: str | int, limit: int = 300) -> str:
    """Return the text there, made plain; nothing for anything else."""
    found = at(value, *keys)
    return plain(found, limit) if isinstance(found, str) else ""


def texts_at(value: Any, *keys: str | int, limit: int = 300) -> list[str]:
    """Return the texts of the list there."""
    found = at(value, *keys)
    if not isinstance(found, Sequence) or isinstance(found, str):
        return []
    return [plain(text, limit) for text in found if isinstance(text, str)]
