"""What a metric is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Protocol, Self

import numpy as np

from modelport.core.values import Array, RowId, Tensors


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


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a data set with the engine's answers and, where there are any, the source model's.

    ``outputs`` and ``source`` hold the same rows; ``source`` is None where there is no source model or where one of
    its answers is missing.
    """

    ids: Sequence[RowId]
    targets: Sequence[Any]
    outputs: Tensors
    source: Tensors | None
    placements: Sequence[Any] = ()
    digests: Sequence[str] = ()  # sha256 of each row's sample

    def where(self, kept: Sequence[bool]) -> Rows:
        """Return those of the rows for which ``kept`` is true."""
        mask = np.array(kept, bool)

        def of(side: Tensors) -> dict[str, Array]:
            return {name: array[mask] for name, array in side.items()}

        return Rows(
            ids=tuple(compress(self.ids, kept)),
            targets=tuple(compress(self.targets, kept)),
            outputs=of(self.outputs),
            source=None if self.source is None else of(self.source),
            placements=tuple(compress(self.placements, kept)),
            digests=tuple(compress(self.digests, kept)),
        )


@dataclass(slots=True)
class Figures:
    """What a scorer has found out. ``met`` of ``of`` answers of the source are the engine's too."""

    metrics: dict[str, Score]
    source: dict[str, Score] | None
    met: int = 0
    of: int = 0
    flips: list[dict[str, Any]] = field(default_factory=list)  # the first of them
    flip_count: int = 0
    notes: list[str] = field(default_factory=list)
    chance: dict[str, float] = field(default_factory=dict)  # what guessing gives, in the figure's unit
    offsets: Counter[int] = field(default_factory=Counter)  # (answered class - target) modulo the classes, counted


class Scorer(Protocol):
    """Takes all rows in order and keeps no more than it must."""

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows; return the lines of predictions.jsonl that are complete by now."""

    def finish(self) -> list[dict[str, Any]]:
        """Return the lines that were held back."""

    def figures(self) -> Figures:
        """Return what was found out; raises DataError where nothing was scored."""


class Task(Protocol):
    """How outputs of one kind are judged."""

    smallest_set: int  # samples below which no verdict is given
    tolerated: float  # largest ``difference`` in fp32
    difference_means: str

    def scorer(self, against_source: bool) -> Scorer:
        """Return an empty scorer."""

    def outputs_of(self, raw: Sequence[Array]) -> dict[str, Array]:
        """Return the recipe's outputs for what the PyTorch module answers."""

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return how far a batch of outputs is from the source's, 0 for the same."""

    def sample_of(self, row: str) -> str | None:
        """Return the sample that a row's id stands for; None for its further rows."""


class Flips:
    """Counts answers that are not the source's, and keeps the first of them."""

    LISTED = 100

    def __init__(self) -> None:
        self.first: list[dict[str, Any]] = []
        self.count = self.met = self.of = 0

    def add(self, met: int, of: int, flip: Mapping[str, Any]) -> None:
        """Count one sample: ``met`` of ``of`` answers are the source's; ``flip`` tells it where they are not all."""
        self.met += met
        self.of += of
        if met < of:
            self.count += 1
            if len(self.first) < self.LISTED:
                self.first.append(dict(flip))
