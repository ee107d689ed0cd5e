"""Retrieval: each image is a query against all others; those of its identity are to come first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.curves import average_precision, chance_precision
from modelport.tasks.embeddings.pairs import cosines

# Queries beyond these are left out: each is a sort of all images.
MOST_QUERIES = 10_000
_BLOCK = 256


def queries_of(labels: Array, seed: int) -> NDArray[np.int64]:
    """Return the images that have another one of their identity, in order: at most MOST_QUERIES, drawn with a seed."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    found = np.flatnonzero(counts[inverse] > 1)
    if len(found) > MOST_QUERIES:
        found = np.sort(np.random.default_rng(seed).choice(found, MOST_QUERIES, replace=False))
    return found


def retrieved(units: Array, labels: Array, queries: Array) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether each query's nearest image is of its identity, and its average precision (0 to 1), (Q,) each.

    ``units`` (N, D) directions. An image of another identity that is as near counts as nearer.
    """
    first, precision = np.zeros(len(queries), bool), np.zeros(len(queries))
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        for row, (query, found) in enumerate(zip(block, cosines(units[block], units), strict=True), start):
            others = np.arange(len(labels)) != query
            scores, same = found[others], labels[others] == labels[query]
            first[row] = scores[same].max() > scores[~same].max(initial=-np.inf)
            precision[row] = average_precision(scores, same)
    return first, precision


def chance(labels: Array, queries: Array) -> tuple[float, float]:
    """Return what vectors that know nothing have on average, 0 to 1: rank-1, and mean average precision."""
    names, counts = np.unique(labels, return_counts=True)
    others = dict(zip(names.tolist(), (counts - 1).tolist(), strict=True))
    n = len(labels) - 1
    positives = [others[int(labels[query])] for query in queries]
    known = {count: chance_precision(count, n) for count in set(positives)}
    return float(np.mean(positives)) / n, float(np.mean([known[count] for count in positives]))
