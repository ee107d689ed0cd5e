"""What a metric is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from modelport.core.values import Tensors


@dataclass(frozen=True, slots=True)
class Score:
    """One figure with what is needed to judge it. ``value`` and ``stderr`` are in ``unit``."""

    value: float
    unit: str
    n: int
    stderr: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the score as the result file holds it."""
        return {"value": self.value, "unit": self.unit, "n": self.n, "stderr": self.stderr}


class Metric(Protocol):
    """Counts in batches; merging two equals one long update."""

    def update(self, outputs: Tensors, targets: Sequence[Any]) -> None:
        """Count one batch. Rows of ``outputs`` and ``targets`` agree in number; padding is gone already."""

    def merge(self, other: Self) -> None:
        """Add what another metric of the same kind has counted."""

    def compute(self) -> dict[str, Score]:
        """Return the figures by name; raises DataError where nothing was counted."""
