"""What two results say of one figure that is a mean over samples: evidence of a change.

The loss is the baseline's figure minus the other's. Every test here errs in at most 5 % of all draws of samples, where
it is asked for 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Floats
from modelport.tasks.paired import Paired, Unit
from modelport.verdict import exact
from modelport.verdict.betting import Game, log_mixture_of
from modelport.verdict.binomial import at_least, at_most, clopper_pearson
from modelport.verdict.sequential import Bets

Side = Literal["pass", "fail"]
"""Whether the loss is smaller than a tolerance, or larger."""


class Evidence(Protocol):
    """What is known of one figure of two results."""

    @property
    def loss(self) -> float:
        """The observed loss in points."""

    @property
    def alike(self) -> bool:
        """Whether it is known that no sample is answered better or worse."""

    def p_value(self, tolerance: float, unit: Unit, side: Side) -> float:
        """Return the chance of evidence as good for ``side``, were the loss on the other side of the tolerance.

        ``tolerance`` in points, or in percent of the baseline's figure; 0 is no loss in either.
        """

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the lower and the upper bound of the loss in points, each one-sided."""


@dataclass(frozen=True, slots=True)
class SameSamples:
    """Right and wrong answers to the same samples: ``source`` in the counts is the baseline, ``engine`` the other."""

    seen: Paired

    @property
    def loss(self) -> float:
        """The observed loss in points."""
        return self.seen.loss("points")

    @property
    def alike(self) -> bool:
        """Whether none flipped."""
        return not self.seen.flipped

    def p_value(self, tolerance: float, unit: Unit, side: Side) -> float:
        """Return the exact p-value; that of no loss is the sign test of the flips, which is exact for any number."""
        if tolerance == 0.0:
            lost, won = self.seen.only_source, self.seen.only_engine
            return sign_test(lost, won) if side == "fail" else sign_test(won, lost)
        return exact.p_value(self.seen, tolerance, unit, side)

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the exact bounds."""
        return exact.loss_bounds(self.seen, "points", confidence)


@dataclass(frozen=True, slots=True, eq=False)
class AnyMoment:
    """What baseline and other earn of the same samples, (n,) each, from 0 to 1: right in part, or stopped when sure.

    By what bets would have won (``betting``): it errs no more often whenever the samples end, and is less sharp.
    """

    baseline: Floats
    other: Floats

    @property
    def loss(self) -> float:
        """The observed loss in points."""
        return 100.0 * float((self.baseline - self.other).mean())

    @property
    def alike(self) -> bool:
        """Whether each sample earns the same."""
        return bool((self.baseline == self.other).all())

    def p_value(self, tolerance: float, unit: Unit, side: Side) -> float:
        """Return one over the wealth of the bettor who spreads his stakes."""
        game = Game.of(tolerance, unit)
        game = game if side == "pass" else game.against()
        pairs, counts = np.unique(np.stack([self.baseline, self.other]), axis=1, return_counts=True)
        return min(1.0, math.exp(-log_mixture_of(game, pairs[0], pairs[1], counts.astype(np.float64))))

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the bounds by the same bets."""
        bets = Bets(Tolerance(value=0.0), confidence)
        bets.take(list(zip(self.baseline.tolist(), self.other.tolist(), strict=True)))
        low, high = bets.interval()
        return max(low, -100.0), min(high, 100.0)


@dataclass(frozen=True, slots=True)
class NoneDiffer:
    """Answers that are the same for all of ``n`` samples, of a figure that may be no mean of them.

    Some share of all samples could differ though none of these does, by the binomial; if each of these lost all, the
    figure would lose that share of its whole.
    """

    n: int
    baseline: float  # the figure, in percent of its whole

    @property
    def loss(self) -> float:
        """None."""
        return 0.0

    @property
    def alike(self) -> bool:
        """By what they are."""
        return True

    def p_value(self, tolerance: float, unit: Unit, side: Side) -> float:
        """Return the chance that none of ``n`` differs, were the share that does the tolerance."""
        points = tolerance if unit == "points" else tolerance * self.baseline / 100.0
        share = min(1.0, (points if side == "pass" else -points) / 100.0)
        return (1.0 - share) ** self.n if share > 0.0 else 1.0

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the share, as a gain and as a loss."""
        share = 100.0 * (1.0 - (1.0 - confidence) ** (1.0 / self.n))
        return -share, share


@dataclass(frozen=True, slots=True)
class OtherSamples:
    """How many of how many samples each result has right, where it is not known which of them are the same.

    The bounds of Clopper and Pearson of both shares, each at half the error: together they err no more often than the
    whole (Bonferroni), also where the two share samples, which independence would not allow. So they are wider than
    those of the same samples, and than exact ones of independent samples.
    """

    baseline_hits: int
    baseline_n: int
    other_hits: int
    other_n: int

    @property
    def loss(self) -> float:
        """The observed loss in points."""
        return 100.0 * (self.baseline_hits / self.baseline_n - self.other_hits / self.other_n)

    @property
    def alike(self) -> bool:
        """Nobody knows."""
        return False

    def p_value(self, tolerance: float, unit: Unit, side: Side) -> float:
        """Return the smallest error at which the two bounds show it."""
        t = tolerance / 100.0
        scale, shift = (1.0, t) if unit == "points" else (1.0 - t, 0.0)

        def chances(share: float) -> tuple[float, float]:
            """Return the chances of counts as good for the side or better, where the loss is the tolerance.

            A share is never below 0 nor above 1: of what its bound then says nothing is wrong.
            """
            there = min(1.0, max(0.0, scale * share - shift))
            if side == "fail":
                return (
                    at_least(self.baseline_hits, self.baseline_n, share) if share > 0.0 else 0.0,
                    at_most(self.other_hits, self.other_n, there) if there < 1.0 else 0.0,
                )
            return (
                at_most(self.baseline_hits, self.baseline_n, share) if share < 1.0 else 0.0,
                at_least(self.other_hits, self.other_n, there) if there > 0.0 else 0.0,
            )

        rises = 0 if side == "fail" else 1  # with the share
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2.0
            found = chances(middle)
            low, high = (middle, high) if found[rises] < found[1 - rises] else (low, middle)
        # One rises and the other falls, so that the larger is least where they meet, or where one jumps past the other.
        return min(1.0, 2.0 * min(max(chances(low)), max(chances(high))))

    def bounds(self, confidence: float) -> tuple[float, float]:
        """Return the bounds, each from one bound of either share."""
        error = 1.0 - confidence  # of both ends of a share's interval: half of it for each
        baseline = clopper_pearson(self.baseline_hits, self.baseline_n, error)
        other = clopper_pearson(self.other_hits, self.other_n, error)
        return 100.0 * (baseline[0] - other[1]), 100.0 * (baseline[1] - other[0])


def sign_test(lost: int, won: int) -> float:
    """Return the chance of so many losses or more among all flips, were a flip as likely to be either.

    McNemar, Psychometrika 12 (1947) 153, in its exact form.
    """
    return at_least(lost, lost + won, 0.5)


def two_sided(evidence: Evidence) -> float:
    """Return the p-value of a change, for better or worse: twice that of the likelier one."""
    sides: tuple[Side, Side] = ("pass", "fail")
    return min(1.0, 2.0 * min(evidence.p_value(0.0, "points", side) for side in sides))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values of which the smallest may be looked for: corrected for as many tests.

    Where those below 0.05 are taken for shown, one or more are wrong in at most 5 % of all comparisons. Holm, Scand. J.
    Stat. 6 (1979) 65.
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, worst = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = worst
    return corrected
