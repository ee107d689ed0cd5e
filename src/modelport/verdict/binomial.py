"""Shares of samples: the tails of the binomial distribution, and the exact interval of a share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from modelport.tasks.judged import Floats


@lru_cache(maxsize=16)
def log_factorials(n: int) -> Floats:
    """Return log(k!) for k = 0 … n; not to be written to."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    logs.flags.writeable = False
    return logs


def at_least(hits: int, n: int, share: float) -> float:
    """Return P(X ≥ hits) for X binomial(n, share), summed in logarithms: exact but for rounding."""
    if hits <= 0 or share >= 1.0:
        return 1.0
    if share <= 0.0:
        return 0.0
    counts, logs = np.arange(hits, n + 1), log_factorials(n)
    terms = logs[n] - logs[counts] - logs[n - counts] + counts * math.log(share) + (n - counts) * math.log1p(-share)
    return float(min(1.0, np.exp(terms).sum()))


def at_most(hits: int, n: int, share: float) -> float:
    """Return P(X ≤ hits) for X binomial(n, share)."""
    return at_least(n - hits, n, 1.0 - share)


def clopper_pearson(hits: int, n: int, error: float) -> tuple[float, float]:
    """Return the exact interval of a binomial share that misses it with a chance of at most ``error``.

    Clopper and Pearson, Biometrika 26 (1934) 404; found by halving.
    """

    def bound(holds: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2.0
            low, high = (middle, high) if holds(middle) else (low, middle)
        return (low + high) / 2.0

    lower = 0.0 if hits == 0 else bound(lambda share: at_least(hits, n, share) <= error / 2.0)
    upper = 1.0 if hits == n else bound(lambda share: 1.0 - at_least(hits + 1, n, share) > error / 2.0)
    return lower, upper
