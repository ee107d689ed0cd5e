"""Sets in Pascal VOC's layout: images, and for each an XML file of its objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from modelport.core.errors import DataError
from modelport.core.files import read_regular_text
from modelport.core.text import plain, some
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.box_checks import boxed_set
from modelport.data.sets.boxed import Box, Boxed, declared_size, model_classes, numbered, repeated
from modelport.data.sets.images import ImageFiles, hold_folder, image_files, readable, stem_of
from modelport.data.sets.unlabelled import images_below
from modelport.data.sets.voc_file import VocFile, VocObject, read_voc

IMAGES, ANNOTATIONS, SPLITS = "JPEGImages", "Annotations", "ImageSets/Main"
SUFFIX = ".xml"
_LAYOUT = (
    f"give a folder that holds {IMAGES}/, {ANNOTATIONS}/ and {SPLITS}/val.txt, or images with an XML file beside "
    "each; or --images DIR --labels DIR"
)


class Voc(DataKind):
    """The kind ``voc``: Pascal VOC's layout."""

    forms = ("boxes",)

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Read the objects of a split. Raises DataError."""
        hold_folder(folder, _LAYOUT)
        with readable(folder):
            labels = folder / ANNOTATIONS
            images = image_files(folder / IMAGES) if (folder / IMAGES).is_dir() else image_files(folder)
            listed = _split(folder, split)
            return _opened(labels if labels.is_dir() else folder, images, listed, wanted)

    def lies_in(self, folder: Path) -> bool:
        """Whether there is VOC's folder of annotations."""
        return (folder / ANNOTATIONS).is_dir() and (folder / IMAGES).is_dir()

    def are_labels(self, path: Path) -> bool:
        """Whether it is a folder with XML files in it."""
        return path.is_dir() and bool(_files(path))

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ImageFiles:
        """Return those images of a folder that have an XML file in another. Raises DataError."""
        hold_folder(images, "give a folder of images")
        with readable(images), readable(labels):
            return _opened(labels, images_below(images), None, wanted)


def _split(folder: Path, split: str) -> list[str] | None:
    """Return the ids that a split lists, None where all are meant. Raises DataError for a split that is not there."""
    lists = folder / SPLITS
    if not lists.is_dir():
        if split == "train":
            raise DataError(f"{folder} holds no {SPLITS}/train.txt, so it has no training split", _LAYOUT)
        return None
    file = lists / f"{split}.txt"
    if not file.is_file():
        there = some(sorted(one.name for one in lists.glob("*.txt"))) or "nothing"
        raise DataError(f"{lists} holds no {split}.txt, but {there}", "name the split's list so")
    # A list of one class has a second column: 1, -1, or 0 for difficult ones.
    ids = [line.split()[0] for line in read_regular_text(file).splitlines() if line.split()]
    if twice := repeated(ids):
        raise DataError(f"{file} lists {some(twice)} twice", "list each image once")
    if not ids:
        raise DataError(f"{file} lists no images", "write an image's name without suffix a line")
    return ids


def _files(folder: Path) -> dict[str, Path]:
    """Return the XML files of a folder by their stem."""
    return {
        file.stem: file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() == SUFFIX and not file.name.startswith(".") and file.is_file()
    }


def _opened(labels: Path, images: Mapping[str, Path], listed: Sequence[str] | None, wanted: Wanted) -> ImageFiles:
    files, stems = _files(labels), {stem_of(name): name for name in images}
    if not files:
        raise DataError(f"{labels} holds no XML file", _LAYOUT)
    if missing := [name for name in listed or () if name not in files]:
        raise DataError(f"{labels} holds no {plain(missing[0], 60)}{SUFFIX}, which the split lists", _LAYOUT)
    told = [read_voc(files[name]) for name in (files if listed is None else listed)]
    names = [_image_of(one, images, stems, labels) for one in told]
    if twice := repeated(names):
        raise DataError(f"{labels}: two files are of the image {some(twice)}", "keep one of the two")
    label_of, notes = _classes(labels, told, wanted)
    first, said = _first_pixel(labels, told)
    found = []
    for number, (one, name) in enumerate(zip(told, names, strict=True), start=1):
        boxes = [_box(item, label_of[item.name], first) for item in one.objects]
        found.append(Boxed(stem_of(name), images[name], str(one.file), number, boxes, declared_size(*one.size)))
    hard = sum(one.difficult for file in told for one in file.objects)
    if hard:
        said.append(f"{labels}: {hard} objects are marked difficult: neither found nor missed, as in VOC's own figures")
    bare = sorted(images.keys() - set(names)) if listed is None else []
    if bare:
        said.append(f"{labels}: {len(bare)} of {len(images)} images have no XML file and are left out: {some(bare)}")
    categories = numbered(sorted(label_of, key=lambda name: label_of[name]), wanted)
    return boxed_set(labels, found, categories, (*notes, *said))


def _image_of(one: VocFile, images: Mapping[str, Path], stems: Mapping[str, str], labels: Path) -> str:
    """Return the image of a file: the one of its name, else the one that it names. Raises DataError."""
    if one.file.stem in stems:
        return stems[one.file.stem]
    if one.image in images:
        return one.image
    raise DataError(
        f"{one.file}: there is no image {plain(one.file.stem, 60)}, and no {plain(one.image or 'other', 60)} that it "
        "names",
        "add the image, or take the file away",
    )


def _classes(labels: Path, told: Sequence[VocFile], wanted: Wanted) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the model's class by the name of an object. Raises DataError, naming file and line, for an unknown one."""
    places = {one.name: f"{file.file} line {one.line}" for file in reversed(told) for one in reversed(file.objects)}
    if wanted.names or wanted.class_map:
        said: dict[str, None] = {}
        label_of = {}
        for name, place in places.items():
            (label_of[name],), notes = model_classes(place, [name], wanted)
            said |= dict.fromkeys(notes)
        return label_of, tuple(said)
    names = sorted(places)
    if names and len(names) != wanted.known:
        raise DataError(
            f"{labels}: objects have {len(names)} names ({some(plain(name, 40) for name in names)}), the model knows "
            f"{wanted.known} classes",
            "tell the model's names in their order: dataset.names in the recipe",
        )
    note = f"{labels}: GUESSED: the recipe names no classes, so these are the sorted names: {some(names, 10)}"
    return {name: label for label, name in enumerate(names)}, (note,) if names else ()


def _first_pixel(labels: Path, told: Sequence[VocFile]) -> tuple[int, list[str]]:
    """Return the number that the files give the first pixel: 1 as in VOC, 0 where one begins there, which is said."""
    starts = [value for file in told for one in file.objects for value in one.corners[:2]]
    if any(value < 1 for value in starts):
        return 0, [f"{labels}: a box begins before pixel 1, so pixels are counted from 0, not from 1 as VOC does"]
    return 1, []


def _box(one: VocObject, label: int, first: int) -> Box:
    """Return x, y, width, height: pixels from xmin to xmax, both included where the first is 1."""
    left, top, right, bottom = one.corners
    place = (left - first, top - first, right - left + first, bottom - top + first)
    return Box(place, label, one.difficult, place[2] * place[3])
