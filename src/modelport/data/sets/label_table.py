"""Labels in a table: CSV, TSV or JSON lines, a line for each image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from modelport.core.errors import DataError
from modelport.core.text import plain, some
from modelport.core.values import Sample
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.class_names import shown
from modelport.data.sets.images import ImageFiles, hold_folder, readable, stem_of
from modelport.data.sets.label_values import LabelValues
from modelport.data.sets.table_columns import choose_columns
from modelport.data.sets.table_rows import SUFFIXES, read_rows
from modelport.data.sets.unlabelled import images_below

# Where images may lie beside the table; and folders of other splits, not looked into unless a path leads there.
IMAGES = "images"
STEMS: dict[Split, tuple[str, ...]] = {"val": ("labels", "val"), "train": ("train",)}
SPLITS = frozenset({"train", "val", "test"})
_LAYOUT = "give a folder that holds labels.csv (or .tsv, .jsonl) with the columns path and label"


class LabelTable(DataKind):
    """The kind ``table``: images, and a file that has a line for each."""

    forms = ("class", "classes", "identity", "numbers", "text")

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Return the images that the folder's one table of the split names. Raises DataError, naming file and line."""
        hold_folder(folder, _LAYOUT)
        with readable(folder):
            return _labelled(folder, _table_of(folder, split), wanted)

    def lies_in(self, folder: Path) -> bool:
        """Whether the folder holds a table of labels."""
        return bool(_tables(folder, "val"))

    def are_labels(self, path: Path) -> bool:
        """Whether ``path`` is a file whose suffix is that of a table."""
        return path.suffix.lower() in SUFFIXES and not path.is_dir()

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ImageFiles:
        """Return the images of a folder that a table elsewhere names. Raises DataError, naming file and line."""
        hold_folder(images, "give a folder of images")
        with readable(images):
            return _labelled(images, labels, wanted)


@dataclass(frozen=True, slots=True)
class _Line:
    """What a line tells of its image."""

    label: Any
    number: int
    facts: Mapping[str, Any] | None


def _tables(folder: Path, split: Split) -> list[Path]:
    named = (folder / (stem + suffix) for stem in STEMS[split] for suffix in SUFFIXES)
    return [file for file in named if file.exists()]


def _table_of(folder: Path, split: Split) -> Path:
    found = _tables(folder, split)
    if len(found) > 1:
        raise DataError(f"{folder} holds {some(path.name for path in found)}", "keep the one that you mean")
    if not found:
        raise DataError(
            f"{folder} holds no {' or '.join(STEMS[split])} with one of the suffixes {', '.join(SUFFIXES)}", _LAYOUT
        )
    return found[0]


def _labelled(folder: Path, file: Path, wanted: Wanted) -> ImageFiles:
    """Pair the images below ``folder`` or its images/ with the lines of a table."""
    lines, said = _read(file, wanted)
    used = {PurePosixPath(path).parts[0] for path in lines}
    images = images_below(folder, SPLITS - used)
    found = _Images(folder, images)
    paired: dict[str, _Line] = {}
    for path, line in lines.items():
        place = found.place(path, f"{file} line {line.number}")
        if place in paired:
            raise DataError(
                f"{file} line {line.number}: {plain(place, 100)} was labelled in line {paired[place].number} already",
                "keep one of the two lines",
            )
        paired[place] = line
    names = {place: found.name(place) for place in paired}
    alike = len({stem_of(name) for name in names.values()}) < len(names)
    samples = [
        Sample(names[place] if alike else stem_of(names[place]), line.label, images[place], facts=line.facts)
        for place, line in paired.items()
    ]
    samples.sort(key=lambda sample: sample.id)
    of = len([place for place in images if place.startswith(f"{IMAGES}/")] if found.all_inside(paired) else images)
    part = (f"{file}: labels {len(paired)} of {of} images; the others are left out",) if len(paired) < of else ()
    suffix = (f"{file}: some files differ in their suffix alone, so that ids are names with it",) if alike else ()
    return ImageFiles(tuple(samples), (*said, *part, *suffix))


def _read(file: Path, wanted: Wanted) -> tuple[dict[str, _Line], tuple[str, ...]]:
    """Return by path as written what its line tells, and what is to be said of them all. Raises DataError."""
    table, values = read_rows(file), LabelValues(wanted)
    chosen = choose_columns(file, table.columns, wanted.columns)
    lines: dict[str, _Line] = {}
    for row in table.rows:
        place = f"{file} line {row.line}"
        path = _inside(row.values[chosen.path], place)
        if path in lines:
            raise DataError(
                f"{place}: {plain(path, 100)} was labelled in line {lines[path].number} already",
                "keep one of the two lines",
            )
        label = values.read([row.values[column] for column in chosen.labels], place)
        lines[path] = _Line(label, row.line, chosen.facts.read(row.values))
    if not lines:
        raise DataError(f"{file} labels no image", "write a line for each image below the header")
    return lines, (*chosen.notes, *values.notes(file, [line.label for line in lines.values()]))


def _inside(path: Any, place: str) -> str:
    """Return a path with / between its parts. Raises DataError for what is none, or leads out of the folder."""
    if not isinstance(path, str) or not path.strip():
        raise DataError(f"{place}: names no image ({shown(path)})", "give each line the path of its image")
    pure = PurePosixPath(path.strip())
    if pure.is_absolute() or ".." in pure.parts or re.match(r"[A-Za-z]:[\\/]|\\", path.strip()):
        raise DataError(f"{place}: {shown(path)} leads out of the folder", "write the path below the folder of images")
    if not pure.parts:
        raise DataError(f"{place}: {shown(path)} is no file", "give each line the path of its image")
    return str(pure)


class _Images:
    """Finds the image that a line means: below the folder or below its images/, the suffix told or not."""

    def __init__(self, folder: Path, images: Mapping[str, Path]) -> None:
        self._folder, self._images = folder, images
        self._stems: dict[str, list[str]] = {}
        for place in images:
            self._stems.setdefault(stem_of(place), []).append(place)

    def place(self, path: str, line: str) -> str:
        """Return the image's place below the folder. Raises DataError at ``line`` where none, or several fit."""
        names = (path, f"{IMAGES}/{path}")
        exact = [name for name in names if name in self._images]
        for found in (exact, [place for name in names for place in self._stems.get(name, [])]):
            if len(found) > 1:
                raise DataError(
                    f"{line}: {shown(path)} may be {some(sorted(found))}",
                    "write the whole path with its suffix, or keep one of them",
                )
            if found:
                return found[0]
        hint = "write / between folders" if "\\" in path else "add the image, or take its line out"
        raise DataError(f"{line}: {self._folder} holds no image {shown(path)}", hint)

    def name(self, place: str) -> str:
        """Return an image's place below images/ where it lies there, else below the folder."""
        return place.removeprefix(f"{IMAGES}/")

    def all_inside(self, places: Sequence[str] | Mapping[str, Any]) -> bool:
        """Whether all of these lie in images/."""
        return all(place.startswith(f"{IMAGES}/") for place in places)
