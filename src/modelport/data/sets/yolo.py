"""Sets in Ultralytics' layout: images, a text of boxes for each in a folder ``labels``, and ``data.yaml``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from modelport.core.errors import DataError
from modelport.core.files import read_regular_text
from modelport.core.text import plain, some
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.box_checks import boxed_set
from modelport.data.sets.boxed import Box, Boxed, model_classes, numbered, repeated
from modelport.data.sets.images import ImageFiles, hold_folder, readable, seen_size, stem_of
from modelport.data.sets.unlabelled import images_below
from modelport.data.sets.yolo_file import DataYaml, Line, read_data_yaml, read_lines

# What exporters lay beside the texts of boxes; the first names the classes, one a line.
CLASSES_FILE = "classes.txt"
OTHER_TEXTS = (CLASSES_FILE, "readme.txt", "readme.roboflow.txt", "readme.dataset.txt")
# Where a split's images lie, where data.yaml does not tell.
PLACES = {
    "val": ("images/val", "val/images", "valid/images", "images/val2017", "images/valid", "images"),
    "train": ("images/train", "train/images", "images/train2017"),
}
_LAYOUT = (
    "give a folder that holds data.yaml, images/val and labels/val (or val/images and val/labels); "
    "or --images DIR --labels DIR"
)


class Yolo(DataKind):
    """The kind ``yolo``: Ultralytics' layout."""

    forms = ("boxes",)

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Read the boxes of a split. Raises DataError."""
        hold_folder(folder, _LAYOUT)
        with readable(folder):
            told = _data_yaml(folder)
            images = _listed(folder, told, split)
            texts = {name: _text_of(folder, path) for name, path in images.items()}
            return _Set(told.file or folder, told, wanted).opened(images, texts)

    def lies_in(self, folder: Path) -> bool:
        """Whether there is a data.yaml, or a folder of labels."""
        return (folder / "data.yaml").is_file() or (folder / "labels").is_dir()

    def are_labels(self, path: Path) -> bool:
        """Whether it is a folder with texts in it."""
        return path.is_dir() and next(_texts(path), None) is not None

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ImageFiles:
        """Return the images of a folder with the texts of the same names below another. Raises DataError."""
        hold_folder(images, "give a folder of images")
        with readable(images), readable(labels):
            found = images_below(images)
            texts = {name: labels / f"{stem_of(name)}.txt" for name in found}
            names = labels / CLASSES_FILE
            told = DataYaml(names, _classes(names)) if names.is_file() else DataYaml()
            return _Set(labels, told, wanted).opened(found, texts)


class _Set:
    """Turns images and texts into a data set."""

    def __init__(self, place: Path, told: DataYaml, wanted: Wanted) -> None:
        """``place`` is what messages name. Raises DataError where the classes are not the model's."""
        self._place, self._told = place, told
        # Without any names a number is the model's class.
        self._labels, said = (
            (list(range(wanted.known)), ()) if not told.names else model_classes(place, told.names, wanted)
        )
        self._categories = numbered(told.names, wanted)
        self._notes = list(said)
        self._repeated = self._polygons = 0

    def opened(self, images: Mapping[str, Path], texts: Mapping[str, Path]) -> ImageFiles:
        """Return the data set. Raises DataError, naming file and line."""
        if not images:
            raise DataError(f"{self._place}: there are no images", _LAYOUT)
        if twice := repeated(map(stem_of, images)):
            raise DataError(f"{self._place}: two images are named {some(twice)} but for the suffix", "keep one of them")
        bare = [name for name in images if not texts[name].is_file()]
        if len(bare) == len(images):
            raise DataError(f"none of {len(images)} images has a text of boxes: no {texts[bare[0]]}", _LAYOUT)
        found = [self._boxed(number, name, images[name], texts[name]) for number, name in enumerate(sorted(images), 1)]
        if bare:
            self._notes.append(
                f"{self._place}: {len(bare)} of {len(images)} images have no text and hold no object: {some(bare)}"
            )
        if self._repeated:
            self._notes.append(f"{self._place}: {self._repeated} lines repeat another of their file, counted once")
        if self._polygons:
            self._notes.append(f"{self._place}: {self._polygons} outlines are taken as the boxes around them")
        return boxed_set(self._place, found, self._categories, self._notes)

    def _boxed(self, number: int, name: str, path: Path, text: Path) -> Boxed:
        lines: list[Line] = []
        if text.is_file():
            lines, repeated = read_lines(text, len(self._labels), self._told.keypoints)
            self._repeated += repeated
            self._polygons += sum(line.polygon for line in lines)
        # What is no image is told when it is decoded; until then its boxes are shares of one pixel.
        size = (seen_size(path) or ((1, 1), False))[0] if lines else None
        boxes = [self._box(line, size or (1, 1)) for line in lines]
        plain_boxes = not any(line.polygon for line in lines)
        numbers = np.array([line.box for line in lines], np.float64).reshape(-1, 4) if plain_boxes else None
        return Boxed(stem_of(name), path, str(text), number, boxes, size, numbers, shares=True)

    def _box(self, line: Line, size: tuple[int, int]) -> Box:
        x, y, wide, high = (share * size[place % 2] for place, share in enumerate(line.box))
        return Box((x - wide / 2, y - high / 2, wide, high), self._labels[line.kind], False, wide * high)


def _data_yaml(folder: Path) -> DataYaml:
    """Return what data.yaml, or the only file of that kind, tells; nothing where there is none."""
    files = [folder / "data.yaml"]
    if not files[0].is_file():
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".yaml", ".yml") and file.is_file())
    if len(files) > 1:
        raise DataError(f"{folder} holds {some(file.name for file in files)}", "name the one that counts data.yaml")
    return read_data_yaml(files[0]) if files else DataYaml()


def _listed(folder: Path, told: DataYaml, split: str) -> dict[str, Path]:
    """Return the images of a split by their path below its folder, or as its list has them."""
    place = _split_place(folder, told, split)
    if place.is_dir():
        return images_below(place)
    found = {}
    for number, line in enumerate(read_regular_text(place).splitlines(), start=1):
        name = line.strip().removeprefix("./")
        if name and not (_flat(folder / name).is_relative_to(_flat(folder)) and (folder / name).is_file()):
            raise DataError(f"{place} line {number}: {folder} holds no {plain(name, 100)}", "list paths below it")
        if name:
            found[PurePosixPath(name).as_posix()] = folder / name
    return found


def _split_place(folder: Path, told: DataYaml, split: str) -> Path:
    """Return the folder of a split's images, or the file that lists them. Raises DataError for one outside."""
    entry = told.content.get(split) or (told.content.get("valid") if split == "val" else None)
    if entry and not isinstance(entry, str):
        raise DataError(f"{told.file}: {split} is no single folder", "name the one folder of images of the split")
    if not entry:
        place = next((folder / place for place in PLACES[split] if (folder / place).is_dir()), None)
        if place is None:
            raise DataError(f"{folder} holds no {PLACES[split][0]}/ and no {PLACES[split][1]}/", _LAYOUT)
        return place
    base = told.content.get("path")
    # Exporters write ../valid/images beside a data.yaml that lies in the set's own folder.
    tries = [folder / base / entry] if isinstance(base, str) else []
    tries += [folder / entry, folder / entry.removeprefix("../")]
    inside = [place for place in map(_flat, tries) if place.is_relative_to(_flat(folder))]
    if not inside:
        raise DataError(f"{told.file}: {split} leads out of {folder}: {plain(entry, 100)}", "name a folder in it")
    found = next((place for place in inside if place.exists()), None)
    if found is None:
        raise DataError(f"{told.file}: {split} is {plain(entry, 100)}, and {folder} holds no such folder", _LAYOUT)
    return folder / found.relative_to(_flat(folder))


def _flat(place: Path) -> Path:
    """Return a path without ``..``, by its text alone: a link inside the set is the user's own."""
    return Path(os.path.normpath(place))


def _text_of(folder: Path, image: Path) -> Path:
    """Return where an image's text lies: the last ``images`` of its path is ``labels`` there, else beside it."""
    parts = list(image.relative_to(folder).parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return folder / f"{stem_of('/'.join(parts))}.txt"


def _texts(folder: Path) -> Iterator[Path]:
    """Yield the texts of boxes below a folder."""
    return (
        file
        for file in folder.rglob("*.txt")
        if file.is_file() and file.name.lower() not in OTHER_TEXTS and not file.name.startswith(".")
    )


def _classes(file: Path) -> tuple[str, ...]:
    """Return the names of a file with one a line."""
    return tuple(
        plain(line.strip(), 200) for line in read_regular_text(file, encoding="utf-8-sig").splitlines() if line.strip()
    )
