"""Figures of pairs and of queries, where each image counts a number of times."""

from __future__ import annotations

import math

import numpy as np

from modelport.core.values import Array
from modelport.tasks.embeddings.pairs import FALSE_ACCEPTS, NOWHERE
from modelport.tasks.embeddings.side import OF_PAIRS, Side, verified
from modelport.tasks.judged import Multiplicities


class VectorFigures:
    """``verification_accuracy``, ``tar_at_far_1e-3`` and ``retrieval_mAP`` over any resample of the images.

    A run draws images, so images are resampled. A pair counts as often as one of its images times the other; an image
    is no pair with its own repetition, whose cosine of 1 no data set has. The pairs are those of the figures: all, or
    those that were drawn. A query counts as often as its image, and searches the images as they are: repeated ones
    would lie before each other in every search.

    ``differ`` counts images with a pair that the engine decides otherwise at one of the source's thresholds, and
    queries with another average precision.
    """

    def __init__(self, pairs: tuple[Array, Array], queries: Array, sides: tuple[Side, Side]) -> None:
        """Take pairs of one identity and of two, int (2, P) each, queries (Q,), and what engine and source give."""
        self._pairs, self._queries = pairs, queries
        self._accepted = [side.accepted for side in sides]
        self._precisions = [100.0 * side.precision for side in sides]
        self.images = sides[0].images
        self.differ = _differ(pairs, queries, *sides)
        self.work = 5 * (pairs[0].shape[1] + pairs[1].shape[1]) + 3 * len(queries)

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures in percent; NaN where no pair of a kind, or no query, is left."""
        wide = weights.astype(np.float64)
        genuine, impostor = (wide[first] * wide[second] for first, second in self._pairs)
        paired = bool(genuine.any() and impostor.any())
        asked = wide[self._queries]
        total = float(asked.sum()) or math.nan
        engine, source = (
            (verified(accepted, (genuine, impostor)) if paired else dict.fromkeys(OF_PAIRS, math.nan))
            | {"retrieval_mAP": float(asked @ precision) / total}
            for accepted, precision in zip(self._accepted, self._precisions, strict=True)
        )
        return engine, source


def _differ(pairs: tuple[Array, Array], queries: Array, engine: Side, source: Side) -> int:
    """Return how many images take part in what the engine decides otherwise."""
    found = np.zeros(source.images, bool)
    found[queries[(engine.precision != source.precision) | (engine.first != source.first)]] = True
    accepted, mistaken = source.accepted.rates()
    # The thresholds of both figures; before the first of them nothing is accepted.
    chosen = int((accepted - mistaken).argmax()), int(np.flatnonzero(mistaken <= FALSE_ACCEPTS)[-1])
    for threshold in {float(source.accepted.thresholds[place - 1]) for place in chosen if place}:
        # Between two cosines: on one of them that pair itself would be decided by the last bit.
        below = max(side[side < threshold].max(initial=2 * NOWHERE) for side in (source.genuine, source.impostor))
        limit = (threshold + below) / 2
        for (first, second), mine, theirs in (
            (pairs[0], engine.genuine, source.genuine),
            (pairs[1], engine.impostor, source.impostor),
        ):
            flipped = (mine >= limit) != (theirs >= limit)
            found[first[flipped]] = found[second[flipped]] = True
    return int(found.sum())
