"""What a line of predictions.jsonl tells of a vector, and the figures computed anew from all lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.embeddings.pairs import all_pairs, drawn_pairs
from modelport.tasks.embeddings.resampled import VectorFigures
from modelport.tasks.embeddings.retrieval import queries_of
from modelport.tasks.embeddings.side import Side
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.packed import unpacked

Floats = NDArray[np.float64]
# As in the figures, cosines are compared to so many decimals; a vector without direction is near to none.
DECIMALS, NOWHERE = 12, -2.0
FALSE_ACCEPTS = 1e-3
_BLOCK = 256


def judged(line: Mapping[str, Any]) -> Judged:
    """Return whether the vector is the source's; no image alone is right or wrong."""
    return Judged(line["target"], line["agrees"])


def recount(lines: Iterable[Mapping[str, Any]], seed: int) -> Recounted:
    """Return the task's figures of engine and source, in percent, from curves over all cosines in order.

    None of a side that lacks a vector (beyond ``packed.MOST_PACKED`` numbers), and none where no pair of a kind is
    there. Which pairs and queries are drawn, of many, is the scorer's own seeded draw: another would be other figures.
    The figures over resamples are the scorer's own, of the vectors in the lines.

    Raises KeyError, TypeError or ValueError for lines of another form.
    """
    whole = list(lines)
    if any(line["target"] is None for line in whole):
        return Recounted({}, {})
    if not all(isinstance(line["target"], int) and abs(line["target"]) < 2**63 for line in whole):
        raise ValueError("an identity is no whole number of 64 bits")
    labels = np.array([line["target"] for line in whole], np.int64)
    kinds, counts = np.unique(labels, return_counts=True)
    if len(kinds) < 2 or counts.max() < 2:
        return Recounted({}, {})
    queries, drawn = queries_of(labels, seed), drawn_pairs(labels, seed)
    sides = [_vectors([line[key] for line in whole]) for key in ("vector", "source_vector")]
    engine, source = ({} if rows is None else _figures(rows, labels, queries, drawn) for rows in sides)
    mine, theirs = (None if rows is None else Side.of(rows, labels, queries, drawn) for rows in sides)
    if mine is None or theirs is None:
        return Recounted(engine, source)
    drops = VectorFigures(labels, drawn or all_pairs(labels), queries, (mine, theirs))
    return Recounted(engine, source, drops)


def _vectors(packed: Sequence[str | None]) -> Array | None:
    """Return the vectors (N, D), None where one is missing."""
    rows = [unpacked(text) for text in packed if text is not None]
    return np.stack(rows) if len(rows) == len(packed) else None


def _figures(rows: Array, labels: Array, queries: Array, drawn: tuple[Array, Array] | None) -> dict[str, float]:
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        units = wide / np.linalg.norm(wide, axis=1)[:, None]
    return {**_verification(units, labels, drawn), **_retrieval(units, labels, queries)}


def _verification(units: Floats, labels: Array, drawn: tuple[Array, Array] | None) -> dict[str, float]:
    same, cosines = _pairs(units, labels, drawn)
    right, wrong = _levels(cosines, same)
    accepted, mistaken = right / right[-1], wrong / wrong[-1]
    return {
        "verification_accuracy": 50.0 * max(1.0, float((accepted + 1.0 - mistaken).max())),
        "tar_at_far_1e-3": 100.0 * float(accepted[mistaken <= FALSE_ACCEPTS].max(initial=0.0)),
    }


def _pairs(units: Floats, labels: Array, drawn: tuple[Array, Array] | None) -> tuple[Array, Floats]:
    """Return of each pair whether it is of one identity, and its cosine; of all pairs where none are drawn."""
    same, cosines = [], []
    if drawn is None:
        for image, row in _searches(units, range(len(units))):
            same.append(labels[image + 1 :] == labels[image])
            cosines.append(row[image + 1 :])
    else:
        for first, second in np.array_split(np.concatenate(drawn, axis=1), 500, axis=1):
            same.append(labels[first] == labels[second])
            cosines.append(_rounded((units[first] * units[second]).sum(axis=1)))
    return np.concatenate(same), np.concatenate(cosines)


def _retrieval(units: Floats, labels: Array, queries: Array) -> dict[str, float]:
    first, precision = [], []
    for query, row in _searches(units, queries.tolist()):
        right, wrong = _levels(np.delete(row, query), np.delete(labels == labels[query], query))
        steps = np.diff(right, prepend=0) / right[-1]
        first.append(right[0] > 0 and wrong[0] == 0)
        precision.append(float((steps * right / (right + wrong)).sum()))
    return {"rank1": 100.0 * fmean(first), "retrieval_mAP": 100.0 * fmean(precision)}


def _searches(units: Floats, images: Sequence[int]) -> Iterator[tuple[int, Floats]]:
    """Yield images with their cosines to all, (N,)."""
    for start in range(0, len(images), _BLOCK):
        block = list(images[start : start + _BLOCK])
        with np.errstate(invalid="ignore"):
            yield from zip(block, _rounded(units[block] @ units.T), strict=True)


def _levels(cosines: Floats, same: Array) -> tuple[Array, Array]:
    """Return how many of one identity, and of two, are at least as near as each distinct cosine, the nearest first."""
    order = np.argsort(-cosines)
    ends = np.append(np.flatnonzero(np.diff(cosines[order])), len(order) - 1)
    right = np.cumsum(same[order])[ends]
    return right, ends + 1 - right


def _rounded(cosines: Floats) -> Floats:
    return np.where(np.isnan(cosines), NOWHERE, np.round(cosines, DECIMALS))
