"""Which columns of a table name the images, which hold their labels, and which tell more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.core.errors import DataError
from modelport.core.text import listed, plain, some
from modelport.data.sets.table_facts import TableFacts
from modelport.recipes.tables import Columns

PATHS = ("path", "file", "file_name", "filename", "image", "name")
LABELS = ("label", "labels", "class", "target", "text", "value", "values")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Places of columns, and what is to be said of the choice."""

    path: int
    labels: tuple[int, ...]
    facts: TableFacts  # the other columns
    notes: tuple[str, ...] = ()


def choose_columns(file: Path, header: Sequence[str], told: Columns | None) -> Chosen:
    """Return the column of the paths, those of the labels, and the others.

    Raises DataError where a column is missing, or more than one has a usual name.
    """
    told = told or Columns()
    path = _usual(file, header, PATHS, "path") if told.path is None else _named(file, header, told.path)
    if told.label is None:
        labels = [_usual(file, header, LABELS, "label")]
    else:
        labels = [_named(file, header, name) for name in ([told.label] if isinstance(told.label, str) else told.label)]
    if path in labels or len(set(labels)) < len(labels):
        raise DataError(f"{file}: the column {header[path]!r} is read twice", "name other dataset.columns")
    left = [place for place in range(len(header)) if place not in (path, *labels)]
    facts = TableFacts(header, left)
    if told.path is not None and told.label is not None and not left:
        return Chosen(path, tuple(labels), facts)
    names = ", ".join(plain(header[place], 40) for place in labels)
    beside = f"; kept beside them: {listed(facts.columns, 5)}" if facts.columns else ""
    unread = len(left) - len(facts.columns)
    more = f"; {unread} further columns are not read" if unread else ""
    said = f"{file}: images from the column {plain(header[path], 40)}, labels from {names}{beside}{more}"
    return Chosen(path, tuple(labels), facts, (said,))


def _usual(file: Path, header: Sequence[str], usual: Sequence[str], key: str) -> int:
    found = [place for place, name in enumerate(header) if name.lower() in usual]
    if len(found) == 1:
        return found[0]
    if found:
        told = some(plain(header[place], 40) for place in found)
        raise DataError(f"{file}: more than one column may be the {key}: {told}", f"say which: dataset.columns.{key}")
    raise DataError(
        f"{file}: no column is named {', '.join(usual[:-1])} or {usual[-1]}; the first line has "
        f"{some((plain(name, 40) for name in header), 6)}",
        f"write a header that names the columns (path,label), or name it in the recipe: dataset.columns.{key}",
    )


def _named(file: Path, header: Sequence[str], name: str) -> int:
    found = [place for place, other in enumerate(header) if other == name]
    if len(found) == 1:
        return found[0]
    many = "more than one column is" if found else "no column is"
    raise DataError(
        f"{file}: {many} named {plain(repr(name), 60)}; the first line has "
        f"{some((plain(other, 40) for other in header), 6)}",
        "mend dataset.columns of the recipe, or the header",
    )
