"""COCO-like data sets: a folder of images and one file of annotated boxes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np

from modelport.core.errors import DataError
from modelport.core.files import read_json
from modelport.core.text import some
from modelport.core.values import Sample, Truth
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.coco_checks import check_boxes
from modelport.data.sets.images import ImageFiles, hold_folder, image_files, readable, stem_of

# The published training annotations are 450 megabytes; a file beyond this is some other file.
MAX_JSON_BYTES = 1024 * 1024 * 1024

_REPAIR = "mend the file, or take the published one"


class Coco(DataKind):
    """The kind ``coco``: a folder of images and one file of annotated boxes."""

    forms = ("boxes",)

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Read the annotations of a split. Raises DataError."""
        return open_coco(folder, classes=wanted.known, split=split)


def open_coco(folder: Path, *, classes: int = 80, split: Literal["val", "train"] = "val") -> ImageFiles:
    """Read the annotations of the data set that ``folder`` holds and list its images; of these the headers are read.

    Wants ``<split>2017/`` and ``instances_<split>2017.json`` beside it or in ``annotations/``. Raises DataError,
    naming the file, where that is not so, where the two disagree (sizes and boxes too), or where there are not
    ``classes`` categories.
    """
    with readable(folder):
        images, file = _find(folder, split)
        content = _read(file)
        found = image_files(images)
        categories, notes = _categories(file, content, classes)
        names = _names(file, content)
        _compare(file, names, images, found)
        truths, odd = _Annotations(file, {number for number, _ in categories}, names).gather(content)
        images_by_id = {row["id"]: row for row in content["images"]}
        paths = {number: found[name] for number, name in names.items()}
        odd += tuple(check_boxes(file, images_by_id, paths, {number: one.boxes for number, one in truths.items()}))
        if content["annotations"] and all(one.iscrowd.all() for one in truths.values()):
            odd += (f"{file}: every box is a crowd's, so no figure can be measured",)
    samples = (Sample(stem_of(name), truths[number], found[name]) for number, name in names.items())
    return ImageFiles(tuple(sorted(samples, key=lambda sample: sample.id)), (*notes, *odd), categories)


def _find(folder: Path, split: str) -> tuple[Path, Path]:
    """Return the folder of images and the file of annotations."""
    name, file = f"{split}2017", f"instances_{split}2017.json"
    fix = f"give a folder that holds {name}/ and {file}, beside it or in annotations/"
    hold_folder(folder, fix)
    images = folder / name
    if not images.is_dir():
        raise DataError(f"{folder} holds no {name}/", fix)
    places = [
        place for place in (folder / file, folder / "annotations" / file) if place.exists() and not place.is_dir()
    ]
    if not places:
        raise DataError(f"{folder} holds no {file}, nor does {folder / 'annotations'}", fix)
    if len(places) > 1:
        raise DataError(f"there is {places[0]} and {places[1]}", "keep the one of the two that you mean")
    return images, places[0]


def _read(file: Path) -> Mapping[str, Any]:
    """Return the file's object, with its three lists of objects."""
    content = read_json(file, MAX_JSON_BYTES, DataError, _REPAIR, finite=False)
    if not isinstance(content, dict):
        raise DataError(f"{file}: is no JSON object", _REPAIR)
    for key in ("images", "annotations", "categories"):
        rows = content.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{file}: '{key}' is no list of objects", _REPAIR)
    return content


def _categories(
    file: Path, content: Mapping[str, Any], classes: int
) -> tuple[tuple[tuple[int, str], ...], tuple[str, ...]]:
    """Return (id, name) by class index, and what is to be said of that."""
    listed = list(_by_id(file, "category", content["categories"]).items())
    for number, row in listed:
        if not isinstance(row.get("name"), str) or not _is_plain(row["name"]):
            raise DataError(f"{file}: category {number} has no name", _REPAIR)
    if len(listed) != classes:
        raise DataError(
            f"{file}: {len(listed)} categories, the model knows {classes} classes",
            "choose the recipe that fits the data, or the annotations that fit the model",
        )
    ordered = sorted(listed, key=lambda entry: entry[0])
    note = f"{file}: the categories are not listed by id; a class index is a category's place among the sorted ids"
    return tuple((number, row["name"]) for number, row in ordered), () if ordered == listed else (note,)


def _names(file: Path, content: Mapping[str, Any]) -> dict[int, str]:
    """Return the file names by image id; all their stems differ."""
    names: dict[int, str] = {}
    stems: dict[str, str] = {}
    for number, row in _by_id(file, "image", content["images"]).items():
        name = row.get("file_name")
        # A name is looked up among the files of one folder, never opened as a path; this makes the error plain.
        if not isinstance(name, str) or not _is_plain(name) or "/" in name or "\\" in name or name in (".", ".."):
            raise DataError(
                f"{file}: image {number}: file_name {str(name)[:80]!r} is no plain name of a file",
                "write the name alone, without any folder",
            )
        if stem_of(name) in stems:
            raise DataError(
                f"{file}: image {number}: {name} and {stems[stem_of(name)]} have one name but for the suffix",
                "keep one of the two",
            )
        stems[stem_of(name)] = names[number] = name
    if not names:
        raise DataError(f"{file} lists no images", _REPAIR)
    return names


def _compare(file: Path, names: Mapping[int, str], images: Path, found: Mapping[str, Path]) -> None:
    """Raise DataError unless the file lists the images that the folder holds."""
    listed = set(names.values())
    if missing := listed - found.keys():
        raise DataError(
            f"{file} lists {some(sorted(missing))}, and {images} holds no such image",
            "add the images, or take their entries out of the file",
        )
    if unlisted := found.keys() - listed:
        raise DataError(
            f"{images} holds {some(sorted(unlisted))}, and {file} has no entry for that",
            "remove the images, or take the annotations that list them",
        )


@dataclass(frozen=True, slots=True)
class _Annotations:
    """Turns the rows of a file into a Truth per image."""

    file: Path
    categories: set[int]
    images: Mapping[int, str]

    def gather(self, content: Mapping[str, Any]) -> tuple[dict[int, Truth], tuple[str, ...]]:
        """Return the truths by image id, and what is to be said of the boxes."""
        rows: dict[int, list[tuple[list[float], int, bool, float]]] = {number: [] for number in self.images}
        flat = 0
        for number, row in _by_id(self.file, "annotation", content["annotations"]).items():
            image, one = self._checked(number, row)
            flat += one[0][2] <= 0 or one[0][3] <= 0
            rows[image].append(one)
        note = f"{self.file}: {flat} boxes without width or height, which no detection meets"
        return {number: _truth(number, found) for number, found in rows.items()}, (note,) if flat else ()

    def _checked(self, number: int, row: Mapping[str, Any]) -> tuple[int, tuple[list[float], int, bool, float]]:
        place = f"{self.file}: annotation {number}"
        image, category, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
        if not _is_id(image) or image not in self.images:
            raise DataError(f"{place}: image_id {_short(image)} is no image of the file", _REPAIR)
        if not _is_id(category):
            raise DataError(f"{place}: category_id {_short(category)} is no integer from 0 on", _REPAIR)
        if category not in self.categories:
            raise DataError(f"{place}: category_id {_short(category)} is no category of the file", _REPAIR)
        if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
            raise DataError(
                f"{place}: bbox {_short(box)} is not four finite numbers", "write x, y, width, height in pixels"
            )
        area, crowd = row.get("area"), row.get("iscrowd", 0)
        if not _is_number(area) or area < 0:
            raise DataError(f"{place}: area {_short(area)} is no number from 0 on", "write the object's area in pixels")
        if crowd not in (0, 1):
            raise DataError(f"{place}: iscrowd {_short(crowd)} is neither 0 nor 1", _REPAIR)
        return image, (box, category, bool(crowd), area)


def _truth(image: int, rows: Sequence[tuple[list[float], int, bool, float]]) -> Truth:
    boxes, categories, crowds, areas = zip(*rows, strict=True) if rows else ((), (), (), ())
    truth = Truth(
        image,
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(categories, np.int64),
        np.array(crowds, np.bool_),
        np.array(areas, np.float64),
    )
    for array in (truth.boxes, truth.category_ids, truth.iscrowd, truth.areas):
        array.flags.writeable = False
    return truth


def _by_id(file: Path, kind: str, rows: Iterable[Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    """Return the rows by their id, in order; raises DataError for one that is missing or comes twice."""
    found: dict[int, Mapping[str, Any]] = {}
    for place, row in enumerate(rows):
        number = row.get("id")
        if not _is_id(number):
            raise DataError(f"{file}: {kind} at place {place}: id {_short(number)} is no integer from 0 on", _REPAIR)
        if number in found:
            other = {**row, "id": 0} != {**found[number], "id": 0}
            fix = "keep one of the two" if not other else f"they differ: give each {kind} a number of its own"
            raise DataError(f"{file}: {kind} {number} is listed twice", fix)
        found[number] = row
    return found


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63


def _is_number(value: Any) -> TypeGuard[float]:
    # Beyond 1e15 pixels is no place in an image; NaN is within no limits.
    return type(value) in (int, float) and -1e15 < value < 1e15


def _is_plain(text: str) -> bool:
    """Return whether the text can be written into a report: not empty, no control characters, valid Unicode."""
    return bool(text) and not re.search("[\x00-\x1f\x7f\ud800-\udfff]", text)


def _short(value: Any) -> str:
    return "(none)" if value is None else repr(value)[:80]
