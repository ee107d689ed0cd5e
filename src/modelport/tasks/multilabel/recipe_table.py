"""The table ``[multilabel]`` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelport.recipes.steps import Strict


class Threshold(Strict):
    """How scores become a set of classes."""

    activation: Literal["sigmoid", "none"]
    """What is done to an output first: ``sigmoid`` to logits, ``none`` to probabilities."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A class whose probability is above it is answered."""
