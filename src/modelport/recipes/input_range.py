"""What range the network's inputs have: a missing or doubled ``divide`` shows there, before any picture is read."""

from __future__ import annotations

import numpy as np

from modelport.recipes.chain import affine
from modelport.recipes.operations import operations
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Normalize

# Networks are trained on inputs some units wide: [0, 1], [-1, 1], about [-2.7, 2.7], or the bytes as they are.
NARROW, FAR = 0.5, 20.0


def odd_input_range(recipe: Recipe) -> str | None:
    """Return what is odd about the values that the bytes 0 to 255 are normalised to; None for what networks know.

    Far values are odd where ``mean`` and ``std`` belong to pixels of 0 to 1; bytes less a mean, or as they are, reach
    far too, and networks are trained on them.
    """
    if not operations(recipe.preprocess):
        return None
    offsets, divisors = (np.array(numbers) for numbers in affine(recipe.preprocess))
    ends = np.sort([(pixel - offsets) / divisors for pixel in (0.0, 255.0)], axis=0)
    low, high = float(ends[0].min()), float(ends[1].max())
    reach = f"normalised inputs reach from {low:.4g} to {high:.4g}"
    if (ends[1] - ends[0]).min() < NARROW:
        return f"{reach}, and networks are trained on wider ones: mean and std may belong to pixels of 0 to 255"
    step = next((step for step in recipe.preprocess if isinstance(step, Normalize)), None)
    if step is None:
        return None
    mean, std = np.array(step.mean), np.array(step.std)
    of_shares = bool(((mean >= 0) & (mean <= 1) & (std > 0) & (std <= 1)).all() and ((mean > 0) | (std < 1)).any())
    if of_shares and max(-low, high) > FAR:
        return f"{reach}, and mean and std belong to pixels of 0 to 1: divide = 255 may be missing"
    return None
