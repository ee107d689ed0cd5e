"""Weighted nearest-neighbour accuracy of features (Wu et al. 2018, arXiv:1805.01978)."""

from __future__ import annotations

import numpy as np

from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.tasks.classification.topk import percent
from modelport.tasks.scoring import Score

# Similarities held at a time: 64 MiB of float32.
BLOCK = 16 * 1024 * 1024


def knn_top1(
    bank: Array, bank_labels: Array, queries: Array, query_labels: Array, k: int = 200, temperature: float = 0.07
) -> Score:
    """Return how often the ``k`` most similar rows of ``bank`` name a query's label, each with weight exp(cosine / t).

    ``bank`` (m, D) and ``queries`` (n, D) float, labels int from 0. Of equally similar rows the first count, of
    equally heavy labels the lowest wins. A query that has no direction (NaN, infinity, all zeros) is wrong; such a
    row of the bank is nobody's neighbour. Raises DataError where either set is empty.
    """
    if not len(bank) or not len(queries):
        raise DataError("no sample for knn_top1", "check --data and --limit: both splits need samples")
    known, usable = _units(bank)
    asked, sound = _units(queries)
    voices = np.eye(int(max(bank_labels.max(), 0)) + 1, dtype=np.float32)[bank_labels]
    voices[~usable] = 0
    size = max(1, BLOCK // len(bank))
    right = 0
    for start in range(0, len(queries), size):
        part = slice(start, start + size)
        # Unit rows are finite. A vectorised product of short rows may still raise the processor's flag for "invalid":
        # it multiplies what lies beside them too, and throws that away.
        with np.errstate(invalid="ignore"):
            cosines = asked[part] @ known.T
            cosines[:, ~usable] = -2  # below every cosine
            votes = _weights(cosines, min(k, len(bank)), temperature) @ voices
        heard = votes.any(axis=1) & sound[part]
        right += int(((votes.argmax(axis=1) == query_labels[part]) & heard).sum())
    return percent(right, len(queries))


def _units(rows: Array) -> tuple[Array, Array]:
    """Return the rows at length 1, float32 (N, D), zeros for one that has no direction; and which have one."""
    wide = rows.astype(np.float64)
    length = np.sqrt((wide * wide).sum(axis=1))
    sound = np.isfinite(length) & (length > 0)
    units = np.zeros(rows.shape, np.float32)
    units[sound] = wide[sound] / length[sound, None]
    return units, sound


def _weights(cosines: Array, k: int, temperature: float) -> Array:
    """Return exp(cosine / t), up to a factor per row, for the ``k`` largest of each row and 0 for the others."""
    last = np.partition(cosines, cosines.shape[1] - k, axis=1)[:, cosines.shape[1] - k, None]
    chosen = cosines >= last
    crowded = np.flatnonzero(chosen.sum(axis=1) > k)
    ties = cosines[crowded] == last[crowded]
    above = (chosen[crowded] & ~ties).sum(axis=1, keepdims=True)
    chosen[crowded] &= ~ties | (ties.cumsum(axis=1) <= k - above)
    # The largest exponent is 0: exp would overflow float32 at small temperatures.
    powers = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / np.float32(temperature), dtype=np.float32)
    weights: Array = np.where(chosen, powers, np.float32(0))
    return weights
