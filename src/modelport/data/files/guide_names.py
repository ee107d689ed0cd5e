"""Names of tensor files, and the way back from a name to the rows that a file holds.

ais_bench calls a result after its input's name up to the first dot, so no name here has a second one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from urllib.parse import quote, unquote

from modelport.core.errors import DataError, UsageError
from modelport.core.values import RowId, Sample
from modelport.recipes.guide_files import GuideFiles

Style = Literal["modelport", "guide"]
# Between the first row's name and the number of the rows after it; a name itself holds none.
AND_MORE = "+"
# What file systems take, less the ending that a result gets.
MAX_NAME_BYTES = 235


def row_ids(samples: Iterable[Sample], views: int) -> list[RowId]:
    """Return the ids of the rows that the model gets, in order: ``ID``, or ``ID#0``, ``ID#1`` for views."""
    if views == 1:
        return [RowId(sample.id) for sample in samples]
    return [RowId(sample.id, view) for sample in samples for view in range(views)]


def result_stem(name: str) -> str:
    """Return what ais_bench calls the results of an input file."""
    return name.partition(".")[0]


def encoded(row: str) -> str:
    """Return a row's id as a name: letters, digits, ``_`` and ``-`` stay, all else becomes ``%XX``."""
    return quote(row, safe="").replace(".", "%2E").replace("~", "%7E")


def decoded(name: str) -> str:
    """Return the id that ``encoded`` was given."""
    return unquote(name, errors="strict")


class OwnNames:
    """modelport's style: a file is called after its first row."""

    def stem(self, number: int, first: int, rows: Sequence[str]) -> str:
        """Return the name, without an ending, of file ``number``, whose first row is number ``first`` of all."""
        more = f"{AND_MORE}{len(rows) - 1}" if len(rows) > 1 else ""
        return encoded(rows[0]) + more

    def claims(self, stems: Iterable[str], rows: Sequence[str], per_file: int) -> dict[str, Sequence[str]]:
        """Return the rows that each stem stands for; a stem that is no such name is left out."""
        place = {row: index for index, row in enumerate(rows)}
        found: dict[str, Sequence[str]] = {}
        for stem in stems:
            name, _, more = stem.partition(AND_MORE)
            try:
                start = place.get(decoded(name))
            except UnicodeDecodeError:
                start = None
            if start is not None and (more.isdecimal() or not more) and encoded(rows[start]) == name:
                found[stem] = rows[start : start + 1 + int(more or 0)]
        return found


class GuideNames:
    """A guide's style, as the recipe gives it."""

    def __init__(self, files: GuideFiles) -> None:
        self._files = files

    def stem(self, number: int, first: int, rows: Sequence[str]) -> str:
        """Return the name, without an ending, of file ``number``, whose first row is number ``first`` of all."""
        if self._files.names == "image_stem":
            return _image_stem(rows[0])
        return self._numbered(first if self._files.names == "row_number" else number)

    def claims(self, stems: Iterable[str], rows: Sequence[str], per_file: int) -> dict[str, Sequence[str]]:
        """Return the rows that each stem stands for, ``per_file`` in each but the last; others are left out."""
        if self._files.names == "image_stem":
            by_stem: dict[str, str] = {}
            twice: set[str] = set()
            for row in rows:
                stem = result_stem(_image_stem(row))
                twice |= {stem} & by_stem.keys()
                by_stem[stem] = row
            return {stem: [by_stem[stem]] for stem in stems if stem in by_stem and stem not in twice}
        size = per_file if self._files.names == "batch_number" else 1
        found: dict[str, Sequence[str]] = {}
        for stem in stems:
            number = stem.removeprefix(self._files.prefix)
            right = number.isascii() and number.isdecimal() and self._numbered(int(number)) == stem
            if right and (claimed := rows[int(number) * size : (int(number) + 1) * size]):
                found[stem] = claimed
        return found

    def _numbered(self, number: int) -> str:
        return f"{self._files.prefix}{number:0{self._files.digits}d}"


def names_of(style: Style, files: GuideFiles | None, recipe: str) -> OwnNames | GuideNames:
    """Return the names of a style. Raises UsageError where the recipe knows no guide's."""
    if style == "modelport":
        return OwnNames()
    if files is None:
        raise UsageError(f"{recipe} names no guide's files", "leave --style out, or add [guide_files] to the recipe")
    return GuideNames(files)


def claimed_rows(
    stems: Sequence[str], rows: Sequence[str], files: GuideFiles | None, per_file: int
) -> dict[str, Sequence[str]]:
    """Return the rows that each stem stands for in the style that explains more of them; others are left out."""
    own = OwnNames().claims(stems, rows, per_file)
    if files is None or len(own) == len(stems):
        return own
    guide = GuideNames(files).claims(stems, rows, per_file)
    return guide if len(guide) > len(own) else own


def check_names(names: Mapping[str, str]) -> None:
    """Raise DataError where two files would get one result, or a name is too long. ``names``: row id → stem."""
    owners: dict[str, str] = {}
    for row, stem in names.items():
        result = result_stem(stem)
        if not result or len(stem.encode()) > MAX_NAME_BYTES:
            raise DataError(f"{row}: makes no file name ({stem[:80]!r})", "rename the image")
        if result in owners:
            raise DataError(
                f"{row} and {owners[result]} would both be called '{result}', and one result replace the other",
                "use --style modelport, or rename one of the two",
            )
        owners[result] = row


def _image_stem(row: str) -> str:
    return row.rpartition("/")[2]
