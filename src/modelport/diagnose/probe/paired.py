"""Whether one way of answering earns more than another of the same samples, for certain.

Of answers that are right or wrong, exactly by their counts; else by Student's paired test. Samples that both answer
alike tell nothing of the difference, so that those that differ count as its sample, as in ``verdict.bootstrap``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelport.tasks.judged import Floats
from modelport.verdict.binomial import clopper_pearson
from modelport.verdict.bootstrap import student
from modelport.verdict.comparison import sign_test

# The smallest p-value that is told.
LEAST_P = 1e-12
# What differs by less is rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Gains:
    """What each sample earns more, (n,), from −1 to 1."""

    each: Floats

    @staticmethod
    def of(base: Floats, other: Floats) -> Gains:
        """Take what both earn of the same samples, (n,) each, from 0 to 1."""
        return Gains(np.asarray(other - base, np.float64))

    @property
    def points(self) -> float:
        """The mean, in points of percent."""
        return 100.0 * float(self.each.mean()) if len(self.each) else 0.0

    @property
    def stderr(self) -> float:
        """The standard error of ``points``."""
        n = len(self.each)
        return 100.0 * float(self.each.std(ddof=1)) / math.sqrt(n) if n > 1 else math.inf

    @property
    def differ(self) -> int:
        """Samples that do not earn the same."""
        return int((np.abs(self.each) > ROUNDING).sum())

    @property
    def _counted(self) -> bool:
        """Whether samples are gained or lost whole: answers that are right or wrong."""
        return bool(np.isin(self.each, (-1.0, 0.0, 1.0)).all())

    def p_value(self) -> float:
        """Return the chance of such a gain or more, were there none; that of answers right or wrong is exact."""
        if self._counted:
            return sign_test(int((self.each > 0).sum()), int((self.each < 0).sum()))
        if self.differ < 2 or self.points <= 0.0 or self.stderr <= 0.0:
            return 1.0
        reached = self.points / (self.stderr * self._wider)
        # In its logarithm, between an even chance and next to none.
        low, high = math.log(LEAST_P), math.log(0.5)
        for _ in range(40):
            middle = (low + high) / 2.0
            enough = student(1.0 - math.exp(middle), self.differ - 1) <= reached
            low, high = (low, middle) if enough else (middle, high)
        return math.exp(high)

    def interval(self, error: float) -> tuple[float, float]:
        """Return the bounds of the gain in points; both together err in at most ``error`` of all samples.

        Of answers that are right or wrong it is exact: the shares of gained and of lost ones, each at half the error.
        """
        n = len(self.each)
        if self._counted and n:
            gained, lost = (clopper_pearson(int((self.each == sign).sum()), n, error / 2.0) for sign in (1.0, -1.0))
            return 100.0 * (gained[0] - lost[1]), 100.0 * (gained[1] - lost[0])
        if self.differ < 2:
            return -100.0, 100.0
        wide = student(1.0 - error / 2.0, self.differ - 1) * self.stderr * self._wider
        return max(-100.0, self.points - wide), min(100.0, self.points + wide)

    @property
    def _wider(self) -> float:
        return math.sqrt(self.differ / (self.differ - 1))
