"""What is asked of vectors: which pairs are of one identity, and which images each query is to find."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.embeddings.pairs import all_pairs, drawn_pairs
from modelport.tasks.embeddings.retrieval import queries_of

# Identities from which on they are what is resampled: as many as resamples must have to show that a figure is kept.
ENOUGH_IDENTITIES = 100
# Images to be found, of all queries together, whose precision is kept one by one: 128 MiB of each side.
MOST_SOUGHT = 2**24


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions, the same for engine and source."""

    labels: NDArray[np.int64]
    """The identity of each image, (N,)."""
    identities: int
    queries: NDArray[np.int64]
    """Images, (Q,)."""
    drawn: tuple[Array, Array] | None
    """Pairs of one identity and of two, int (2, P) each, where not all are taken."""
    sought: int
    """How many images the queries are to find, all together."""

    @staticmethod
    def of(labels: Array, seed: int) -> Asked | None:
        """Return the questions, of which many are drawn with a seed; None where no pair of a kind is there."""
        kinds, unit_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
        queries = queries_of(labels, seed)
        if not len(queries) or len(kinds) < 2:
            return None
        sought = int((counts[unit_of[queries]] - 1).sum())
        return Asked(labels, len(kinds), queries, drawn_pairs(labels, seed), sought)

    @property
    def by_identity(self) -> bool:
        """Whether identities are what is resampled; else images are."""
        return self.identities >= ENOUGH_IDENTITIES

    @property
    def one_by_one(self) -> bool:
        """Whether the precision at each image that is to be found is kept: images of one identity count unequally."""
        return not self.by_identity and self.sought <= MOST_SOUGHT

    def pairs(self) -> tuple[Array, Array]:
        """Return the pairs of one identity and of two, int (2, P) each."""
        return self.drawn or all_pairs(self.labels)

    def searches(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which query, by its place, is to find which image, (M,) each: query by query, images in order."""
        places, images = [], []
        for place, query in enumerate(self.queries.tolist()):
            same = np.flatnonzero(self.labels == self.labels[query])
            images.append(same[same != query])
            places.append(np.full(len(same) - 1, place))
        return np.concatenate(places), np.concatenate(images)
