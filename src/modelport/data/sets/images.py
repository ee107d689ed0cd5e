"""What data sets of image files have in common, and the simplest of them: a folder of images without labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from PIL import Image

from modelport.core.errors import DataError, raised_as
from modelport.core.files import open_regular
from modelport.core.values import Sample
from modelport.data.prepare.image_limits import FORMATS

Size = tuple[int, int]
IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ImageFiles(Sequence[Sample]):
    """The samples of one split, sorted by id."""

    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    """What a reader of a result must know about the labels or annotations."""
    categories: tuple[tuple[int, str], ...] = ()
    """(category id, name) by class index, where the data set names them."""

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        return self.samples[index]

    def __repr__(self) -> str:
        return f"ImageFiles({len(self)} samples)"


def open_unlabelled(folder: Path) -> tuple[Sample, ...]:
    """Return the images that lie in ``folder`` itself, sorted by name; the target is None, no image is opened.

    What is no image is passed over. Raises DataError where there is none, or where the folder cannot be read.
    """
    with raised_as(DataError, str(folder), "check the path", OSError):
        found = image_files(folder)
    if not found:
        raise DataError(f"{folder} holds no images", "give a folder of images, or a data set in the recipe's layout")
    return tuple(Sample(name, None, path) for name, path in sorted(found.items()))


def image_files(folder: Path) -> dict[str, Path]:
    """Return the visible image files that lie in ``folder`` itself, by name. Raises OSError."""
    with os.scandir(folder) as entries:
        return {
            entry.name: Path(entry.path)
            for entry in entries
            if suffix_of(entry.name) in IMAGE_SUFFIXES and not entry.name.startswith(".") and entry.is_file()
        }


def suffix_of(name: str) -> str:
    """Return a name's last suffix, in lower case."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 (a Path for each of 50,000 names is slow)


def stem_of(name: str) -> str:
    """Return the name without its suffix where that is an image's; label files may leave it out."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix in IMAGE_SUFFIXES else name


def seen_size(path: Path) -> tuple[Size, bool] | None:
    """Return width and height as the image is seen, and whether EXIF turns it; None for what is no image."""
    try:
        with open_regular(path) as stream, Image.open(stream, formats=FORMATS) as image:
            width, height = image.size
            # Of a PNG without the chunk, Pillow would decode all pixels to look for it.
            lying = "exif" in image.info and image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
    except MemoryError:
        raise
    except Exception:  # whatever Pillow's parsers stumble over
        return None
    return ((height, width) if lying else (width, height)), lying


@contextmanager
def readable(place: Path) -> Iterator[None]:
    """Raise DataError, naming the file, else ``place``, for what of a data set cannot be read inside."""
    try:
        yield
    except OSError as error:
        file = os.fsdecode(error.filename) if error.filename else place
        raise DataError(f"{file} cannot be read: {error.strerror or error}", "check the permissions") from error


def hold_folder(place: Path, fix: str) -> None:
    """Raise DataError unless ``place`` is a folder."""
    if not place.is_dir():
        raise DataError(f"{place} {'is a file, not a folder' if place.exists() else 'does not exist'}", fix)
