"""The table ``[contrastive]`` of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from modelport.recipes.steps import Strict


class Contrastive(Strict):
    """How pairs of views are judged."""

    pairs_per_batch: PositiveInt
    pairs: Literal["in_order", "with_replacement"]
    """``with_replacement`` draws the published script's batches at random, seeded."""
