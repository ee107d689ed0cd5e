"""What is told of an image beside its label: its size, and how bright it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Pixels a side, about, that brightness is the mean of, evenly spread: decoding an image takes a millisecond, and this
# may not take a fiftieth of it.
GRID = 12


def image_facts(size: tuple[int, int], pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """Return width and height in pixels of a decoded image, and the brightness of what is left of it.

    ``size`` is that width and height, ``pixels`` are what the network gets, (H, W, C), before the normalisation:
    brightness is the mean of all their channels, from 0 to 255.
    """
    down, across = (max(1, side // GRID) for side in pixels.shape[:2])
    # Of so few bytes Python's sum is quicker than an array's: it needs no other code than is running already.
    few = pixels[down // 2 :: down, across // 2 :: across].tobytes()
    return {"width": size[0], "height": size[1], "brightness": round(sum(few) / len(few), 1)}
