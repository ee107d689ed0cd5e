"""Where an image lies in the network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array


@dataclass(frozen=True, slots=True)
class Placement:
    """An image of ``image_width`` × ``image_height`` pixels, scaled and then shifted into the network's input.

    A point ``x`` of the image lies at ``x * scale_x + pad_left``. The scales differ in the last digits, because the
    resized sides are whole pixels.
    """

    image_width: int
    image_height: int
    scale_x: float
    scale_y: float
    pad_left: int
    pad_top: int

    def to_image(self, boxes: Array) -> NDArray[np.float64]:
        """Return boxes (n, 4), x1 y1 x2 y2 in network pixels, in pixels of the image, clipped to it."""
        shift = np.array([self.pad_left, self.pad_top] * 2, np.float64)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float64)
        edge = np.array([self.image_width, self.image_height] * 2, np.float64)
        mapped: NDArray[np.float64] = np.clip((np.asarray(boxes, np.float64).reshape(-1, 4) - shift) / scale, 0, edge)
        return mapped

    def to_network(self, boxes: Array) -> NDArray[np.float64]:
        """Return boxes (n, 4), x1 y1 x2 y2 in pixels of the image, in network pixels."""
        shift = np.array([self.pad_left, self.pad_top] * 2, np.float64)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float64)
        placed: NDArray[np.float64] = np.asarray(boxes, np.float64).reshape(-1, 4) * scale + shift
        return placed
