"""Tests and bounds of a loss on a sample of fixed size err no more often than they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelport.tasks.paired import Paired, Unit
from modelport.verdict.binomial import clopper_pearson
from modelport.verdict.exact import loss_bounds, p_value

POINTS: Unit = "points"
PERCENT: Unit = "percent_of_reference"


def _outcomes(n: int) -> list[Paired]:
    return [
        Paired(both, source, engine, n - both - source - engine)
        for both in range(n + 1)
        for source in range(n + 1 - both)
        for engine in range(n + 1 - both - source)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["pass", "fail"])
@pytest.mark.parametrize(("unit", "tolerance"), [(POINTS, 5.0), (POINTS, 20.0), (PERCENT, 10.0)])
def test_it_errs_in_at_most_five_of_a_hundred_samples(unit: Unit, tolerance: float, side: str) -> None:
    """All outcomes of a small sample, weighed at many shares whose loss is exactly the tolerance."""
    n = 9
    outcomes = _outcomes(n)
    shown = np.array([p_value(seen, tolerance, unit, side) <= 0.05 for seen in outcomes])
    counts = np.array([(seen.both, seen.only_source, seen.only_engine, seen.neither) for seen in outcomes])
    ways = [math.lgamma(n + 1) - sum(math.lgamma(count + 1) for count in row) for row in counts.tolist()]
    assert shown.any()
    rng, t = np.random.default_rng(0), tolerance / 100.0
    for _ in range(3000):
        both = rng.random()
        engine = (1.0 - both) * rng.random() ** 3
        source = (t * both + engine) / (1.0 - t) if unit == PERCENT else t + engine
        if both + engine + source <= 1.0:
            shares = np.clip([both, source, engine, 1.0 - both - engine - source], 1e-300, 1.0)
            chances = np.exp(np.array(ways) + counts @ np.log(shares))
            assert chances.sum() == pytest.approx(1.0)
            assert chances[shown].sum() <= 0.05


def test_without_flips_as_many_samples_settle_a_tolerance_as_the_binomial_says() -> None:
    """No loss in n samples excludes a loss of one in a hundred where 0.99 to the n is below 5 %, less 0.1 %."""
    for n, passes in ((299, False), (305, True)):
        assert (p_value(Paired(0, 0, 0, n), 1.0, POINTS, "pass") <= 0.05) == passes
        assert p_value(Paired(0, 0, 0, n), 1.0, POINTS, "pass") == pytest.approx(0.99**n + 0.001, rel=1e-3)


def _tango(seen: Paired, z: float) -> tuple[float, float]:
    """Tango's score interval of the loss (Stat. Med. 17 (1998) 891), by halving; in points."""

    def far(loss: float) -> float:
        n, b, c = seen.n, seen.only_source, seen.only_engine
        a_, b_ = 2.0 * n, -b - c + (2.0 * n - b + c) * loss
        share = (math.sqrt(max(0.0, b_ * b_ - 4.0 * a_ * -c * loss * (1.0 - loss))) - b_) / (2.0 * a_)
        variance = n * (2.0 * share + loss * (1.0 - loss))
        return (b - c - n * loss) / math.sqrt(max(variance, 1e-12))

    ends = []
    for sign in (1.0, -1.0):
        low, high = seen.loss(POINTS) / 100.0, -sign
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if abs(far(middle)) < z else (low, middle)
        ends.append(100.0 * low)
    return ends[0], ends[1]


@pytest.mark.parametrize("seen", [Paired(600, 40, 25, 335), Paired(300, 12, 14, 74), Paired(900, 90, 10, 500)])
def test_bounds_are_near_those_of_the_score_interval(seen: Paired) -> None:
    for ours, theirs in zip(loss_bounds(seen, POINTS), _tango(seen, 1.6449), strict=True):
        away = seen.loss(POINTS)
        assert abs(ours - away) == pytest.approx(abs(theirs - away), rel=0.12)
        assert abs(ours - away) >= 0.98 * abs(theirs - away)


def test_a_percentage_of_the_reference_carries_the_references_own_uncertainty() -> None:
    seen = Paired(430, 5, 4, 200)
    low, high = loss_bounds(seen, PERCENT)
    points = [100.0 * end / (435 / 639) / 100.0 for end in loss_bounds(seen, POINTS)]
    assert low <= points[0] + 0.05 and high >= points[1] - 0.05
    assert low < seen.loss(PERCENT) < high


def test_a_source_that_is_never_right_settles_no_percentage() -> None:
    assert loss_bounds(Paired(0, 0, 3, 50), PERCENT) == (-math.inf, math.inf)


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (3, 20), (20, 20), (17, 900)])
def test_the_interval_of_a_share_is_exact(hits: int, n: int) -> None:
    low, high = clopper_pearson(hits, n, 0.05)

    def tail(least: int, share: float) -> float:
        return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(least, n + 1))

    assert low == 0.0 if hits == 0 else tail(hits, low) == pytest.approx(0.025, rel=1e-6)
    assert high == 1.0 if hits == n else 1.0 - tail(hits + 1, high) == pytest.approx(0.025, rel=1e-6)
