"""Durations → a histogram that shows most of them in detail, and a long tail in a few bins beside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# Bins of equal width at most, and of the tail behind them; one more holds what lies far below. Thirty in all.
BODY, TAIL = 24, 5
# Quartiles, and what tells the spread where these are one value; the last pair is all of it.
SPREADS = ((25.0, 75.0), (10.0, 90.0), (0.0, 100.0))
# How many spreads from the quartiles a duration belongs to the tail: Tukey's outer fence (Exploratory Data Analysis,
# 1977, chapter 2).
FENCE = 3.0
# Clocks tell no less than a nanosecond, in ms.
CLOCK_STEP = 1e-6


def histogram(milliseconds: Sequence[float]) -> dict[str, list[Any]]:
    """Return ``edges`` (ms, rising, one more than bins) and ``counts`` of one duration or more, in 30 bins at most.

    A bin takes what is at least its lower and less than its upper edge, the last one its upper edge, too; the counts
    sum to the number of durations. Between Tukey's outer fences, three spreads (of the quartiles) below the lower and
    above the upper quartile, bins have one width, and are as many as the square root of the number of durations, 24 at
    most. What lies above is counted in up to 5 bins, each of which ends so many times as far out as the one before,
    twice at least where there are two; what lies below, in one. So a tail of any length takes no resolution from the
    rest. Where all are one value, a single bin begins there.
    """
    values = np.asarray(milliseconds, np.float64)
    low, high = float(values.min()), float(values.max())
    if low == high:
        return {"edges": [low, low + max(low / 1000, CLOCK_STEP)], "counts": [len(values)]}
    edges = np.unique(_edges(values, low, high))  # neighbours that no float parts are one
    counts, _ = np.histogram(values, edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _edges(values: np.ndarray[Any, Any], low: float, high: float) -> np.ndarray[Any, Any]:
    pairs = ((float(left), float(right)) for left, right in (np.percentile(values, pair) for pair in SPREADS))
    left, right = next((left, right) for left, right in pairs if left < right)
    spread = right - left
    begin, end = max(low, left - FENCE * spread), min(high, right + FENCE * spread)
    body = np.linspace(begin, end, min(BODY, math.ceil(math.sqrt(len(values)))) + 1)
    tail = []
    if end < high:
        tail = np.geomspace(end, high, min(TAIL, max(1, int(math.log2(high / end)))) + 1)[1:-1].tolist()
    return np.array([low, *body, *tail, high])
