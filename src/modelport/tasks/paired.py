"""Samples that source and engine both answered: how many were right with both, with one alone, with neither."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from modelport.core.values import Array

Unit = Literal["points", "percent_of_reference"]


@dataclass(frozen=True, slots=True)
class Paired:
    """How many samples were answered rightly by whom."""

    both: int
    only_source: int
    only_engine: int
    neither: int

    @staticmethod
    def of(source: Array, engine: Array) -> Paired:
        """Count rows (N,) bool: whether the source's answer is right, and the engine's."""
        both, either = int((source & engine).sum()), int((source | engine).sum())
        return Paired(both, int(source.sum()) - both, int(engine.sum()) - both, len(source) - either)

    def __add__(self, other: Paired) -> Paired:
        """Return the counts of both sets of samples."""
        mine, theirs = ((one.both, one.only_source, one.only_engine, one.neither) for one in (self, other))
        return Paired(*(first + second for first, second in zip(mine, theirs, strict=True)))

    def __sub__(self, part: Paired) -> Paired:
        """Return the counts of the samples that are not in ``part``, some of these."""
        return self + Paired(-part.both, -part.only_source, -part.only_engine, -part.neither)

    @property
    def n(self) -> int:
        """All samples."""
        return self.both + self.only_source + self.only_engine + self.neither

    @property
    def flipped(self) -> int:
        """Samples that one alone answers rightly."""
        return self.only_source + self.only_engine

    def loss(self, unit: Unit) -> float:
        """Return the observed loss, in points or in percent of the source's figure; NaN where that is zero."""
        lost = self.only_source - self.only_engine
        whole = self.n if unit == "points" else self.both + self.only_source
        return 100.0 * lost / whole if whole else math.nan

    def scaled(self, n: int) -> Paired:
        """Return the same shares of so many samples, whole ones; what rounding leaves counts to ``neither``."""
        both, source, engine = (round(cell * n / self.n) for cell in (self.both, self.only_source, self.only_engine))
        return Paired(both, source, engine, max(0, n - both - source - engine))
