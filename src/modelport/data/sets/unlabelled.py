"""Images without labels: a folder and all folders in it."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from modelport.core.errors import DataError
from modelport.core.values import Sample
from modelport.data.sets.base import DataKind, Split, Wanted
from modelport.data.sets.images import IMAGE_SUFFIXES, ImageFiles, hold_folder, image_files, readable, stem_of


class Unlabelled(DataKind):
    """The kind ``images``: a folder of images without labels."""

    def open(self, folder: Path, wanted: Wanted, split: Split) -> ImageFiles:
        """List the images in ``folder`` and below. Raises DataError."""
        return open_images(folder, split=split)


def open_images(folder: Path, *, classes: int | None = None, split: Literal["val", "train"] = "val") -> ImageFiles:
    """List the visible images in ``folder`` and in the folders in it; the target is None, no image is opened.

    A sample's id is its path below ``folder`` without the suffix; with it, where two files would have one id. Links to
    folders are not followed, what is no image is passed over. ``classes`` says nothing here.
    Raises DataError where there is none, or for the training split: of images without labels there is one split.
    """
    if split == "train":
        raise DataError(f"{folder}: images without labels have no training split", "give a data set with labels")
    hold_folder(folder, "give a folder of images")
    with readable(folder):
        paths = images_below(folder)
    if not paths:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"{folder} holds no images, nor does any folder in it", f"give a folder of images ({kinds})")
    names = [stem_of(name) for name in paths]
    alike = len(set(names)) < len(names)
    samples = (Sample(name if alike else stem_of(name), None, path) for name, path in paths.items())
    said = f"{folder}: some files differ in their suffix alone, so that ids are names with it"
    return ImageFiles(tuple(sorted(samples, key=lambda sample: sample.id)), (said,) if alike else ())


def images_below(folder: Path, leave_out: Collection[str] = ()) -> dict[str, Path]:
    """Return the images by their path below ``folder``, with ``/`` between its parts.

    Links to folders are not followed; folders in ``folder`` itself of the names ``leave_out`` are not looked into.
    Raises OSError, DataError.
    """

    def fail(error: OSError) -> None:
        raise error

    found = {}
    for place, folders, _ in os.walk(folder, onerror=fail):
        left_out = leave_out if place == str(folder) else ()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in left_out)
        for path in image_files(Path(place)).values():
            below = path.relative_to(folder).as_posix()
            # Python spells bytes that are no UTF-8 as lone surrogates; such an id could be written into no report.
            if re.search("[\ud800-\udfff]", below):
                raise DataError(f"{os.fsencode(path)!r}: the name is not UTF-8", "rename it")
            found[below] = path
    return found
