"""ImageNet-like data sets: flat images with a label file, or class folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

from modelport.core.errors import DataError
from modelport.core.files import read_regular_text
from modelport.core.values import Sample

LABEL_FILE = "val_label.txt"
IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif"})
# What lies about in image folders and is no sample; anything else that is visible is asked about.
CLUTTER_SUFFIXES = frozenset({".txt", ".json", ".csv", ".md"})
CLUTTER_NAMES = frozenset({"thumbs.db", "desktop.ini"})
# 50,000 lines are two megabytes; a label file beyond this is some other file.
MAX_LABEL_BYTES = 64 * 1024 * 1024

_LAYOUTS = f"give a folder that holds images/ or val/ beside {LABEL_FILE}, or val/ with class folders"


@dataclass(frozen=True, slots=True, repr=False)
class ImageNet(Sequence[Sample]):
    """The samples of one split, sorted by id. ``target`` is the label as the data set counts, from 0."""

    samples: tuple[Sample, ...]
    classes_found: int
    """Labels that occur at least once."""
    layout: str
    """What was found where, for people."""
    notes: tuple[str, ...] = ()
    """What a reader of a result must know about the labels."""
    name: str = "imagenet"
    categories: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        return self.samples[index]

    def __repr__(self) -> str:
        return f"ImageNet({len(self)} samples, {self.classes_found} classes, {self.layout})"


def open_imagenet(folder: Path, *, classes: int, split: Literal["val", "train"] = "val") -> ImageNet:
    """Find the data set that ``folder`` holds or is; no image is opened.

    ``classes`` is the number of labels there are: a label is 0 … ``classes - 1``. Raises DataError, naming the file
    and line, where the data set is not in one of the layouts that the documentation shows.
    """
    try:
        return _open(folder, classes, split)
    except OSError as error:
        place = os.fsdecode(error.filename) if error.filename else folder
        raise DataError(f"{place} cannot be read: {error.strerror or error}", "check the permissions") from error


def _open(folder: Path, classes: int, split: Literal["val", "train"]) -> ImageNet:
    if not folder.is_dir():
        found = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{folder} {found}", _LAYOUTS)
    if split == "train":
        if not (folder / "train").is_dir():
            raise DataError(f"{folder} holds no train/", "give a folder that holds train/ with class folders")
        return _class_folders(folder / "train", classes)
    inside = [folder / name for name in ("images", "val") if (folder / name).is_dir()]
    if len(inside) > 1:
        raise DataError(f"{folder} holds both images/ and val/", "give the one of the two that you mean")
    images = inside[0] if inside else folder
    if images == folder and _holds_folders(folder / "train"):
        raise DataError(f"{folder} holds a training split only (train/)", _LAYOUTS)
    if _holds_folders(images):
        return _class_folders(images, classes)
    for labels in (images / LABEL_FILE, images.parent / LABEL_FILE):
        if labels.exists() and not labels.is_dir():
            return _flat(images, labels, classes)
    if _listing(images).images:
        raise DataError(f"{images} holds images, and there is no {LABEL_FILE} in it or beside it", _LAYOUTS)
    raise DataError(f"{images} holds no images", _LAYOUTS)


def _flat(folder: Path, label_file: Path, classes: int) -> ImageNet:
    """Pair the images of one folder with the lines of a label file, by stem."""
    paths = _by_stem(_images_only(folder))
    labels = _read_labels(label_file, classes)
    if missing := labels.keys() - paths.keys():
        raise DataError(
            f"{label_file} labels {_some(missing)}, and {folder} holds no such image",
            "add the images, or take their lines out of the label file",
        )
    if unlabelled := paths.keys() - labels.keys():
        raise DataError(
            f"{folder} holds {_some(unlabelled)}, and {label_file} has no label for that",
            "add a line 'NAME LABEL' for each image, or remove the images",
        )
    samples = (Sample(stem, labels[stem], path) for stem, path in paths.items())
    return _data_set(
        samples, f"images in {folder}, labels in {label_file}", _label_notes(label_file, labels.values(), classes)
    )


def _class_folders(folder: Path, classes: int) -> ImageNet:
    """Label the images of each class folder with the number that it is named, else its place among the sorted names."""
    listing = _listing(folder)
    if listing.images:
        raise DataError(
            f"{folder} holds class folders and images beside them ({_some(path.name for path in listing.images)})",
            "put each image into the folder of its class",
        )
    names = sorted(path.name for path in listing.folders)
    if not names:
        raise DataError(f"{folder} holds no class folders", _LAYOUTS)
    if len(names) > classes:
        raise DataError(
            f"{folder} holds {len(names)} class folders ({_some(names)}), the model knows {classes} classes",
            "remove the folders that are no classes, or choose the recipe that fits the data",
        )
    labels, notes = _folder_labels(folder, names, classes)
    samples = (
        Sample(f"{name}/{stem}", label, path)
        for name, label in zip(names, labels, strict=True)
        for stem, path in _by_stem(_images_only(folder / name)).items()
    )
    return _data_set(samples, f"{len(names)} class folders in {folder}", notes)


def _folder_labels(folder: Path, names: Sequence[str], classes: int) -> tuple[Sequence[int], tuple[str, ...]]:
    """Return the label of each folder, and what is to be said of that; raises DataError for numbers that are none."""
    if not all(re.fullmatch("[0-9]{1,9}", name) for name in names):
        few = f"{folder}: {len(names)} class folders for {classes} classes; a label is a folder's place among these, "
        # Of a part of the data set's folders, the places are not the published class numbers.
        return range(len(names)), (few + "sorted",) if len(names) < classes else ()
    # Sorted as text, 10 comes before 2: a place among the names would be another class than the number says.
    numbers = [int(name) for name in names]
    if len(set(numbers)) < len(numbers):
        twice = next(name for name in names if numbers.count(int(name)) > 1)
        raise DataError(f"{folder}: two class folders are the number {int(twice)}", "put their images into one")
    if min(numbers) == 1 and max(numbers) == classes:
        raise DataError(
            f"{folder}: the class folders are numbered from 1 to {classes}, classes are counted from 0",
            f"rename each folder to its number less one (0 to {classes - 1}), if 1 is the model's first class",
        )
    if max(numbers) >= classes:
        raise DataError(
            f"{folder}: class folder {max(numbers)} is no class of the model, which has 0 to {classes - 1}",
            "name each folder by its class, counted from 0, or choose the recipe that fits the data",
        )
    note = f"{folder}: the class folders are named by whole numbers; these are taken as the labels, counted from 0"
    if 0 not in numbers:
        note += f"; none is 0 (they are {min(numbers)} to {max(numbers)}): if they count from 1, every label is one off"
    return numbers, (note,)


def _label_notes(file: Path, labels: Iterable[int], classes: int) -> tuple[str, ...]:
    """Return what is odd about the labels of a file."""
    found, count = set(labels), len(list(labels))
    if len(found) == 1 and count > 1 and classes > 1:
        return (f"{file}: all {count} images have the label {found.pop()}",)
    # Of fewer images a whole class may well be missing.
    if count >= classes and min(found) == 1:
        return (f"{file}: no label is 0 (they are {min(found)} to {max(found)}); do they count from 1?",)
    return ()


def _data_set(samples: Iterable[Sample], layout: str, notes: tuple[str, ...] = ()) -> ImageNet:
    ordered = tuple(sorted(samples, key=lambda sample: sample.id))
    for sample in ordered:
        # Python spells bytes that are no UTF-8 as lone surrogates; such an id could be written into no report.
        if not sample.id.isascii() and re.search("[\ud800-\udfff]", sample.id):
            raise DataError(f"{os.fsencode(sample.path)!r}: the name is not UTF-8", "rename it")
    return ImageNet(ordered, len({sample.target for sample in ordered}), layout, notes)


def _read_labels(file: Path, classes: int) -> dict[str, int]:
    """Return label by stem; raises DataError with the line's number."""
    labels: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(_text(file).split("\n"), start=1):
        fields = line.split()
        if not fields:
            continue
        place = f"{file} line {number}"
        if len(fields) != 2:
            raise DataError(f"{place}: {len(fields)} fields in {line[:80]!r}", "write NAME LABEL, one space between")
        name, label = fields
        if not re.fullmatch("[0-9]{1,9}", label) or int(label) >= classes:
            raise DataError(
                f"{place}: label {label[:20]!r} is not an integer from 0 to {classes - 1}",
                "count the labels from 0; an offset to the model's outputs belongs into the recipe",
            )
        stem = _stem(name)
        if stem in labels:
            raise DataError(f"{place}: {stem} was labelled in line {lines[stem]} already", "keep one of the two lines")
        labels[stem], lines[stem] = int(label), number
    if not labels:
        raise DataError(f"{file} holds no labels", "write NAME LABEL, one line for each image")
    return labels


def _text(file: Path) -> str:
    fix = "write NAME LABEL, one line for each image"
    # As text files are read: a line may end in CR, LF or both.
    text = read_regular_text(file, MAX_LABEL_BYTES, DataError, fix, "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True, slots=True)
class _Listing:
    images: list[Path]
    folders: list[Path]


def _listing(folder: Path) -> _Listing:
    """Return what a folder holds; raises DataError for a visible file that is neither image nor known clutter."""
    listing = _Listing([], [])
    strange = []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = _suffix(entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                listing.folders.append(Path(entry.path))
            elif suffix in IMAGE_SUFFIXES and entry.is_file():
                listing.images.append(Path(entry.path))
            elif suffix not in CLUTTER_SUFFIXES and entry.name.lower() not in CLUTTER_NAMES:
                strange.append(entry.name)
    if strange:
        raise DataError(
            f"{folder} holds {_some(strange)}, which is no image and no class folder",
            "move it elsewhere; images end in " + ", ".join(sorted(IMAGE_SUFFIXES)),
        )
    return listing


def _images_only(folder: Path) -> list[Path]:
    """Return the images of a folder that must hold nothing else; raises DataError where there is none."""
    listing = _listing(folder)
    if listing.folders:
        raise DataError(
            f"{folder} holds folders ({_some(path.name for path in listing.folders)}) where images are expected",
            "move them elsewhere",
        )
    if not listing.images:
        raise DataError(f"{folder} holds no images", "add images to it, or remove it")
    return listing.images


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for path in paths:
        stem = _stem(path.name)
        if stem in stems:
            raise DataError(f"{path} and {stems[stem].name} have one name but for the suffix", "keep one of the two")
        stems[stem] = path
    return stems


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and bool(_listing(folder).folders)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path for each of 50,000 names is slow)


def _stem(name: str) -> str:
    """Return the name without its suffix where that is an image's; label files may leave it out."""
    suffix = _suffix(name)
    return name[: -len(suffix)] if suffix in IMAGE_SUFFIXES else name


def _some(names: Iterable[str]) -> str:
    """Return the first few names, and how many there are."""
    ordered = sorted(names)
    return ", ".join(ordered[:3]) + (f" … ({len(ordered)} in all)" if len(ordered) > 3 else "")
