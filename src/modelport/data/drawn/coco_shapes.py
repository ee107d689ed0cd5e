"""The outlines and keypoints of drawn things, as COCO's annotations have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The outermost pixels of a thing, and the middle of its box.
POINTS = ["left", "top", "right", "bottom", "middle"]


def shapes(solid: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> dict[str, Any]:
    """Return ``segmentation`` (runs, column by column), ``keypoints`` and ``num_keypoints`` of a thing.

    ``solid`` (h, w) are its pixels, ``corner`` is where they begin, ``size`` the picture's width and height.
    """
    whole = np.zeros(size[::-1], bool)
    whole[corner[1] : corner[1] + solid.shape[0], corner[0] : corner[0] + solid.shape[1]] = solid
    flat = whole.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
    counts = [0, *runs] if flat[0] else runs
    points = [value for x, y in _points(solid) for value in (x + corner[0], y + corner[1], 2)]
    segmentation = {"size": [size[1], size[0]], "counts": counts}
    return {"segmentation": segmentation, "keypoints": points, "num_keypoints": len(POINTS)}


def _points(solid: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Return x and y of ``POINTS``, in pixels of the thing's box."""
    rows, columns = (np.flatnonzero(solid.any(axis=axis)) for axis in (1, 0))
    left, right, top, bottom = columns[0], columns[-1], rows[0], rows[-1]

    def middle(line: NDArray[np.bool_]) -> float:
        return float(np.flatnonzero(line).mean()) + 0.5

    return [
        (float(left), middle(solid[:, left])),
        (middle(solid[top]), float(top)),
        (float(right + 1), middle(solid[:, right])),
        (middle(solid[bottom]), float(bottom + 1)),
        (float(left + right + 1) / 2, float(top + bottom + 1) / 2),
    ]
