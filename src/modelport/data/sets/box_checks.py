"""What annotations of boxes say, held against itself and against the images' real sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.values import Sample
from modelport.data.sets.boxed import Boxed, Categories, flat_note
from modelport.data.sets.images import ImageFiles, Size, seen_size

# The headers of the published validation split are read within two seconds; of more, as many evenly spaced.
MOST_HEADERS = 5000
# Published boxes leave their image by rounding, up to a pixel.
ROUNDING = 1.5


def boxed_set(place: object, images: Sequence[Boxed], categories: Categories, notes: Sequence[str] = ()) -> ImageFiles:
    """Return the data set of these images, sorted by id, with what is odd about it. Raises DataError as the checks."""
    every = [box for one in images for box in one.boxes]
    odd = [*flat_note(place, every), *check_boxes(place, images)]
    if every and all(box.crowd for box in every):
        odd.append(f"{place}: every box is a crowd's, so no figure can be measured")
    samples = (Sample(one.id, one.truth(), one.path) for one in images)
    return ImageFiles(tuple(sorted(samples, key=lambda sample: sample.id)), (*notes, *odd), categories)


def check_boxes(place: object, images: Sequence[Boxed]) -> list[str]:
    """Return what is odd about boxes and sizes, for people. ``place`` names the file or folder that tells of them.

    Raises DataError where no figure could be right: boxes in shares of the image where pixels are meant, corners in
    place of sizes, images of another size than the boxes are for.
    """
    every = np.concatenate([np.zeros((0, 4)), *(one.places for one in images)])
    if not len(every):
        return [f"{place}: there is no annotation, so no figure can be measured"]
    if not any(one.shares for one in images) and every.min() >= 0 and every.max() <= 1 and np.any(every % 1):
        raise DataError(
            f"{place}: all boxes lie between 0 and 1: they look like shares of the image",
            "write pixels: multiply by the image's width and height",
        )
    notes, sizes = _check_sizes(place, images)
    known = [(one, size) for one, size in zip(images, sizes, strict=True) if size is not None and one.boxes]
    out = sum(int(_outside(one.places, size).sum()) for one, size in known)
    if out and all(_as_corners(one, size) for one, size in known):
        middle = known[0][0].shares
        raise DataError(
            f"{place}: {out} of {len(every)} boxes leave their image, and none does if read as corners x1, y1, x2, y2",
            "write the middle's x and y, then width and height"
            if middle
            else "write x, y, width, height: width is x2 - x1, height is y2 - y1",
        )
    if out:
        notes.append(f"{place}: {out} of {len(every)} boxes leave their image")
    return notes


def _check_sizes(place: object, images: Sequence[Boxed]) -> tuple[list[str], list[Size | None]]:
    """Return notes on images that are of another size than declared, and the size of each as far as it is known.

    Shares have been multiplied by what their image is: nothing is declared of them but that.
    """
    sizes = [one.declared for one in images]
    odd, turned = 0, 0
    places = sorted((place for place, one in enumerate(images) if not one.shares), key=lambda at: images[at].image_id)
    for at in places[:: max(1, -(-len(places) // MOST_HEADERS))]:
        one = images[at]
        if (found := seen_size(one.path)) is None:
            continue  # what is no image is told when it is decoded
        size, is_turned = found
        sizes[at], want = size, one.declared or size
        if want == size:
            continue
        if is_turned and want == size[::-1]:
            turned += 1
        elif one.boxes and (_outside(one.places, size).any() or _is_scaled(want, size)):
            raise DataError(
                f"{one.told} is {want[0]} × {want[1]} there, and {one.path} is {size[0]} × {size[1]}: "
                "its boxes are for another size",
                "take the images that the boxes were drawn on, neither resized nor rotated",
            )
        else:
            odd += 1
    notes = [f"{place}: the width or height of {odd} images is not the image's, which is taken"] if odd else []
    if turned:
        notes.append(
            f"{place}: {turned} images are turned by their EXIF orientation, and their width and height there are "
            "those before the turn; boxes are taken as for the turned image"
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


def _as_corners(one: Boxed, size: Size) -> bool:
    """Whether the numbers of a file lie in the image if they are read as corners."""
    if one.numbers is None:
        return False
    limit = np.array([1.0, 1.0]) if one.shares else np.array(size) + ROUNDING
    starts, ends = one.numbers[:, :2], one.numbers[:, 2:]
    return bool(np.all(ends >= starts) and np.all(ends <= limit))
