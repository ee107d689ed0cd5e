"""What the vectors of one side give, the engine's or the source's: cosines of pairs, and what each query finds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.classification.topk import percent
from modelport.tasks.curves import Acceptance
from modelport.tasks.embeddings.asked import Asked
from modelport.tasks.embeddings.pairs import (
    FALSE_ACCEPTS,
    accepted_at,
    best_accuracy,
    directions,
    genuine_and_impostor,
)
from modelport.tasks.embeddings.retrieval import retrieved
from modelport.tasks.scoring import Score

OF_PAIRS = ("verification_accuracy", "tar_at_far_1e-3")


@dataclass(frozen=True, slots=True)
class Side:
    """The cosines of the pairs of one identity and of two, and whether each query finds its own, and how precisely."""

    images: int
    genuine: NDArray[np.float64]
    impostor: NDArray[np.float64]
    accepted: Acceptance
    first: NDArray[np.bool_]
    precision: NDArray[np.float64]
    """Of each query the mean of the precisions at the images that it is to find."""
    each: NDArray[np.float64] | None
    """These precisions, as ``Asked.searches`` lists the images; None where they are not kept."""

    @staticmethod
    def of(rows: Array, asked: Asked) -> Side:
        """Take vectors (N, D)."""
        units = directions(rows)
        genuine, impostor = genuine_and_impostor(units, asked.labels, asked.drawn)
        first, means, each = [], [], []
        for nearest, found in retrieved(units, asked.labels, asked.queries):
            first.append(nearest)
            means.append(float(found.mean()))
            if asked.one_by_one:
                each.append(found)
        kept = np.concatenate(each) if asked.one_by_one else None
        pairs = (genuine, impostor, Acceptance(genuine, impostor))
        return Side(len(rows), *pairs, np.array(first), np.array(means), kept)

    def scores(self) -> dict[str, Score]:
        """Return the task's figures."""
        # Pairs share images, so that no simple formula tells the error of a figure of pairs.
        pairs = {name: Score(value, "percent", self.images, None) for name, value in verified(self.accepted).items()}
        n, precision = len(self.first), 100.0 * self.precision
        stderr = float(precision.std(ddof=1) / math.sqrt(n)) if n > 1 else None
        queries = {"rank1": percent(int(self.first.sum()), n)}
        return pairs | queries | {"retrieval_mAP": Score(float(precision.mean()), "percent", n, stderr)}


def verified(accepted: Acceptance, weights: tuple[Array, Array] | None = None) -> dict[str, float]:
    """Return the figures of pairs in percent; ``weights`` of both kinds say how often each counts."""
    rates = accepted.rates(weights)
    found = best_accuracy(*rates), accepted_at(*rates, FALSE_ACCEPTS)
    return {name: 100.0 * share for name, share in zip(OF_PAIRS, found, strict=True)}
