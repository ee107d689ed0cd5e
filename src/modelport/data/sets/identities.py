"""Whom an image shows: names of any kind and number, numbered as they come; no output of a model stands for one."""

from __future__ import annotations

from typing import Any

from modelport.core.errors import DataError


class Identities:
    """Numbers names from 0, in the order in which they are first met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def label(self, value: Any, place: str) -> int:
        """Return the number of a name, which may be digits. Raises DataError at ``place`` for what is no name."""
        if isinstance(value, bool) or not isinstance(value, int | str) or not str(value).strip():
            raise DataError(f"{place}: {str(value)[:60]!r} names nobody", "write a name or a number")
        return self._numbers.setdefault(str(value).strip(), len(self._numbers))

    def notes(self, place: object) -> tuple[str, ...]:
        """Return what is to be said of names: nothing."""
        return ()
