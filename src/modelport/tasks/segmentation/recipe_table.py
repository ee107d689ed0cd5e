"""The table ``[segmentation]`` of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelport.recipes.steps import Strict


class Segmentation(Strict):
    """How masks are read."""

    ignore_index: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Pixels of this value in a mask are not counted; 255 where there are fewer classes and it is not told."""
    reduce_zero_label: bool | None = None
    """Whether the masks count classes from 1, and 0 is not counted, as ADE20K's do (mmsegmentation's name for it)."""
