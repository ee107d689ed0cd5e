"""What COCO annotations say, held against itself and against the images' real sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.data.sets.images import Size, seen_size

# The headers of the published validation split are read within two seconds; of more, as many evenly spaced.
MOST_HEADERS = 5000
# Published boxes leave their image by rounding, up to a pixel.
ROUNDING = 1.5
# No image format has a longer side; arithmetic on a wider number would overflow.
MOST_PIXELS = 2**32

Boxes = Mapping[int, NDArray[np.float64]]
"""(n, 4) x, y, width, height by image id."""


def check_boxes(
    file: Path, images: Mapping[int, Mapping[str, Any]], paths: Mapping[int, Path], boxes: Boxes
) -> list[str]:
    """Return what is odd about the boxes and sizes, for people.

    ``images`` are the file's rows and ``paths`` the images, by id. Raises DataError where no figure could be right:
    boxes in shares of the image, corners in place of sizes, images of another size than the boxes are for.
    """
    every = np.concatenate([np.zeros((0, 4)), *boxes.values()])
    if not len(every):
        return [f"{file}: there is no annotation, so no figure can be measured"]
    if every.min() >= 0 and every.max() <= 1 and np.any(every % 1):
        raise DataError(
            f"{file}: all boxes lie between 0 and 1: they look like shares of the image",
            "write x, y, width, height in pixels: multiply by the image's width and height",
        )
    declared = {number: size for number, row in images.items() if (size := _declared(row)) is not None}
    notes, sizes = _check_sizes(file, declared, paths, boxes)
    known = [(boxes[number], size) for number, size in (declared | sizes).items() if len(boxes[number])]
    out = sum(int(_outside(some, size).sum()) for some, size in known)
    if out and _all_corners(known):
        raise DataError(
            f"{file}: {out} of {len(every)} boxes leave their image, and none does if read as corners x1, y1, x2, y2",
            "write x, y, width, height: width is x2 - x1, height is y2 - y1",
        )
    if out:
        notes.append(f"{file}: {out} of {len(every)} boxes leave their image")
    return notes


def _declared(row: Mapping[str, Any]) -> Size | None:
    width, height = row.get("width"), row.get("height")
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if min(width, height) > 0 and max(width, height) < MOST_PIXELS else None


def _check_sizes(
    file: Path, declared: Mapping[int, Size], paths: Mapping[int, Path], boxes: Boxes
) -> tuple[list[str], dict[int, Size]]:
    """Return notes on images that are of another size than declared, and the sizes that were read, by id."""
    sizes: dict[int, Size] = {}
    odd, turned = 0, 0
    numbers = sorted(paths)
    for number in numbers[:: -(-len(numbers) // MOST_HEADERS)]:
        if (found := seen_size(paths[number])) is None:
            continue  # what is no image is told when it is decoded
        size, is_turned = found
        sizes[number] = size
        want = declared.get(number, size)
        if want == size:
            continue
        if is_turned and want == size[::-1]:
            turned += 1
        elif len(boxes[number]) and (_outside(boxes[number], size).any() or _is_scaled(want, size)):
            raise DataError(
                f"{file}: image {number} is {want[0]} × {want[1]} there, and {paths[number]} is {size[0]} × {size[1]}: "
                "its boxes are for another size",
                "take the images that the boxes were drawn on, neither resized nor rotated",
            )
        else:
            odd += 1
    notes = [f"{file}: the width or height of {odd} images is not the image's, which is taken"] if odd else []
    if turned:
        notes.append(
            f"{file}: {turned} images are turned by their EXIF orientation, and their width and height there are those "
            "before the turn; boxes are taken as for the turned image"
        )
    return notes, sizes


def _outside(boxes: NDArray[np.float64], size: Size) -> NDArray[np.bool_]:
    ends = boxes[:, :2] + boxes[:, 2:]
    outside: NDArray[np.bool_] = np.any((boxes[:, :2] < -ROUNDING) | (ends > np.array(size) + ROUNDING), axis=1)
    return outside


def _is_scaled(want: Size, size: Size) -> bool:
    """Whether one size is the other resized, each side rounded."""
    scale = size[0] / want[0]
    return abs(scale - 1) > 0.02 and abs(want[1] * scale - size[1]) <= 1 + scale


def _all_corners(known: list[tuple[NDArray[np.float64], Size]]) -> bool:
    return all(
        bool(np.all(boxes[:, 2:] >= boxes[:, :2]) and np.all(boxes[:, 2:] <= np.array(size) + ROUNDING))
        for boxes, size in known
    )
