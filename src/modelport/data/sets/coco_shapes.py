"""The shapes of COCO's annotations: polygons, encoded masks and keypoints, each held to be what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.text import plain
from modelport.core.values import LabelForm, Outline
from modelport.data.prepare.image_limits import MAX_PIXELS

# A point farther out lies in no image, and an outline that is longer is drawn by nobody: filling one takes memory for
# each of its pixels.
FARTHEST, LONGEST = 100_000.0, 1_000_000.0
# Of a number in an encoded mask: seven characters of five bits hold every count of pixels.
MOST_CHARACTERS = 7
MOST_KEYPOINTS = 1_000
_DRAW = "write polygons [[x1, y1, x2, y2, …]], or {size: [height, width], counts: …}"


def shape_of(place: str, row: Mapping[str, Any], form: LabelForm) -> Outline | NDArray[np.float64] | None:
    """Return what the label form asks for beside a box: an outline, keypoints (P, 3), or None.

    ``place`` names file and annotation in errors. Raises DataError.
    """
    if form == "outlines":
        return _outline(place, row.get("segmentation"))
    return _keypoints(place, row.get("keypoints")) if form == "keypoints" else None


def _outline(place: str, value: Any) -> Outline:
    if isinstance(value, dict):
        return _encoded(place, value)
    if not isinstance(value, list) or not value:
        found = "there is no segmentation" if value in (None, []) else f"segmentation {_short(value)} is no outline"
        raise DataError(f"{place}: {found}", f"{_DRAW}; or take the task detection, which needs boxes alone")
    polygons, length = [], 0.0
    for number, points in enumerate(value):
        if not isinstance(points, list) or len(points) < 6 or len(points) % 2 or not all(map(_is_place, points)):
            raise DataError(
                f"{place}: polygon {number} of its segmentation is no list of x and y of three points or more, within "
                f"±{FARTHEST:g} pixels: {_short(points)}",
                _DRAW,
            )
        corners = np.array(points, np.float64).reshape(-1, 2)
        length += float(np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1).sum())
        if length > LONGEST:
            raise DataError(f"{place}: its segmentation is more than {LONGEST:g} pixels long", _DRAW)
        corners.flags.writeable = False
        polygons.append(corners)
    return Outline(tuple(polygons))


def _encoded(place: str, value: Mapping[str, Any]) -> Outline:
    """Return a mask in runs: how many pixels are outside, inside, outside …, column by column."""
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise DataError(f"{place}: the size {_short(size)} of its segmentation is not height and width", _DRAW)
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise DataError(f"{place}: its segmentation is for {size[1]} × {size[0]} pixels, beyond the limit", _DRAW)
    runs = _decoded(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run <= pixels for run in runs):
        raise DataError(f"{place}: the counts {_short(counts)} of its segmentation are no runs of pixels", _DRAW)
    if sum(runs) != pixels:
        found = f"the counts of its segmentation are {sum(runs)} pixels, its size says {size[1]} × {size[0]}"
        raise DataError(f"{place}: {found}", _DRAW)
    return Outline(runs=np.array(runs, np.uint32), size=(size[0], size[1]))


def _decoded(text: str) -> list[int] | None:
    """Return the runs of COCO's compressed text, None where it is none (rleFrString of cocoapi's maskApi.c).

    Five bits a character, the lowest first, bit 6 tells that more follow; from the third on, a number is the difference
    from the one before the last.
    """
    runs: list[int] = []
    value = place = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or place == MOST_CHARACTERS:
            return None
        value |= (code & 0x1F) << 5 * place
        place += 1
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << 5 * place
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = place = 0
    return None if place else runs


def _keypoints(place: str, value: Any) -> NDArray[np.float64] | None:
    """Return keypoints (P, 3): x, y, visibility; None where the annotation has none."""
    if value is None:
        return None
    good = isinstance(value, list) and 0 < len(value) <= 3 * MOST_KEYPOINTS and len(value) % 3 == 0
    if not good or not all(map(_is_place, value)):
        raise DataError(
            f"{place}: keypoints {_short(value)} are no x, y and visibility of each point",
            "write x1, y1, v1, x2, y2, v2, …, in pixels",
        )
    points = np.array(value, np.float64).reshape(-1, 3)
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        raise DataError(
            f"{place}: a keypoint's visibility is {points[~np.isin(points[:, 2], (0, 1, 2)), 2][0]:g}",
            "write 0 (not labelled), 1 (labelled, hidden) or 2 (seen)",
        )
    points.flags.writeable = False
    return points


def _is_place(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and -FARTHEST <= value <= FARTHEST


def _short(value: Any) -> str:
    return "(none)" if value is None else plain(repr(value)[:80])
