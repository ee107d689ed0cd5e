"""Rows whose hit or miss hangs on a tie: where the outputs were rounded, the digits are too few to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelport.core.values import Array

# Points of a figure that tied rows may move before it is no figure; a tenth of the recipes' tolerance.
TOLERATED_POINTS = 0.1


class Ties:
    """Counts, for each of ``metrics``, the rows that are right or wrong by how a tie is counted; this one finds none.

    ``n`` counts the rows that were looked at.
    """

    count_as_right: bool = False
    """Whether a tie counts for the answer: then it lowers no figure."""

    def __init__(self, metrics: Sequence[str] = ()) -> None:
        self.counts = dict.fromkeys(metrics, 0)
        self.n = 0

    def take(self, outputs: dict[str, Array], targets: Sequence[Any]) -> None:
        """Look at the next rows, in order."""

    def affected(self, metrics: Sequence[str]) -> dict[str, int]:
        """Return the counts, above zero, of these metrics."""
        return {name: self.counts[name] for name in metrics if self.counts.get(name)}

    def points(self, metrics: Sequence[str]) -> dict[str, float]:
        """Return by how many points of percent ties could move these metrics, where they could."""
        return {name: 100.0 * count / self.n for name, count in self.affected(metrics).items()}

    def too_many(self, metrics: Sequence[str]) -> bool:
        """Whether ties could move one of these metrics by more than 0.1 points."""
        return any(points > TOLERATED_POINTS for points in self.points(metrics).values())
