"""Images with a mask each: PNGs that give every pixel a class."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from modelport.core.errors import DataError
from modelport.core.files import read_regular_text
from modelport.core.text import some
from modelport.core.values import Sample
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.images import ImageFiles, hold_folder, image_files, readable, seen_size, stem_of, suffix_of
from modelport.data.sets.mask_files import SUFFIX, MaskFile, size_of_mask

# Names of the folders: ours, ADE20K's, Pascal VOC's.
IMAGES = ("images", "JPEGImages")
MASKS = ("masks", "annotations", "labels", "SegmentationClass")
SPLITS: Mapping[Split, tuple[str, ...]] = {"val": ("val", "validation"), "train": ("train", "training")}
# Pascal VOC's list of a split's names, a name a line.
LISTS = Path("ImageSets") / "Segmentation"
# The headers of so many pairs are held against each other at once; of more, as many evenly spaced.
MOST_HEADERS = 5000

_LAYOUTS = (
    "give a folder that holds images/ and masks/, or val/ with both, or images/val/ and masks/val/, or JPEGImages/, "
    "SegmentationClass/ and ImageSets/Segmentation/val.txt; or --images DIR --labels DIR_OF_PNG"
)


class Masks(DataKind):
    """The kind ``masks``: images and, by the same names, PNGs that give every pixel a class."""

    forms = ("mask",)

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """Pair the images and masks of a split. Raises DataError."""
        with readable(folder):
            hold_folder(folder, _LAYOUTS)
            return _paired(*_find(folder, split))

    def lies_in(self, folder: Path) -> bool:
        """Whether there is a folder of masks."""
        return any((inside / name).is_dir() for inside in (folder, folder / "val") for name in ("masks", MASKS[-1]))

    def are_labels(self, path: Path) -> bool:
        """Whether ``path`` is a folder of PNGs."""
        return path.is_dir() and any(suffix_of(name) == SUFFIX for name in os.listdir(path))  # noqa: PTH208 (names)

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ImageFiles:
        """Pair the images of one folder with the masks of another. Raises DataError."""
        with readable(images):
            hold_folder(images, "give a folder of images")
            return _paired(images, labels, None)


def _find(folder: Path, split: Split) -> tuple[Path, Path, Path | None]:
    """Return the folders of images and masks, and the file that lists the split's names, where there is one."""
    names = SPLITS[split]
    for inside in [folder / name for name in names] + [folder]:
        pairs = [(inside / one, inside / two) for one in IMAGES for two in MASKS]
        pairs = [(one, two) for one, two in pairs if one.is_dir() and two.is_dir()]
        if len(pairs) > 1:
            told = ", ".join(f"{one.name}/ with {two.name}/" for one, two in pairs)
            raise DataError(f"{inside} holds {told}", "keep the two that you mean")
        if pairs:
            return _within(*pairs[0], folder, split, chosen=inside != folder)
    found = f"{folder} holds no images with masks"
    raise DataError(found if split == "val" else f"{found} to train on (train/)", _LAYOUTS)


def _within(images: Path, masks: Path, folder: Path, split: Split, chosen: bool) -> tuple[Path, Path, Path | None]:
    """Return the part of a pair of folders that is the split's; ``chosen``: the pair is that already."""
    if chosen:
        return images, masks, None
    for name in SPLITS[split]:
        if (images / name).is_dir() and (masks / name).is_dir():
            return images / name, masks / name, None
    listed = folder / LISTS / f"{split}.txt"
    if listed.exists():
        return images, masks, listed
    if split == "train" or (folder / LISTS).is_dir():
        raise DataError(f"{folder} holds no {split} split: neither folders of that name nor {listed}", _LAYOUTS)
    return images, masks, None


def _paired(images: Path, masks: Path, listed: Path | None) -> ImageFiles:
    """Return the images that have a mask, in the order of their names."""
    pictures, truths = _by_stem(image_files(images)), _by_stem(_masks_in(masks))
    notes = []
    if listed is None:
        chosen: Sequence[str] = sorted(pictures)
        if alone := sorted(truths.keys() - pictures.keys()):
            raise DataError(
                f"{masks} holds {some(truths[stem].name for stem in alone)}, and {images} no such image",
                "add the images, or take the masks away",
            )
    else:
        chosen = _listed(listed, pictures.keys(), images)
    if not chosen:
        raise DataError(f"{images} holds no images", _LAYOUTS)
    labelled = [stem for stem in chosen if stem in truths]
    if not labelled:
        raise DataError(
            f"{masks} holds no mask of any image of {images} ({some(pictures[stem].name for stem in chosen)})",
            "name each mask as its image, ending in .png",
        )
    if missing := len(chosen) - len(labelled):
        told = some(pictures[stem].name for stem in chosen if stem not in truths)
        notes.append(f"{masks}: {missing} of {len(chosen)} images have no mask and are left out: {told}")
    for stem in labelled[:: -(-len(labelled) // MOST_HEADERS)]:
        _compare(pictures[stem], truths[stem])
    samples = (Sample(stem, MaskFile(truths[stem]), pictures[stem]) for stem in labelled)
    return ImageFiles(tuple(samples), tuple(notes))


def _masks_in(folder: Path) -> dict[str, Path]:
    """Return the visible PNGs of a folder by name. Raises DataError where it holds other images and none."""
    found = image_files(folder)
    masks = {name: path for name, path in found.items() if suffix_of(name) == SUFFIX}
    if found and not masks:
        raise DataError(
            f"{folder} holds {some(sorted(found))}, and no PNG",
            "save the masks as PNG: a JPEG's numbers are no longer those that were saved",
        )
    return masks


def _by_stem(paths: Mapping[str, Path]) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for name in sorted(paths):
        if (stem := stem_of(name)) in stems:
            raise DataError(
                f"{paths[name]} and {stems[stem].name} have one name but for the suffix", "keep one of the two"
            )
        if not stem.isascii() and any("\ud800" <= letter <= "\udfff" for letter in stem):
            raise DataError(f"{os.fsencode(paths[name])!r}: the name is not UTF-8", "rename it")
        stems[stem] = paths[name]
    return stems


def _listed(file: Path, known: Container[str], images: Path) -> list[str]:
    """Return the names of a split's list in their order, each once. Raises DataError, naming the line."""
    found: dict[str, int] = {}
    for number, line in enumerate(read_regular_text(file, encoding="utf-8-sig").splitlines(), start=1):
        name = stem_of(line.strip())
        if not name:
            continue
        if name in found:
            raise DataError(f"{file} line {number}: {name} stands in line {found[name]} already", "keep one of the two")
        if name not in known:
            raise DataError(
                f"{file} line {number}: {images} holds no image {name[:80]!r}", "add the image, or take the line out"
            )
        found[name] = number
    if not found:
        raise DataError(f"{file} lists no images", "write the names of the split's images, one a line")
    return sorted(found)


def _compare(image: Path, mask: Path) -> None:
    """Raise DataError where a mask is of another size than its image, as that is stored or as EXIF turns it."""
    size = size_of_mask(mask)
    if (seen := seen_size(image)) is None:
        return  # what is no image is told when it is decoded
    if size != seen[0] and not (seen[1] and size == seen[0][::-1]):
        raise DataError(
            f"{mask}: the mask is {size[0]} × {size[1]}, its image {image} is {seen[0][0]} × {seen[0][1]}",
            "give the mask of this image, neither resized nor rotated",
        )
