"""How far one tensor is from another: what a departure is measured by."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelport.core.magnitude import chunks
from modelport.core.values import Array


@dataclass(frozen=True, slots=True)
class Distance:
    """Of what was got from what was wanted, both flat, in float64."""

    cosine: float | None  # None where one side is zero everywhere, or the sum of its squares is not finite
    max_abs: float  # infinite where a value is not finite on one side alone
    rel_l2: float  # |got − want| / |want|; the absolute norm where all that was wanted is zero
    nonfinite: int = 0  # values that are NaN or infinite where the wanted ones are not

    def to_json(self) -> dict[str, Any]:
        """Return the three measures as trace.json holds them; what is infinite is None there."""
        told = {"cosine": self.cosine, "max_abs": self.max_abs, "rel_l2": self.rel_l2}
        return {name: value if value is not None and math.isfinite(value) else None for name, value in told.items()}


NOWHERE = Distance(None, math.inf, math.inf)  # of what is not there at all


def distance(got: Array, want: Array) -> Distance:
    """Return how far ``got`` is from ``want``; both of one shape, of any numeric dtype.

    Where both are not finite alike (the same infinity, or NaN twice) a value counts as met. Another shape is infinitely
    far.
    """
    return total_distance([(got, want)])


def total_distance(pairs: Iterable[tuple[Array, Array]]) -> Distance:
    """Return the distance of several tensors, (got, want) each, taken as one long vector."""
    sums = _Sums()
    for got, want in pairs:
        if got.shape != want.shape:
            return NOWHERE
        for one, two in zip(chunks(got), chunks(want), strict=True):
            sums.add(one, two)
    if not math.isfinite(sums.largest + sums.wrong):
        return Distance(None, sums.largest, math.inf, sums.broken)
    # Squares of float64 may be too large or too small for it, where float32's never are.
    far = math.sqrt(sums.wrong / sums.right) if sums.right else math.sqrt(sums.wrong)
    long = math.sqrt(sums.mine) * math.sqrt(sums.right)
    return Distance(sums.both / long if 0 < long < math.inf else None, sums.largest, far, sums.broken)


@dataclass(slots=True)
class _Sums:
    wrong: float = 0.0  # of squares, of what is away from what was wanted
    right: float = 0.0  # of what was wanted
    mine: float = 0.0  # of what was got
    both: float = 0.0  # of products
    largest: float = 0.0
    broken: int = 0

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, one: Array, two: Array) -> None:
        """Add float64 values (n,), got and wanted; values that are not finite on both sides alike are left out."""
        away = one - two
        far, long = float(away @ away), float(two @ two)
        if not math.isfinite(far + long):
            same = (one == two) | (np.isnan(one) & np.isnan(two))
            whole = np.isfinite(one) & np.isfinite(two)
            self.broken += int((~np.isfinite(one) & np.isfinite(two)).sum())
            if not (whole | same).all():
                self.largest = math.inf
            one, two = one[whole], two[whole]
            away = one - two
            far, long = float(away @ away), float(two @ two)
        self.wrong += far
        self.right += long
        self.mine += float(one @ one)
        self.both += float(one @ two)
        self.largest = max(self.largest, float(np.abs(away, out=away).max(initial=0.0)))
