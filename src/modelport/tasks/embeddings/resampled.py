"""Figures of pairs and of queries, where each image counts a number of times."""

from __future__ import annotations

import math

import numpy as np

from modelport.core.values import Array
from modelport.tasks.embeddings.asked import Asked
from modelport.tasks.embeddings.pairs import FALSE_ACCEPTS, NOWHERE
from modelport.tasks.embeddings.side import OF_PAIRS, Side, verified
from modelport.tasks.judged import Multiplicities


class VectorFigures:
    """``verification_accuracy``, ``tar_at_far_1e-3`` and ``retrieval_mAP`` over any resample of the identities.

    What is hard in one image of a face is hard in its others, so that identities are independent of each other and
    images are not. An identity that counts w times is w identities alike: its pairs count w times, its pairs with one
    that counts v times w·v times, and its queries w times. There are no pairs between its repetitions, whose images are
    the same. Of fewer than ENOUGH_IDENTITIES images are resampled, and a pair counts as often as one image times the
    other; what is found holds for more images of these identities, and nothing is known of others.

    The pairs are those of the figures: all, or those that were drawn. A query searches the images as they are: sorting
    all images anew for every query takes too long, and repeated ones would lie before each other. Where images are
    resampled, the precision at an image that is to be found counts as often as that image (where not more than
    ``asked.MOST_SOUGHT`` are): it spoils or saves the searches of all others of its identity.

    ``differ`` counts identities, or images, with a pair that the engine decides otherwise at one of the source's
    thresholds, or with a query of another average precision.
    """

    def __init__(self, asked: Asked, engine: Side, source: Side) -> None:
        """Take what engine and source say to what is asked."""
        labels, self._queries, self._by_identity = asked.labels, asked.queries, asked.by_identity
        self._unit_of = np.unique(labels, return_inverse=True)[1] if asked.by_identity else np.arange(len(labels))
        self._pairs = asked.pairs()
        self._searches = asked.searches() if asked.one_by_one else None
        self._accepted = engine.accepted, source.accepted
        self._precisions = [side.precision if side.each is None else side.each for side in (engine, source)]
        self.images = int(self._unit_of.max()) + 1
        self.differ = len(np.unique(self._unit_of[_differ(self._pairs, asked.queries, engine, source)]))
        self.work = 5 * sum(pairs.shape[1] for pairs in self._pairs) + 6 * len(self._precisions[0])

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures in percent; NaN where no pair of a kind, or no query, is left."""
        wide = weights[self._unit_of].astype(np.float64)
        genuine, impostor = (wide[first] * wide[second] for first, second in self._pairs)
        if self._by_identity:
            genuine = wide[self._pairs[0][0]]
        paired = bool(genuine.any() and impostor.any())
        engine, source = (
            (verified(accepted, (genuine, impostor)) if paired else dict.fromkeys(OF_PAIRS, math.nan))
            | {"retrieval_mAP": self._precision(precisions, wide)}
            for accepted, precisions in zip(self._accepted, self._precisions, strict=True)
        )
        return engine, source

    def _precision(self, precisions: Array, weights: Array) -> float:
        """Return the mean average precision in percent; ``weights`` (N,) of the images."""
        asked = weights[self._queries]
        if self._searches is not None:
            places, images = self._searches
            sums, totals = (
                np.bincount(places, each, len(asked)) for each in (weights[images] * precisions, weights[images])
            )
            asked = np.where(totals > 0, asked, 0.0)
            precisions = sums / np.maximum(totals, 1.0)
        total = float(asked.sum())
        return 100.0 * float(asked @ precisions) / total if total else math.nan


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
