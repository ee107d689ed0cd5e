"""Images and labels in two arrays: of an ``.npz`` archive, or of two ``.npy`` files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.text import some
from modelport.core.values import Array, Sample
from modelport.data.files.array_files import map_npy, npz_members, read_member
from modelport.data.sets.array_labels import labels_of_array
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.images import readable

IMAGES: dict[Split, tuple[str, ...]] = {"val": ("images", "x", "x_test"), "train": ("images", "x", "x_train")}
LABELS: dict[Split, tuple[str, ...]] = {"val": ("labels", "y", "y_test"), "train": ("labels", "y", "y_train")}
PAIR = ("images.npy", "labels.npy")
# Last axes that are channels, and never a side of an image that anybody scores.
CHANNELS = (1, 3, 4)
_LAYOUTS = "give a folder that holds val.npz or images.npy and labels.npy, or an .npz file itself"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ArrayRows(Sequence[Sample]):
    """The samples of one split in the arrays' order; a content is one row as the bytes of an ``.npy`` file."""

    images: NDArray[np.uint8]
    """(N, H, W, C) or (N, H, W)."""
    labels: tuple[Any, ...]
    path: Path
    notes: tuple[str, ...] = ()
    """What a reader of a result must know of the labels."""
    categories: tuple[tuple[int, str], ...] = ()
    places: range | None = None
    """Which of the rows; None for all."""

    def __len__(self) -> int:
        return len(self.labels if self.places is None else self.places)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> ArrayRows: ...
    def __getitem__(self, index: int | slice) -> Sample | ArrayRows:
        places = range(len(self.labels)) if self.places is None else self.places
        if isinstance(index, slice):
            # A row's bytes are made when it is its turn: mapped files may be larger than the memory.
            return replace(self, places=places[index])
        place = places[index]
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(self.images[place]), (1, 0), allow_pickle=False)
        # As wide as the last one's: text sorts as the rows do.
        name = f"{place:0{max(5, len(str(len(self.labels) - 1)))}d}"
        return Sample(name, self.labels[place], self.path, buffer.getvalue())

    def __repr__(self) -> str:
        return f"ArrayRows({len(self)} samples)"


class Arrays(DataKind):
    """The kind ``arrays``: pixels (N, H, W, C) in uint8 and as many labels; the recipe decodes them by decode_array."""

    forms = ("class", "classes", "identity", "numbers")

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ArrayRows:
        """Return the rows of a split. Raises DataError, naming file and member."""
        with readable(folder):
            if folder.suffix.lower() == ".npz" and folder.is_file():
                return _of_archive(folder, wanted, split)
            found = _places(folder, split)
            if len(found) > 1:
                raise DataError(
                    f"{folder} holds both {found[0].name} and {found[1].name}", "keep the one that you mean"
                )
            if not found:
                raise DataError(f"{folder} holds no {split}.npz", _LAYOUTS)
            if found[0].suffix == ".npz":
                return _of_archive(found[0], wanted, split)
            return self.open_labelled(folder / PAIR[0], folder / PAIR[1], wanted)

    def lies_in(self, folder: Path) -> bool:
        """Whether the folder holds such arrays, or is an archive of them."""
        return folder.suffix.lower() == ".npz" or bool(_places(folder, "val"))

    def are_labels(self, path: Path) -> bool:
        """Whether ``path`` is an ``.npy`` file."""
        return path.suffix.lower() == ".npy" and not path.is_dir()

    def open_labelled(self, images: Path, labels: Path, wanted: Wanted) -> ArrayRows:
        """Return the rows of one ``.npy`` file with the labels of another. Raises DataError."""
        if images.is_dir() or images.suffix.lower() != ".npy":
            raise DataError(f"{labels} holds an array of labels, and {images} is no .npy file", "give --images x.npy")
        with readable(images):
            return _paired(map_npy(images), map_npy(labels), (str(images), str(labels)), images, wanted)


def _places(folder: Path, split: Split) -> list[Path]:
    named = [folder / f"{split}.npz", *([folder / PAIR[0]] if split == "val" else [])]
    return [file for file in named if file.exists()]


def _of_archive(file: Path, wanted: Wanted, split: Split) -> ArrayRows:
    members = npz_members(file)
    named = [_member(file, members, usual) for usual in (IMAGES[split], LABELS[split])]
    images, labels = (read_member(file, name) for name in named)
    return _paired(images, labels, (f"{file}, member {named[0]}", f"{file}, member {named[1]}"), file, wanted)


def _member(file: Path, members: Sequence[str], usual: Sequence[str]) -> str:
    found = [name for name in usual if name in members]
    if len(found) != 1:
        told = f"more than one of {', '.join(found)}" if found else f"none of {', '.join(usual)}"
        raise DataError(f"{file}: holds {told} ({some(members, 6)})", "name the two arrays images and labels")
    return found[0]


def _paired(images: Array, labels: Array, places: tuple[str, str], path: Path, wanted: Wanted) -> ArrayRows:
    _hold_images(images, places[0])
    if labels.ndim == 0 or len(labels) != len(images):
        count = len(labels) if labels.ndim else "no rows of"
        raise DataError(f"{places[1]}: {count} labels for the {len(images)} images of {places[0]}", "give one for each")
    targets, notes = labels_of_array(labels, wanted, places[1])
    return ArrayRows(images, targets, path, notes)


def _hold_images(images: Array, place: str) -> None:
    """Raise DataError unless these are pixels, a row an image, channels last."""
    if images.dtype != np.uint8:
        raise DataError(
            f"{place}: images are {images.dtype}; the steps of a recipe begin with pixels, uint8",
            "save the pixels as they were before any arithmetic: 0 to 255",
        )
    if images.ndim not in (3, 4):
        raise DataError(f"{place}: images are {images.shape}", "save them as (N, H, W, C), or (N, H, W) for grey")
    if images.ndim == 4 and images.shape[1] in CHANNELS and images.shape[3] not in CHANNELS:
        raise DataError(
            f"{place}: images are {images.shape}, plane by plane (N, C, H, W)",
            "save them as (N, H, W, C): images.transpose(0, 2, 3, 1)",
        )
