"""The file of a COCO-like data set: images, categories and boxes, each held to be what it should be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from modelport.core.errors import DataError
from modelport.core.files import read_json
from modelport.core.text import plain, some
from modelport.core.values import LabelForm
from modelport.data.sets.base import Wanted
from modelport.data.sets.boxed import Box, Categories, model_classes
from modelport.data.sets.class_names import ClassNames
from modelport.data.sets.coco_shapes import shape_of
from modelport.data.sets.images import stem_of

# The published training annotations are 450 megabytes; a file beyond this is some other file.
MAX_JSON_BYTES = 1024 * 1024 * 1024

_REPAIR = "mend the file, or take the published one"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """What a file says. Boxes have the category id of their class in ``categories``."""

    file: Path
    images: Mapping[int, Row]  # by id
    names: Mapping[int, str]  # paths of images, by id
    boxes: Mapping[int, Sequence[Box]]  # of each image, by id, in the file's order
    categories: Categories
    notes: tuple[str, ...]


def read_coco(file: Path, wanted: Wanted) -> CocoFile:
    """Read a file of annotations. Raises DataError, naming it and the entry."""
    content = read_json(file, MAX_JSON_BYTES, DataError, _REPAIR, finite=False)
    if not isinstance(content, dict):
        raise DataError(f"{file}: is no JSON object", _REPAIR)
    for key in ("images", "annotations", "categories"):
        rows = content.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DataError(f"{file}: '{key}' is no list of objects", _REPAIR)
    categories, number_of, said = _categories(file, content, wanted)
    images = _by_id(file, "image", content["images"])
    names = _names(file, images)
    boxes, odd = _Annotations(file, number_of, images.keys(), wanted.form).gather(content["annotations"])
    return CocoFile(file, images, names, boxes, categories, (*said, *odd))


def _categories(
    file: Path, content: Mapping[str, Any], wanted: Wanted
) -> tuple[Categories, dict[int, int], tuple[str, ...]]:
    """Return (id, name) by class index, which of these ids each category of the file is, and what is to be said."""
    listed = _by_id(file, "category", content["categories"])
    for number, row in listed.items():
        if not isinstance(row.get("name"), str) or not is_plain(row["name"]):
            raise DataError(f"{file}: category {number} has no name", _REPAIR)
    used = {row.get("category_id") for row in content["annotations"] if _is_id(row.get("category_id"))}
    left_out = _without_boxes(listed, used, wanted)
    ordered = sorted((number, row["name"]) for number, row in listed.items() if number not in left_out)
    labels, said = model_classes(file, [name for _, name in ordered], wanted)
    notes = list(said)
    if left_out:
        gone = some(plain(listed[number]["name"], 40) for number in sorted(left_out))
        notes.append(f"{file}: categories without any box that are none of the model's are left out: {gone}")
    if not (wanted.names or wanted.class_map):
        if list(listed) != sorted(listed):
            notes.append(
                f"{file}: the categories are not listed by id; a class index is a category's place among the sorted ids"
            )
        return tuple(ordered), {number: number for number, _ in ordered}, tuple(notes)
    first: dict[int, int] = {}
    for (number, _), label in zip(ordered, labels, strict=True):
        first.setdefault(label, number)
    spare = iter(number for number in range(len(ordered) + wanted.known + 1) if number not in listed)
    names = wanted.names or tuple(str(label) for label in range(wanted.known))
    categories = tuple((first[label] if label in first else next(spare), names[label]) for label in range(wanted.known))
    return categories, {number: first[label] for (number, _), label in zip(ordered, labels, strict=True)}, tuple(notes)


def _without_boxes(listed: Mapping[int, Row], used: set[Any], wanted: Wanted) -> set[int]:
    """Return the categories without boxes that are no class of the model: exporters list a root of all categories."""
    bare = [number for number in listed if number not in used]
    if wanted.names or wanted.class_map:
        known = ClassNames(wanted)
        return {number for number in bare if known.named(listed[number]["name"]) is None}
    parents = {row.get("supercategory") for row in listed.values() if isinstance(row.get("supercategory"), str)}
    roots = {number for number in bare if listed[number]["name"] in parents}
    return roots if len(listed) - len(roots) == wanted.known else set()


def _names(file: Path, images: Mapping[int, Row]) -> dict[int, str]:
    """Return the paths of the images by id, with ``/`` between their parts; all their stems differ."""
    names: dict[int, str] = {}
    stems: dict[str, str] = {}
    for number, row in images.items():
        name = row.get("file_name")
        # A name is looked up among the files of one folder, never opened as a path; this makes the error plain.
        if not isinstance(name, str) or not is_plain(name) or not _leads_down(name):
            raise DataError(
                f"{file}: image {number}: file_name {str(name)[:80]!r} is no plain name of a file",
                "write the name alone, or the path from the folder of images down, with / between",
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


def _leads_down(name: str) -> bool:
    return "\\" not in name and not any(part in ("", ".", "..") for part in name.split("/"))


@dataclass(slots=True)
class _Annotations:
    """Turns the rows of a file into the boxes of each image."""

    file: Path
    number_of: Mapping[int, int]  # of a category in the file, the one that is kept of its class
    images: Iterable[int]
    form: LabelForm = "boxes"
    without_area: int = 0
    no_area: int = 0

    def gather(self, annotations: Sequence[Row]) -> tuple[dict[int, list[Box]], tuple[str, ...]]:
        """Return the boxes by image id, and what is to be said of them."""
        boxes: dict[int, list[Box]] = {number: [] for number in self.images}
        seen: dict[int, Row] = {}
        repeated = 0
        for place, row in enumerate(annotations):
            number = row.get("id")
            if not _is_id(number):
                raise _no_id(self.file, "annotation", place, number)
            if number in seen and row == seen[number]:
                raise DataError(f"{self.file}: annotation {number} is listed twice", "keep one of the two")
            repeated += number in seen
            seen.setdefault(number, row)
            image, box = self._checked(number, row, boxes)
            boxes[image].append(box)
        notes = []
        if repeated:
            notes.append(f"{self.file}: {repeated} annotations have the id of another one; each is counted by itself")
        if self.without_area:
            notes.append(
                f"{self.file}: {self.without_area} annotations have no area: that of the box is taken, which decides "
                "between small, medium and large"
            )
        if self.no_area:
            notes.append(f"{self.file}: {self.no_area} boxes have an area of 0 there, so they count as small")
        return boxes, tuple(notes)

    def _checked(self, number: int, row: Row, images: Mapping[int, Any]) -> tuple[int, Box]:
        place = f"{self.file}: annotation {number}"
        image, category, box = row.get("image_id"), row.get("category_id"), row.get("bbox")
        if not _is_id(image) or image not in images:
            raise DataError(f"{place}: image_id {_short(image)} is no image of the file", _REPAIR)
        if not _is_id(category):
            raise DataError(f"{place}: category_id {_short(category)} is no integer from 0 on", _REPAIR)
        if category not in self.number_of:
            raise DataError(f"{place}: category_id {_short(category)} is no category of the file", _REPAIR)
        if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
            raise DataError(
                f"{place}: bbox {_short(box)} is not four finite numbers", "write x, y, width, height in pixels"
            )
        area, crowd = row.get("area"), row.get("iscrowd", 0)
        if area is None:
            area = max(0.0, box[2]) * max(0.0, box[3])
            self.without_area += 1
        if not is_number(area) or area < 0:
            raise DataError(f"{place}: area {_short(area)} is no number from 0 on", "write the object's area in pixels")
        self.no_area += area == 0 and box[2] > 0 and box[3] > 0
        if crowd not in (0, 1):
            raise DataError(f"{place}: iscrowd {_short(crowd)} is neither 0 nor 1", _REPAIR)
        shape = shape_of(place, row, self.form)
        return image, Box((box[0], box[1], box[2], box[3]), self.number_of[category], bool(crowd), area, shape)


def _by_id(file: Path, kind: str, rows: Iterable[Row]) -> dict[int, Row]:
    """Return the rows by their id, in order; raises DataError for one that is missing or comes twice."""
    found: dict[int, Row] = {}
    for place, row in enumerate(rows):
        number = row.get("id")
        if not _is_id(number):
            raise _no_id(file, kind, place, number)
        if number in found:
            other = {**row, "id": 0} != {**found[number], "id": 0}
            fix = "keep one of the two" if not other else f"they differ: give each {kind} a number of its own"
            raise DataError(f"{file}: {kind} {number} is listed twice", fix)
        found[number] = row
    return found


def _no_id(file: Path, kind: str, place: int, found: Any) -> DataError:
    """Return the error for a row whose id is none."""
    return DataError(f"{file}: {kind} at place {place}: id {_short(found)} is no integer from 0 on", _REPAIR)


def _is_id(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number that can be a place in an image: within ±1e15 pixels."""
    return type(value) in (int, float) and -1e15 < value < 1e15


def is_plain(text: str) -> bool:
    """Return whether the text can be written into a report: not empty, no control characters, valid Unicode."""
    return bool(text) and not re.search("[\x00-\x1f\x7f\ud800-\udfff]", text)


def _short(value: Any) -> str:
    return "(none)" if value is None else repr(value)[:80]
