"""Masks in PNG files: a class for every pixel, as the number of its palette's colour or its shade of grey."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modelport.core.errors import BadSampleError, DataError
from modelport.core.files import open_regular, read_regular
from modelport.core.values import MAX_SAMPLE_BYTES
from modelport.data.prepare.decoding import told_of
from modelport.data.prepare.image_limits import NO_IMAGE, check_area, check_work

SUFFIX = ".png"
# Pillow's modes of PNGs that hold a number a pixel: a palette's place, grey of 1 to 8 and of 16 bits.
NUMBERS = ("P", "L", "1", "I;16", "I;16B", "I")
MEND = "mend the mask, or take image and mask out of the data set"


@dataclass(frozen=True, slots=True)
class MaskFile:
    """One mask, read when it is asked for."""

    path: Path

    def read(self) -> NDArray[np.uint16]:
        """Return the numbers (H, W), uint16.

        Raises DataError where the file cannot be read, is no PNG of numbers, or larger than an image may be.
        """
        content = read_regular(self.path, MAX_SAMPLE_BYTES, DataError, MEND)
        try:
            with told_of(str(self.path)), Image.open(io.BytesIO(content), formats=("PNG",)) as image:
                _check(image, content, self.path)
                return np.asarray(image).astype(np.uint16)
        except BadSampleError as error:
            raise DataError(error.found, MEND) from error


def size_of_mask(path: Path) -> tuple[int, int]:
    """Return width and height from the header. Raises DataError where the file is no PNG of numbers."""
    try:
        with told_of(str(path)), open_regular(path) as stream, Image.open(stream, formats=("PNG",)) as image:
            _check(image, None, path)
            return image.size
    except BadSampleError as error:
        raise DataError(error.found.replace(NO_IMAGE, "no PNG"), MEND) from error


def _check(image: Image.Image, content: bytes | None, path: Path) -> None:
    check_area(image.width, image.height, str(path))
    if content is not None:
        check_work(content, image.format, image.width, image.height, str(path))
    if image.mode not in NUMBERS:
        raise DataError(
            f"{path}: is of colours (mode {image.mode}): which class a colour stands for is not told",
            "save the masks with a palette or in grey, the class of a pixel as its number",
        )
