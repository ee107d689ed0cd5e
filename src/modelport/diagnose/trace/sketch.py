"""What is kept of a tensor so that others can be held against it: its shape and a few hundred of its values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelport.core.magnitude import root_mean_square
from modelport.core.values import Array

VALUES = 512


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """``values`` (VALUES,) float64, drawn with replacement at places that hang on the number of elements alone."""

    shape: tuple[int, ...]
    values: Array
    norm: float  # of the whole tensor, root mean square; NaN where not all is finite


def sketch(array: Array) -> Sketch:
    """Return the sketch of a numeric tensor of any shape."""
    flat = array.reshape(-1)
    if not flat.size:
        return Sketch(array.shape, np.zeros(0), 0.0)
    places = np.random.default_rng(flat.size).integers(0, flat.size, VALUES)
    return Sketch(array.shape, flat[places].astype(np.float64), root_mean_square(array))


def apart(got: Sketch, want: Sketch) -> float:
    """Return about the relative L2 distance of two tensors; infinite where their shapes differ.

    The mean square over values at random places is about that over all of them. The wholes' norms tell apart tensors
    whose values at these places are the same by chance.
    """
    if got.shape != want.shape:
        return math.inf
    if not got.values.size:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        same = (got.values == want.values) | (np.isnan(got.values) & np.isnan(want.values))
        far = float(np.sqrt(np.mean(np.where(same, 0.0, got.values - want.values) ** 2)))
    if not math.isfinite(want.norm):
        return far if math.isfinite(far) and not math.isfinite(got.norm) else math.inf
    far = max(far, abs(got.norm - want.norm))
    if not math.isfinite(far):
        return math.inf
    return far / want.norm if want.norm else far
