"""The table ``[instances]`` of a recipe."""

from __future__ import annotations

from typing import Literal

from modelport.recipes.steps import Strict


class Instances(Strict):
    """How the masks of instances are read."""

    frame: Literal["box", "input"] | None = None
    """What a mask covers: its box, as Mask R-CNN's 28 × 28, or the whole input; told by its size where it is clear."""
    threshold: float | None = None
    """A pixel is the thing's where its value is this or more; 0.5, of probabilities, where it is left out."""
