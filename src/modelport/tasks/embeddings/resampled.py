"""Figures of pairs and of queries, where each image counts a number of times."""

from __future__ import annotations

import math

import numpy as np

from modelport.core.values import Array
from modelport.tasks.embeddings.pairs import FALSE_ACCEPTS, NOWHERE
from modelport.tasks.embeddings.side import OF_PAIRS, Side, verified
from modelport.tasks.judged import Multiplicities

# Identities from which on they are what is resampled.
ENOUGH_IDENTITIES = 100


class VectorFigures:
    """``verification_accuracy``, ``tar_at_far_1e-3`` and ``retrieval_mAP`` over any resample of the identities.

    What is hard in one image of a face is hard in its others, so that identities are independent of each other and
    images are not. An identity that counts w times is w identities alike: its pairs count w times, its pairs with one
    that counts v times w·v times, and its queries w times. There are no pairs between its repetitions, whose images are
    the same. Of fewer than ENOUGH_IDENTITIES images are resampled, and a pair counts as often as one image times the
    other; what is found holds for more images of these identities, and nothing is known of others.

    The pairs are those of the figures: all, or those that were drawn. A query searches the images as they are: sorting
    all images anew for every query takes too long, and repeated ones would lie before each other.

    ``differ`` counts identities, or images, with a pair that the engine decides otherwise at one of the source's
    thresholds, or with a query of another average precision.
    """

    def __init__(self, labels: Array, pairs: tuple[Array, Array], queries: Array, sides: tuple[Side, Side]) -> None:
        """Take identities (N,), pairs of one and of two, int (2, P) each, queries (Q,); what engine and source give."""
        identities, unit_of = np.unique(labels, return_inverse=True)
        self.by_identity = len(identities) >= ENOUGH_IDENTITIES
        self._unit_of = unit_of if self.by_identity else np.arange(len(labels))
        self._pairs, self._queries = pairs, queries
        self._accepted = [side.accepted for side in sides]
        self._precisions = [100.0 * side.precision for side in sides]
        self.images = len(identities) if self.by_identity else len(labels)
        self.differ = len(np.unique(self._unit_of[_differ(pairs, queries, *sides)]))
        self.work = 5 * (pairs[0].shape[1] + pairs[1].shape[1]) + 3 * len(queries)

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures in percent; NaN where no pair of a kind, or no query, is left."""
        wide = weights[self._unit_of].astype(np.float64)
        genuine, impostor = (wide[first] * wide[second] for first, second in self._pairs)
        if self.by_identity:
            genuine = wide[self._pairs[0][0]]
        paired = bool(genuine.any() and impostor.any())
        asked = wide[self._queries]
        total = float(asked.sum()) or math.nan
        engine, source = (
            (verified(accepted, (genuine, impostor)) if paired else dict.fromkeys(OF_PAIRS, math.nan))
            | {"retrieval_mAP": float(asked @ precision) / total}
            for accepted, precision in zip(self._accepted, self._precisions, strict=True)
        )
        return engine, source


def _differ(pairs: tuple[Array, Array], queries: Array, engine: Side, source: Side) -> Array:
    """Return which images (N,) take part in what the engine decides otherwise."""
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
    return found
