"""Retrieval: each image is a query against all others; those of its identity are to come first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.curves import chance_precision, precisions
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


def retrieved(units: Array, labels: Array, queries: Array) -> Iterator[tuple[bool, NDArray[np.float64]]]:
    """Yield whether each query's nearest image is of its identity, and the precision at each that is, 0 to 1, (P,).

    ``units`` (N, D) directions. An image of another identity that is as near counts as nearer.
    """
    for start in range(0, len(queries), _BLOCK):
        block = queries[start : start + _BLOCK]
        for query, found in zip(block, cosines(units[block], units), strict=True):
            others = np.arange(len(labels)) != query
            scores, same = found[others], labels[others] == labels[query]
            yield bool(scores[same].max() > scores[~same].max(initial=-np.inf)), precisions(scores, same)


def chance(labels: Array, queries: Array) -> tuple[float, float]:
    """Return what vectors that know nothing have on average, 0 to 1: rank-1, and mean average precision."""
    names, counts = np.unique(labels, return_counts=True)
    others = dict(zip(names.tolist(), (counts - 1).tolist(), strict=True))
    n = len(labels) - 1
    positives = [others[int(labels[query])] for query in queries]
    known = {count: chance_precision(count, n) for count in set(positives)}
    return float(np.mean(positives)) / n, float(np.mean([known[count] for count in positives]))
