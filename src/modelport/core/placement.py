"""Where an image lies in the network's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import RecipeError
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

    def points_to_image(self, points: Array) -> NDArray[np.float64]:
        """Return points (n, 2), x y in network pixels, in pixels of the image; they may lie outside of it."""
        shift, scale = np.array([self.pad_left, self.pad_top]), np.array([self.scale_x, self.scale_y])
        mapped: NDArray[np.float64] = (np.asarray(points, np.float64).reshape(-1, 2) - shift) / scale
        return mapped


def known(placement: Placement | None) -> Placement:
    """Return where an image lies. Raises RecipeError where the steps do not tell."""
    if placement is None:
        raise RecipeError(
            "where an image lies in the network's input is not known: a resize follows a crop",
            "crop last, or let a letterbox or a resize bring the image to the input's size",
        )
    return placement


@dataclass(frozen=True, slots=True)
class GuidePlacement(Placement):
    """A placement by which boxes go back as the NAS-FPN guide's script takes them: up to a pixel elsewhere.

    There both sides have the one scale that the image was fitted by, though the resized sides are whole pixels, the
    padding follows from the sides before rounding, and a corner is clipped on its own side only.
    """

    canvas: tuple[int, int] = (640, 640)  # width and height of the network's input

    @staticmethod
    def of(placement: Placement, canvas: tuple[int, int]) -> GuidePlacement:
        """Return the guide's placement of the same image."""
        own = (placement.image_width, placement.image_height, placement.scale_x, placement.scale_y)
        return GuidePlacement(*own, placement.pad_left, placement.pad_top, canvas)

    def to_image(self, boxes: Array) -> NDArray[np.float64]:
        """Return boxes (n, 4), x1 y1 x2 y2 in network pixels, in pixels of the image, as the script does."""
        size = np.array([self.image_width, self.image_height], np.float64)
        canvas = np.array(self.canvas, np.float64)
        scale = float((canvas / size).min())
        shift = (canvas - size * scale) // 2
        mapped: NDArray[np.float64] = (np.asarray(boxes, np.float64).reshape(-1, 2, 2) - shift) / scale
        mapped[:, 0] = np.maximum(mapped[:, 0], 0)
        mapped[:, 1] = np.minimum(mapped[:, 1], size)
        return mapped.reshape(-1, 4)
