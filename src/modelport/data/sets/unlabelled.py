"""A folder of images without labels."""

from __future__ import annotations

import os
from pathlib import Path

from modelport.core.errors import DataError
from modelport.core.values import Sample
from modelport.data.sets.imagenet import IMAGE_SUFFIXES, _suffix


def open_unlabelled(folder: Path) -> tuple[Sample, ...]:
    """Return the images that lie in ``folder`` itself, sorted by name; the target is None, no image is opened.

    What is no image is passed over. Raises DataError where there is none, or where the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _suffix(entry.name) in IMAGE_SUFFIXES and entry.is_file()]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}", "check the path") from error
    plain = sorted(name for name in names if not name.startswith("."))
    if not plain:
        raise DataError(f"{folder} holds no images", "give a folder of images, or a data set in the recipe's layout")
    return tuple(Sample(name, None, folder / name) for name in plain)
