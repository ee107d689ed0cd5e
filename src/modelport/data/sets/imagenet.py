"""ImageNet-like data sets: flat images with a label file, or class folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from modelport.core.errors import DataError
from modelport.core.files import read_regular_text
from modelport.core.text import lines_of, some
from modelport.core.values import Sample
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.class_folders import labels_of_folders
from modelport.data.sets.class_names import NUMBER, ClassNames
from modelport.data.sets.identities import Identities
from modelport.data.sets.images import IMAGE_SUFFIXES, ImageFiles, hold_folder, readable, stem_of, suffix_of
from modelport.data.sets.label_notes import all_alike, class_notes

LABEL_FILE = "val_label.txt"
# What lies about in image folders and is no sample; anything else that is visible is asked about.
CLUTTER_SUFFIXES = frozenset({".txt", ".json", ".csv", ".md"})
CLUTTER_NAMES = frozenset({"thumbs.db", "desktop.ini"})
# 50,000 lines are two megabytes; a label file beyond this is some other file.
MAX_LABEL_BYTES = 64 * 1024 * 1024

_LAYOUTS = f"give a folder that holds images/ or val/ beside {LABEL_FILE}, or val/ with class folders"
_LINES = "write NAME LABEL, one line for each image"


class ImageNet(DataKind):
    """The kind ``imagenet``: images of one class each, in class folders or beside a file of labels."""

    forms = ("class", "identity")

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Find the data set that ``folder`` holds or is. Raises DataError."""
        with readable(folder):
            return _open(folder, wanted, split)

    def are_labels(self, path: Path) -> bool:
        """Whether ``path`` is a text file: a line ``NAME LABEL`` for each image."""
        return path.suffix.lower() == ".txt" and not path.is_dir()

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ImageFiles:
        """Return the images of one folder, each with its line of a file. Raises DataError."""
        hold_folder(images, "give a folder of images")
        with readable(images):
            return _flat(images, labels, wanted)


def open_imagenet(folder: Path, *, classes: int, split: Literal["val", "train"] = "val") -> ImageFiles:
    """Find the data set that ``folder`` holds or is; no image is opened.

    ``classes`` is the number of labels there are: a label is 0 … ``classes - 1``. Raises DataError, naming the file
    and line, where the data set is not in one of the layouts that the documentation shows.
    """
    return ImageNet().open(folder, Wanted("class", classes), split)


def _open(folder: Path, wanted: Wanted, split: Literal["val", "train"]) -> ImageFiles:
    hold_folder(folder, _LAYOUTS)
    if split == "train":
        if not (folder / "train").is_dir():
            raise DataError(f"{folder} holds no train/", "give a folder that holds train/ with class folders")
        return _class_folders(folder / "train", wanted)
    inside = [folder / name for name in ("images", "val") if (folder / name).is_dir()]
    if len(inside) > 1:
        raise DataError(f"{folder} holds both images/ and val/", "give the one of the two that you mean")
    images = inside[0] if inside else folder
    if images == folder and _holds_folders(folder / "train"):
        raise DataError(f"{folder} holds a training split only (train/)", _LAYOUTS)
    if _holds_folders(images):
        return _class_folders(images, wanted)
    for labels in (images / LABEL_FILE, images.parent / LABEL_FILE):
        if labels.exists() and not labels.is_dir():
            return _flat(images, labels, wanted)
    if _listing(images)[0]:
        raise DataError(f"{images} holds images, and there is no {LABEL_FILE} in it or beside it", _LAYOUTS)
    raise DataError(f"{images} holds no images", _LAYOUTS)


def _flat(folder: Path, label_file: Path, wanted: Wanted) -> ImageFiles:
    """Pair the images of one folder with the lines of a label file, by stem."""
    paths = _by_stem(_images_only(folder))
    names = Identities() if wanted.form == "identity" else ClassNames(wanted)
    labels = _read_labels(label_file, names)
    if missing := labels.keys() - paths.keys():
        raise DataError(
            f"{label_file} labels {some(sorted(missing))}, and {folder} holds no such image",
            "add the images, or take their lines out of the label file",
        )
    if unlabelled := paths.keys() - labels.keys():
        raise DataError(
            f"{folder} holds {some(sorted(unlabelled))}, and {label_file} has no label for that",
            "add a line 'NAME LABEL' for each image, or remove the images",
        )
    samples = [Sample(stem, labels[stem], path) for stem, path in paths.items()]
    return _data_set(samples, (*names.notes(label_file), *_odd(label_file, samples, wanted)))


def _class_folders(folder: Path, wanted: Wanted) -> ImageFiles:
    """Label the images of each class folder with its class."""
    images, folders = _listing(folder)
    if images:
        raise DataError(
            f"{folder} holds class folders and images beside them ({some(sorted(path.name for path in images))})",
            "put each image into the folder of its class",
        )
    names = sorted(path.name for path in folders)
    if not names:
        raise DataError(f"{folder} holds no class folders", _LAYOUTS)
    if wanted.form != "identity" and len(names) > wanted.known:
        raise DataError(
            f"{folder} holds {len(names)} class folders ({some(names)}), the model knows {wanted.known} classes",
            "remove the folders that are no classes, or choose the recipe that fits the data",
        )
    paths = [_by_stem(_images_only(folder / name)) for name in names]
    labels, notes = labels_of_folders(folder, names, wanted)
    samples = [
        Sample(f"{name}/{stem}", label, path)
        for name, label, inside in zip(names, labels, paths, strict=True)
        for stem, path in inside.items()
    ]
    found = _data_set(samples, (*notes, *_odd(folder, samples, wanted)))
    if all(NUMBER.fullmatch(name) for name in names):
        return found
    called = dict(zip(labels, names, strict=True))
    return replace(found, categories=tuple((label, called.get(label, "")) for label in range(max(labels) + 1)))


def _odd(place: Path, samples: Sequence[Sample], wanted: Wanted) -> tuple[str, ...]:
    labels = [sample.target for sample in samples]
    if wanted.form == "identity":
        return all_alike(place, labels)
    return class_notes(place, labels, wanted.known, wanted.names)


def _data_set(samples: Iterable[Sample], notes: tuple[str, ...]) -> ImageFiles:
    ordered = tuple(sorted(samples, key=lambda sample: sample.id))
    for sample in ordered:
        # Python spells bytes that are no UTF-8 as lone surrogates; such an id could be written into no report.
        if not sample.id.isascii() and re.search("[\ud800-\udfff]", sample.id):
            raise DataError(f"{os.fsencode(sample.path)!r}: the name is not UTF-8", "rename it")
    return ImageFiles(ordered, notes)


def _read_labels(file: Path, names: ClassNames | Identities) -> dict[str, int]:
    """Return label by stem; raises DataError with the line's number."""
    labels: dict[str, int] = {}
    lines: dict[str, int] = {}
    text = read_regular_text(file, MAX_LABEL_BYTES, DataError, _LINES, "utf-8-sig")
    for number, line in enumerate(lines_of(text), start=1):
        fields = line.split()
        if not fields:
            continue
        place = f"{file} line {number}"
        if len(fields) != 2:
            raise DataError(f"{place}: {len(fields)} fields in {line[:80]!r}", "write NAME LABEL, one space between")
        name, label = fields
        stem = stem_of(name)
        if stem in labels:
            raise DataError(f"{place}: {stem} was labelled in line {lines[stem]} already", "keep one of the two lines")
        labels[stem], lines[stem] = names.label(label, place), number
    if not labels:
        raise DataError(f"{file} holds no labels", _LINES)
    return labels


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return a folder's images and folders; raises DataError for a visible file that is neither image nor clutter."""
    images, folders, strange = [], [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            suffix = suffix_of(entry.name)
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(Path(entry.path))
            elif suffix in IMAGE_SUFFIXES and entry.is_file():
                images.append(Path(entry.path))
            elif suffix not in CLUTTER_SUFFIXES and entry.name.lower() not in CLUTTER_NAMES:
                strange.append(entry.name)
    if strange:
        raise DataError(
            f"{folder} holds {some(sorted(strange))}, which is no image and no class folder",
            "move it elsewhere; images end in " + ", ".join(sorted(IMAGE_SUFFIXES)),
        )
    return images, folders


def _images_only(folder: Path) -> list[Path]:
    """Return the images of a folder that must hold nothing else; raises DataError where there is none."""
    images, folders = _listing(folder)
    if folders:
        raise DataError(
            f"{folder} holds folders ({some(sorted(path.name for path in folders))}) where images are expected",
            "move them elsewhere",
        )
    if not images:
        raise DataError(f"{folder} holds no images", "add images to it, or remove it")
    return images


def _by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for path in paths:
        stem = stem_of(path.name)
        if stem in stems:
            raise DataError(f"{path} and {stems[stem].name} have one name but for the suffix", "keep one of the two")
        stems[stem] = path
    return stems


def _holds_folders(folder: Path) -> bool:
    return folder.is_dir() and bool(_listing(folder)[1])
