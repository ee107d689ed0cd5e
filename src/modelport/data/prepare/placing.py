"""Where an image lies in the network's input after resizing and cropping, without any padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modelport.core.placement import Placement
from modelport.data.prepare.geometry import Size, corner
from modelport.data.prepare.letterbox import Box
from modelport.recipes.chain import resized_size
from modelport.recipes.steps import CenterCrop, Resize, ResizeShorter, Step


@dataclass(frozen=True, slots=True)
class ChainBox(Box):
    """The steps ``resize``, ``resize_shorter`` and, after them, ``center_crop``: an image may reach beyond the input.

    What a crop cuts off lies at negative places, or beyond the input's sides; no step at all leaves it where it is.
    """

    geometry: tuple[Step, ...]

    @staticmethod
    def of(geometry: Sequence[Step]) -> ChainBox | None:
        """Return what these steps make, None where a resize after a crop leaves the corner between two pixels."""
        cut = next((place for place, step in enumerate(geometry) if isinstance(step, CenterCrop)), len(geometry))
        scaled_late = any(isinstance(step, Resize | ResizeShorter) for step in geometry[cut:])
        return None if scaled_late else ChainBox(tuple(geometry))

    def place(self, width: int, height: int, name: str) -> tuple[Placement, Size]:
        """Return the place, and the size after the last resize, before any crop."""
        size = shown = (width, height)
        left = top = 0
        for step in self.geometry:
            match step:
                case ResizeShorter():
                    size = shown = resized_size(step.size, size)
                case Resize():
                    size = shown = (step.width, step.height)
                case CenterCrop():
                    across, down = corner(step, shown)
                    left, top, shown = left - across, top - down, (step.size, step.size)
        return Placement(width, height, size[0] / width, size[1] / height, left, top), size
