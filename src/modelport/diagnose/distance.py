"""How far one tensor is from another: what a departure is measured by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelport.core.values import Array


@dataclass(frozen=True, slots=True)
class Distance:
    """Of what was got from what was wanted, both flat, in float64."""

    cosine: float | None  # None where one side is zero everywhere, or not finite
    max_abs: float  # infinite where a value is not finite on one side alone
    rel_l2: float  # |got − want| / |want|; the absolute norm where all that was wanted is zero
    nonfinite: int = 0  # values that are NaN or infinite where the wanted ones are not

    def to_json(self) -> dict[str, Any]:
        """Return the three measures as trace.json holds them; what is infinite is None there."""
        told = {"cosine": self.cosine, "max_abs": self.max_abs, "rel_l2": self.rel_l2}
        return {name: value if value is not None and math.isfinite(value) else None for name, value in told.items()}


def distance(got: Array, want: Array) -> Distance:
    """Return how far ``got`` is from ``want``; both of one shape, of any numeric dtype.

    Where both are not finite alike (the same infinity, or NaN twice) a value counts as met. Another shape is infinitely
    far.
    """
    return total_distance([(got, want)])


def total_distance(pairs: Iterable[tuple[Array, Array]]) -> Distance:
    """Return the distance of several tensors, (got, want) each, taken as one long vector."""
    wrong = right = mine = both = largest = 0.0
    broken = 0
    for got, want in pairs:
        if got.shape != want.shape:
            return Distance(None, math.inf, math.inf, int(got.size))
        one, two = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            away = one - two
            far, long = float(away @ away), float(two @ two)
        if not math.isfinite(far + long):
            same = (one == two) | (np.isnan(one) & np.isnan(two))
            whole = np.isfinite(one) & np.isfinite(two)
            broken += int((~np.isfinite(one) & np.isfinite(two)).sum())
            if not (whole | same).all():
                largest = math.inf
            one, two = one[whole], two[whole]
            away = one - two
            far, long = float(away @ away), float(two @ two)
        wrong += far
        right += long
        mine += float(one @ one)
        both += float(one @ two)
        largest = max(largest, float(np.abs(away, out=away).max(initial=0.0)))
    if math.isinf(largest):
        return Distance(None, largest, math.inf, broken)
    far = math.sqrt(wrong / right) if right else math.sqrt(wrong)
    cosine = both / math.sqrt(mine * right) if mine and right else None
    return Distance(cosine, largest, far, broken)
