"""A label in each of the forms that a table or an array can tell: a class, a set of classes, numbers, a text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from modelport.core.errors import DataError, UsageError
from modelport.core.files import parse_json
from modelport.data.sets.base import Wanted
from modelport.data.sets.class_names import ClassNames, shown
from modelport.data.sets.identities import Identities
from modelport.data.sets.label_notes import all_alike, class_notes

# JSON can spell what no UTF-8 file can hold.
SURROGATE = re.compile("[\ud800-\udfff]")
_BETWEEN = re.compile("[;|]")


class LabelValues:
    """Reads labels one after the other, in the form that is wanted, and keeps what is to be said of all of them."""

    def __init__(self, wanted: Wanted) -> None:
        """Take what is wanted. Raises DataError where classes are wanted and their number is not told."""
        readers = {"class": self._class, "classes": self._classes, "numbers": self._numbers, "text": self._text}
        readers["identity"] = self._identity
        if wanted.form not in readers:
            raise UsageError(f"labels of the form {wanted.form} are in no table", "choose another dataset.kind")
        self._form, self._read = wanted.form, readers[wanted.form]
        self._names = ClassNames(wanted) if wanted.form in ("class", "classes") else None
        self._identities = Identities()
        self._width: int | None = None

    def read(self, cells: Sequence[Any], place: str) -> Any:
        """Return the label in these cells: int, sorted tuple of ints, tuple of floats, or str. Raises DataError."""
        if len(cells) > 1 and self._form != "numbers":
            raise DataError(f"{place}: {len(cells)} columns for one label", "name one in dataset.columns.label")
        if any(cell is None for cell in cells):
            raise DataError(f"{place}: has no label", "give the image a label, or take its line out")
        return self._read(cells, place)

    def notes(self, place: object, labels: Sequence[Any]) -> tuple[str, ...]:
        """Return what is odd about all labels of a file or folder."""
        if self._names is not None:
            flat = labels if self._form == "class" else [one for label in labels for one in label]
            empty = sum(label == () for label in labels)
            said = (f"{place}: {empty} of {len(labels)} images have no class at all",) if empty else ()
            odd = class_notes(place, flat, self._names.classes, self._names.names)
            return (*self._names.notes(place), *said, *odd)
        empty = sum(label == "" for label in labels)
        said = (f"{place}: {empty} of {len(labels)} texts are empty",) if empty else ()
        return all_alike(place, labels) or said

    def _class(self, cells: Sequence[Any], place: str) -> int:
        assert self._names is not None
        return self._names.label(cells[0], place)

    def _identity(self, cells: Sequence[Any], place: str) -> int:
        return self._identities.label(cells[0], place)

    def _classes(self, cells: Sequence[Any], place: str) -> tuple[int, ...]:
        assert self._names is not None
        names, cell = self._names, cells[0]
        # A name may itself hold what stands between names.
        whole = isinstance(cell, str) and names.named(cell.strip()) is not None
        labels = [names.label(part, place) for part in ([cell] if whole else _parts(cell, place))]
        if twice := [label for label, times in Counter(labels).items() if times > 1]:
            raise DataError(f"{place}: class {twice[0]} stands twice", "name each class of an image once")
        return tuple(sorted(labels))

    def _numbers(self, cells: Sequence[Any], place: str) -> tuple[float, ...]:
        parts = [part for cell in cells for part in _parts(cell, place)]
        numbers = tuple(_number(part, place) for part in parts)
        if self._width is None:
            self._width = len(numbers)
        if not numbers or len(numbers) != self._width:
            raise DataError(
                f"{place}: {len(numbers)} numbers, the first image has {self._width}",
                "give each image the same number of numbers, at least one",
            )
        return numbers

    def _text(self, cells: Sequence[Any], place: str) -> str:
        if not isinstance(cells[0], str):
            raise DataError(f"{place}: {shown(cells[0])} is no text", "write it in quotes")
        if SURROGATE.search(cells[0]):
            raise DataError(f"{place}: {shown(cells[0])} holds half a character (a lone surrogate)", "mend the text")
        return cells[0]


def _parts(cell: Any, place: str) -> list[Any]:
    """Return the entries of a cell: of a list, or of a text that holds a JSON list, or one with ``;`` or ``|``."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        cell = parse_json(cell, place, DataError, "write a JSON list, or put ; between the entries")
    if isinstance(cell, list):
        return cell
    if not isinstance(cell, str):
        return [cell]
    if not cell.strip():
        return []
    parts = [part.strip() for part in _BETWEEN.split(cell)]
    if not all(parts):
        raise DataError(f"{place}: an entry of {shown(cell)} is empty", "put one ; or | between the entries")
    return parts


def _number(value: Any, place: str) -> float:
    try:
        # Python reads 1_000 as a number and True as one; no table means that.
        good = isinstance(value, int | float | str) and not isinstance(value, bool) and "_" not in str(value)
        number = float(value) if good else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place}: {shown(value)} is no finite number", "write it with a point: 0.5")
    return number
