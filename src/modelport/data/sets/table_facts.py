"""What a table tells of each image beside its label: its further columns, as facts of the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain

# Columns beyond these are not kept: a file may name any number.
MOST_COLUMNS = 20
MOST_TEXT = 60  # characters of a value, and
MOST_NAME = 40  # of a column's name
# Whole numbers beyond this are no float64, and kept as text.
EXACT = 2**53


class TableFacts:
    """Reads the columns at ``places`` of rows; each value is kept once, however many rows have it."""

    def __init__(self, header: Sequence[str], places: Sequence[int]) -> None:
        named: dict[str, int] = {}
        for place in places:
            if header[place]:
                named.setdefault(plain(header[place], MOST_NAME), place)
        self._columns = dict(list(named.items())[:MOST_COLUMNS])
        self._known: dict[Any, Any] = {}

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are kept."""
        return list(self._columns)

    def read(self, values: Sequence[Any]) -> Mapping[str, Any] | None:
        """Return ``{"columns": {name: value}}``, without empty cells; None where no column is kept."""
        if not self._columns:
            return None
        told = ((name, self._value(values[place])) for name, place in self._columns.items())
        return {"columns": {name: value for name, value in told if value is not None}}

    def _value(self, cell: Any) -> str | int | float | bool | None:
        """Return a cell as JSON holds it in one short line; None for an empty one, a list or an object."""
        match cell:
            case bool():
                return cell
            case float() if math.isfinite(cell):
                return cell
            case int() if abs(cell) <= EXACT:
                return cell
            case str() if not cell.strip():
                return None
            case int() | str():
                return str(self._known.setdefault(cell, plain(cell, MOST_TEXT)))
        return None
