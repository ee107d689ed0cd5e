"""The table ``[keypoints]`` of a recipe."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modelport.recipes.steps import Strict


class Sigmas(Strict):
    """How keypoints are judged."""

    sigmas: Annotated[list[Annotated[float, Field(gt=0, le=10)]], Field(min_length=1)] | None = None
    """Of each keypoint, how exactly people place it, as a share of the thing's size; COCO's where there are 17."""
