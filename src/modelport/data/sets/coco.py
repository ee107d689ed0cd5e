"""COCO-like data sets: a folder of images and one file of annotated boxes, in any of the usual layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from modelport.core.errors import DataError
from modelport.core.files import open_regular
from modelport.core.text import some
from modelport.core.values import LabelForm
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.box_checks import boxed_set
from modelport.data.sets.boxed import Boxed, declared_size, repeated
from modelport.data.sets.coco_file import MAX_JSON_BYTES, CocoFile, read_coco
from modelport.data.sets.images import ImageFiles, hold_folder, image_files, readable, stem_of
from modelport.data.sets.unlabelled import images_below

# What Roboflow calls its folders and its file, which lies beside the images.
ROBOFLOW = "_annotations.coco.json"
# How the published files begin, by form of the labels, where not as those of boxes; the first that is there is read.
INSTANCES = "instances"
PUBLISHED: Mapping[str, tuple[str, ...]] = {"keypoints": ("person_keypoints", INSTANCES)}
FOLDERS = {"val": ("valid", "val"), "train": ("train",)}
_LAYOUTS = (
    "give a folder that holds val2017/ and instances_val2017.json (beside it or in annotations/), images/ and one "
    f".json file, or valid/ with {ROBOFLOW} in it; or --images DIR --labels FILE.json"
)


class Coco(DataKind):
    """The kind ``coco``: a folder of images and one file of annotated boxes."""

    forms = ("boxes", "outlines", "keypoints")

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Read the annotations of a split. Raises DataError."""
        with readable(folder):
            images, file = _find(folder, split, wanted.form)
            return _opened(images, file, wanted, whole=True)

    def lies_in(self, folder: Path) -> bool:
        """Whether there is a folder or file of COCO's names, or Roboflow's file."""
        return any((folder / name).exists() for name in ("annotations", "val2017", ROBOFLOW, f"valid/{ROBOFLOW}"))

    def are_labels(self, path: Path) -> bool:
        """Whether it is a JSON file that speaks of annotations."""
        return path.suffix.lower() == ".json" and path.is_file() and _speaks_of(path, b'"annotations"')

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ImageFiles:
        """Return those images of a folder that the file lists. Raises DataError."""
        hold_folder(images, "give a folder of images")
        with readable(images):
            return _opened(images, labels, wanted, whole=False)


def open_coco(folder: Path, *, classes: int = 80, split: Literal["val", "train"] = "val") -> ImageFiles:
    """Read the annotations of the data set that ``folder`` holds and list its images; of these the headers are read.

    Raises DataError, naming the file, where it has no layout that is known, where file and images disagree (sizes and
    boxes too), or where there are not ``classes`` categories.
    """
    return Coco().open(folder, Wanted("boxes", classes), split)


def _opened(folder: Path, file: Path, wanted: Wanted, whole: bool) -> ImageFiles:
    """Return the images that a file lists; ``whole``: it lists all that there are, or that is an error."""
    content = read_coco(file, wanted)
    deep = any("/" in name for name in content.names.values())
    found = images_below(folder) if deep else image_files(folder)
    named, said = _paired(content, folder, found, whole)
    images = []
    for number, row in content.images.items():
        boxes, size = content.boxes[number], declared_size(row.get("width"), row.get("height"))
        name, told = named[number], f"{file}: image {number}"
        numbers = np.array([box.place for box in boxes], np.float64).reshape(-1, 4)
        images.append(Boxed(stem_of(name), found[name], told, number, boxes, size, numbers))
    return boxed_set(file, images, content.categories, (*content.notes, *said))


def _paired(
    content: CocoFile, folder: Path, found: Mapping[str, Path], whole: bool
) -> tuple[dict[int, str], tuple[str, ...]]:
    """Return the path below the folder of each image that the file lists, and what is to be said of the others."""
    named = {number: _below(name, folder, found) for number, name in content.names.items()}
    file = content.file
    if missing := sorted({content.names[number] for number, name in named.items() if name is None}):
        raise DataError(
            f"{file} lists {some(missing)}, and {folder} holds no such image",
            "add the images, or take their entries out of the file",
        )
    pairs = {number: name for number, name in named.items() if name is not None}
    if twice := repeated(pairs.values()):
        raise DataError(f"{file}: two images are the file {some(twice)}", "keep one of the two")
    unlisted = sorted(found.keys() - set(pairs.values()))
    if unlisted and whole:
        raise DataError(
            f"{folder} holds {some(unlisted)}, and {file} has no entry for that",
            "remove the images, or take the annotations that list them",
        )
    said = f"{len(unlisted)} of {len(found)} images in {folder} are not listed in {file} and left out: {some(unlisted)}"
    return pairs, (said,) if unlisted else ()


def _below(name: str, folder: Path, found: Mapping[str, Path]) -> str | None:
    """Return where a listed image lies below the folder; its name may begin with the folder's own."""
    if name in found:
        return name
    first, _, rest = name.partition("/")
    return rest if first == folder.name and rest in found else None


def _find(folder: Path, split: str, form: LabelForm = "boxes") -> tuple[Path, Path]:
    """Return the folder of images and the file of annotations."""
    hold_folder(folder, _LAYOUTS)
    if (folder / f"{split}2017").is_dir():
        files = [f"{kind}_{split}2017.json" for kind in PUBLISHED.get(form, (INSTANCES,))]
        held = [file for file in files for place in (folder, folder / "annotations") if (place / file).is_file()]
        return folder / f"{split}2017", _published(folder, held[0] if held else files[-1])
    beside = [place / ROBOFLOW for place in (*(folder / name for name in FOLDERS[split]), folder)]
    if split == "train":
        del beside[-1]  # a folder that is one split is not the training's
    if (file := next((file for file in beside if file.is_file()), None)) is not None:
        return file.parent, file
    if (folder / "images").is_dir():
        return folder / "images", _only(folder, split)
    raise DataError(f"{folder} holds no {split}2017/, no images/ and no {ROBOFLOW}", _LAYOUTS)


def _published(folder: Path, file: str) -> Path:
    places = [
        place for place in (folder / file, folder / "annotations" / file) if place.exists() and not place.is_dir()
    ]
    if not places:
        raise DataError(f"{folder} holds no {file}, nor does {folder / 'annotations'}", _LAYOUTS)
    if len(places) > 1:
        raise DataError(f"there is {places[0]} and {places[1]}", "keep the one of the two that you mean")
    return places[0]


def _only(folder: Path, split: str) -> Path:
    """Return the one file of annotations beside ``images/``: the one that names the split, else the only one."""
    places = [folder, folder / "annotations"]
    files = sorted(file for place in places if place.is_dir() for file in place.glob("*.json") if file.is_file())
    named = [file for file in files if split in file.stem.lower()]
    if len(named) == 1:
        return named[0]
    other = {"val": "train", "train": "val"}[split]
    left = [file for file in files if other not in file.stem.lower()]
    if len(left) == 1 and split == "val" and not named:
        return left[0]
    found = (
        f"which of {some(file.name for file in files)} is the {split} split's" if files else "there is no .json file"
    )
    raise DataError(f"{folder} holds images/, and {found}", f"name it {split}.json; or --images DIR --labels FILE.json")


def _speaks_of(file: Path, word: bytes) -> bool:
    """Whether a file of bounded size holds a word; of a huge one the first part is looked at."""
    left, rest = MAX_JSON_BYTES, b""
    with open_regular(file) as stream:
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            if word in rest + part:
                return True
            left, rest = left - len(part), part[-len(word) :]
    return False
