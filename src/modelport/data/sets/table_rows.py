"""The rows of a table in a text file: CSV, TSV, or JSON lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.errors import DataError
from modelport.core.files import parse_json, read_regular_text
from modelport.core.text import lines_of, plain, some
from modelport.data.sets.class_names import shown

SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (*SEPARATORS, *JSON_LINES)
MAX_TABLE_BYTES = 64 * 1024 * 1024
_LINES = "write a header that names the columns, then a line for each image"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: its number in the file, and a value for each column; None where JSON has none."""

    line: int
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """The columns' names, and the rows as they are read."""

    columns: tuple[str, ...]
    rows: Iterator[Row]


def read_rows(file: Path) -> Rows:
    """Return the rows of a table whose suffix says what it is. Raises DataError with the line's number.

    Fields of CSV and TSV are texts, quoted as in RFC 4180; spaces after a separator are no part of a field unless they
    are quoted. Of JSON lines each is an object, and the first one's keys are the columns.
    """
    text = read_regular_text(file, MAX_TABLE_BYTES, DataError, _LINES, "utf-8-sig")
    suffix = file.suffix.lower()
    rows = _json_rows(file, text) if suffix in JSON_LINES else _fields(file, text, SEPARATORS[suffix])
    first = next(rows, None)
    if first is None:
        raise DataError(f"{file} is empty", _LINES)
    columns = tuple(str(name).strip() for name in first.values)
    return Rows(columns, _held_width(file, columns, rows) if suffix in SEPARATORS else rows)


def _fields(file: Path, text: str, separator: str) -> Iterator[Row]:
    # Not strict, the rest of the file would silently belong to a field whose quote is never closed.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    line = 1
    try:
        for values in reader:
            if values:
                yield Row(line, values)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{file} line {line}: {plain(error, 100)}",
            'quote a field that holds a separator, and write "" for a quote in it',
        ) from error


def _held_width(file: Path, columns: Sequence[str], rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        if len(row.values) != len(columns):
            raise DataError(
                f"{file} line {row.line}: {len(row.values)} fields, the header names {len(columns)} columns "
                f"({some(plain(name, 40) for name in columns)})",
                'quote a field that holds a separator: "tench, Tinca tinca"',
            )
        yield row


def _json_rows(file: Path, text: str) -> Iterator[Row]:
    """Yield the first object's keys, then the values of each."""
    columns: list[str] | None = None
    for line, content in enumerate(lines_of(text), start=1):
        if not content.strip():
            continue
        value = parse_json(content, f"{file} line {line}")
        if not isinstance(value, dict):
            raise DataError(f"{file} line {line}: {shown(value)} is no object", 'write {"path": …, "label": …}')
        if columns is None:
            columns = list(value)
            yield Row(line, columns)
        yield Row(line, [value.get(name) for name in columns])
