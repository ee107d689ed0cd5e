"""Verification: are two images of one identity? By the cosine of their vectors, over all pairs or drawn ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array

# All pairs of so many images are taken (eight million); of more, this many of each kind are drawn.
ALL_PAIRS = 4096
DRAWN = 1_000_000
# Below every cosine: what a vector without direction has to any other.
NOWHERE = -2.0
# Vectors that are the same by arithmetic are not so by BLAS, whose last bits hang on where a row lies in its block.
DECIMALS = 12
# The share of pairs of two identities that are accepted by mistake where tar_at_far_1e-3 is read.
FALSE_ACCEPTS = 1e-3
_BLOCK = 512


def directions(rows: Array) -> NDArray[np.float64]:
    """Return vectors (N, D) at length 1, float64; NaN where one has no direction (zeros, NaN, infinity)."""
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.asarray(wide / np.sqrt(np.square(wide).sum(axis=1, keepdims=True)))


def cosines(units: Array, others: Array) -> NDArray[np.float64]:
    """Return the cosines of directions (n, D) and (m, D), (n, m), to 12 decimals; NOWHERE where one has none."""
    with np.errstate(invalid="ignore"):
        return _told(units @ others.T)


def paired_cosines(units: Array, first: Array, second: Array) -> NDArray[np.float64]:
    """Return the cosines of directions ``first`` and ``second`` (int (P,)) of ``units`` (N, D), (P,)."""
    found = np.empty(len(first))
    for start in range(0, len(first), 1 << 14):
        part = slice(start, start + (1 << 14))
        found[part] = np.einsum("pd,pd->p", units[first[part]], units[second[part]])
    return _told(found)


def genuine_and_impostor(
    units: Array, labels: Array, drawn: tuple[Array, Array] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cosines of pairs of one identity, and of two.

    ``units`` (N, D) directions, ``labels`` (N,) int; ``drawn``: the pairs of each kind (2, P), None for all pairs, in
    the order of ``all_pairs``.
    """
    if drawn is not None:
        genuine, impostor = (paired_cosines(units, *pairs) for pairs in drawn)
        return genuine, impostor
    same, other = [], []
    for start in range(0, len(units), _BLOCK):
        found = cosines(units[start : start + _BLOCK], units)
        rows = np.arange(start, start + len(found))[:, None]
        later, equal = np.arange(len(units)) > rows, labels[rows] == labels
        same.append(found[later & equal])
        other.append(found[later & ~equal])
    return np.concatenate(same), np.concatenate(other)


def all_pairs(labels: Array) -> tuple[Array, Array]:
    """Return all pairs of one identity and of two, int32 (2, P) each, the earlier image first; ``labels`` (N,) int."""
    first, second = (part.astype(np.int32) for part in np.triu_indices(len(labels), 1))
    same = labels[first] == labels[second]
    return np.stack([first[same], second[same]]), np.stack([first[~same], second[~same]])


def drawn_pairs(labels: Array, seed: int) -> tuple[Array, Array] | None:
    """Return pairs of one identity and of two, int (2, P) each, drawn with a seed; None where all pairs are few enough.

    Of one identity all are taken where they are no more than DRAWN. Raises nothing: identities are at least two.
    """
    n = len(labels)
    if n <= ALL_PAIRS:
        return None
    rng = np.random.default_rng(seed)
    order = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    pairs = counts * (counts - 1) // 2
    total = int(pairs.sum())
    chosen = np.arange(total) if total <= DRAWN else np.sort(rng.choice(total, DRAWN, replace=False))
    ends = np.cumsum(pairs)
    identity = np.searchsorted(ends, chosen, side="right")
    place = chosen - (ends - pairs)[identity]
    # The pairs of one identity, numbered: the k-th row of the lower triangle begins at k(k - 1)/2.
    later = ((1 + np.sqrt(1 + 8 * place.astype(np.float64))) // 2).astype(np.int64)
    later += (later * (later + 1) // 2 <= place).astype(np.int64)
    later -= (later * (later - 1) // 2 > place).astype(np.int64)
    earlier = place - later * (later - 1) // 2
    genuine = np.stack([order[starts[identity] + earlier], order[starts[identity] + later]])
    return genuine, _impostors(labels, rng)


def _impostors(labels: Array, rng: np.random.Generator) -> Array:
    """Return DRAWN pairs of two identities, drawn with replacement."""
    found = np.zeros((2, 0), np.int64)
    while found.shape[1] < DRAWN:
        pairs = rng.integers(len(labels), size=(2, 2 * DRAWN))
        found = np.concatenate([found, pairs[:, labels[pairs[0]] != labels[pairs[1]]]], axis=1)
    return found[:, :DRAWN]


def best_accuracy(accepted: Array, mistaken: Array) -> float:
    """Return the highest (share of genuine pairs accepted + share of others rejected) / 2, over all thresholds, 0 to 1.

    Of as many pairs of each kind, as in LFW's protocol, this is the share of right answers; of others it counts both
    kinds alike, since nearly all pairs are of two identities. Takes what ``curves.Acceptance.rates`` returns.
    """
    return float(((accepted + 1.0 - mistaken) / 2).max())


def accepted_at(accepted: Array, mistaken: Array, rate: float) -> float:
    """Return the highest share of genuine pairs accepted where at most ``rate`` of the others are, 0 to 1."""
    return float(accepted[mistaken <= rate].max())


def _told(found: Array) -> NDArray[np.float64]:
    return np.asarray(np.where(np.isnan(found), NOWHERE, np.round(found, DECIMALS)))
