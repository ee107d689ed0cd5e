"""Images with annotated boxes, whatever file tells of them, and the data set that they make once they are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.text import plain
from modelport.core.values import Outline, Truth
from modelport.data.sets.base import Wanted
from modelport.data.sets.class_names import ClassNames
from modelport.data.sets.images import Size

# No image format has a longer side; arithmetic on a wider number would overflow.
MOST_PIXELS = 2**32
Categories = tuple[tuple[int, str], ...]
"""(category id, name) by class index."""


class Box(NamedTuple):
    """One annotated box: x, y, width, height in pixels of its image."""

    place: tuple[float, float, float, float]
    category: int
    crowd: bool
    area: float
    shape: Outline | NDArray[np.float64] | None = None
    """An outline, or keypoints (P, 3), where they were asked for."""


@dataclass(frozen=True, slots=True)
class Boxed:
    """One image and its boxes. ``told`` names the file, and the image in it, in messages."""

    id: str
    path: Path
    told: str
    image_id: int
    boxes: Sequence[Box]
    declared: Size | None = None
    """Width and height that the annotations tell."""
    numbers: NDArray[np.float64] | None = None
    """(n, 4) as they stand in the file, where they may have been meant as corners; else None."""
    shares: bool = False
    """``numbers`` are shares of the image's sides, not pixels."""

    @property
    def places(self) -> NDArray[np.float64]:
        """(n, 4): x, y, width, height."""
        return np.array([box.place for box in self.boxes], np.float64).reshape(-1, 4)

    def truth(self) -> Truth:
        """Return the boxes as the metric takes them; its arrays cannot be written to."""
        truth = Truth(
            self.image_id,
            self.places,
            np.array([box.category for box in self.boxes], np.int64),
            np.array([box.crowd for box in self.boxes], np.bool_),
            np.array([box.area for box in self.boxes], np.float64),
            tuple(box.shape for box in self.boxes if isinstance(box.shape, Outline)),
            self._keypoints(),
        )
        for array in (truth.boxes, truth.category_ids, truth.iscrowd, truth.areas):
            array.flags.writeable = False
        return truth

    def _keypoints(self) -> NDArray[np.float64] | None:
        """Return the keypoints (n, P, 3), those of a box without any as not labelled; None where no box has some.

        Raises DataError where they are not as many for all.
        """
        found = [box.shape for box in self.boxes]
        counts = {len(points) for points in found if isinstance(points, np.ndarray)}
        if len(counts) > 1:
            raise DataError(
                f"{self.told}: {' and '.join(map(str, sorted(counts)))} keypoints", "give each thing as many keypoints"
            )
        if not counts:
            return None
        none = np.zeros((counts.pop(), 3))
        return np.stack([points if isinstance(points, np.ndarray) else none for points in found])


def declared_size(width: Any, height: Any) -> Size | None:
    """Return a size that annotations tell, None where it is none of an image."""
    if type(width) is not int or type(height) is not int:
        return None
    return (width, height) if min(width, height) > 0 and max(width, height) < MOST_PIXELS else None


def flat_note(place: object, boxes: Iterable[Box]) -> tuple[str, ...]:
    """Return what is to be said of boxes without width or height."""
    flat = sum(box.place[2] <= 0 or box.place[3] <= 0 for box in boxes)
    return (f"{place}: {flat} boxes without width or height, which no detection meets",) if flat else ()


def model_classes(place: object, names: Sequence[str], wanted: Wanted) -> tuple[list[int], tuple[str, ...]]:
    """Return the model's class of each name that a data set has for its classes, in its order, and what is to be said.

    The recipe's names decide where it has some; else the order does, and there must be as many classes as the model
    knows. Raises DataError.
    """
    if wanted.names or wanted.class_map:
        known = ClassNames(wanted)
        labels = [known.named(name) for name in names]
        for name, label in zip(names, labels, strict=True):
            if label is None:
                raise DataError(f"{place}: no class of the model is named {plain(repr(name), 60)}", known.fix(name))
        return [label for label in labels if label is not None], known.notes(place)
    if len(names) != wanted.known:
        raise DataError(
            f"{place}: {len(names)} categories, the model knows {wanted.known} classes",
            "choose the recipe that fits the data, or the annotations that fit the model; where the data have some of "
            "the model's classes, name these in dataset.names of the recipe",
        )
    return list(range(len(names))), ()


def repeated(names: Iterable[str]) -> list[str]:
    """Return the names that come more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def numbered(names: Sequence[str], wanted: Wanted) -> Categories:
    """Return the categories of a set whose category ids are the model's classes: named by the recipe, else by these."""
    chosen = wanted.names or (() if wanted.class_map else names) or [str(label) for label in range(wanted.known)]
    return tuple(enumerate(chosen))
