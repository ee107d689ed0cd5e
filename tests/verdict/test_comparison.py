"""Evidence of a change between two results errs no more often than it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from modelport.tasks.paired import Paired, Unit
from modelport.verdict.comparison import AnyMoment, OtherSamples, SameSamples, Side, holm, sign_test, two_sided

SHARES = np.linspace(0.0, 1.0, 41)
SIZES = ((9, 9), (12, 6))


@pytest.mark.parametrize(("n", "m"), SIZES)
@pytest.mark.parametrize("side", ["pass", "fail"])
@pytest.mark.parametrize(("unit", "tolerance"), [("points", 0.0), ("points", 20.0), ("percent_of_reference", 30.0)])
def test_other_samples_err_in_at_most_five_of_a_hundred(
    n: int, m: int, side: Side, unit: Unit, tolerance: float
) -> None:
    """All outcomes of small samples, at shares whose loss is exactly the tolerance: independent, and bound together."""
    shown = np.array(
        [
            [OtherSamples(hits, n, there, m).p_value(tolerance, unit, side) <= 0.05 for there in range(m + 1)]
            for hits in range(n + 1)
        ]
    )
    assert shown.any()
    t = tolerance / 100.0
    for share in SHARES:
        there = share - t if unit == "points" else share * (1.0 - t)
        if there < 0.0:
            continue
        mine, theirs = binom.pmf(np.arange(n + 1), n, share), binom.pmf(np.arange(m + 1), m, there)
        assert mine @ shown @ theirs <= 0.05
        # The same uniform number makes both counts: they rise together, or one falls where the other rises.
        for flipped in (False, True):
            u = (np.arange(2000) + 0.5) / 2000
            one = binom.ppf(u, n, share).astype(int)
            other = binom.ppf(1.0 - u if flipped else u, m, there).astype(int)
            assert shown[one, other].mean() <= 0.05 + 1e-3


@pytest.mark.parametrize("hits", [(30, 24), (30, 10), (0, 3), (40, 40), (10, 50), (0, 50)])
def test_bounds_of_other_samples_hold_what_is_not_shown(hits: tuple[int, int]) -> None:
    seen = OtherSamples(hits[0], 40, hits[1], 50)
    low, high = seen.bounds(0.95)
    assert low <= seen.loss <= high
    for away in (-0.5, 0.5):
        if high + away < 100.0:
            assert (seen.p_value(high + away, "points", "pass") <= 0.05) == (away > 0.0)
        if low + away > -100.0:
            assert (seen.p_value(low + away, "points", "fail") <= 0.05) == (away < 0.0)


def test_other_samples_of_one_table_are_as_both_clopper_pearson_intervals_say() -> None:
    """The oracle is SciPy's interval, at half the error each."""
    low, high = OtherSamples(70, 100, 50, 90).bounds(0.95)
    first, last = (binomtest(*pair).proportion_ci(0.95, "exact") for pair in ((70, 100), (50, 90)))
    assert low == pytest.approx(100 * (first.low - last.high), abs=1e-6)
    assert high == pytest.approx(100 * (first.high - last.low), abs=1e-6)


@pytest.mark.parametrize(("lost", "won"), [(12, 0), (8, 2), (0, 5), (3, 3), (300, 240), (0, 0)])
def test_the_sign_test_is_the_binomial_one(lost: int, won: int) -> None:
    wanted = binomtest(lost, lost + won, 0.5, "greater").pvalue if lost + won else 1.0
    assert sign_test(lost, won) == pytest.approx(wanted)
    both = binomtest(lost, lost + won, 0.5).pvalue if lost + won else 1.0
    assert two_sided(SameSamples(Paired(5, lost, won, 7))) == pytest.approx(both)


def test_a_change_of_the_same_samples_errs_in_at_most_five_of_a_hundred() -> None:
    n = 12
    for flips in np.linspace(0.0, 1.0, 21):
        chance = 0.0
        for lost, won in itertools.product(range(n + 1), repeat=2):
            if lost + won <= n and two_sided(SameSamples(Paired(0, lost, won, n - lost - won))) <= 0.05:
                chance += binom.pmf(lost + won, n, flips) * binom.pmf(lost, lost + won, 0.5)
        assert chance <= 0.05


def test_bets_err_seldom_whenever_they_are_looked_at() -> None:
    """400 replays of equal figures, right in part; each looked at after every sample."""
    rng, wrong = np.random.default_rng(1), 0
    for _ in range(400):
        first, last = (rng.choice([0.0, 0.5, 1.0], 60, p=[0.3, 0.2, 0.5]) for _ in range(2))
        looks = (AnyMoment(first[:n], last[:n]).p_value(0.0, "points", "fail") for n in range(5, 61, 5))
        wrong += min(looks) <= 0.05
    assert wrong <= 400 * 0.05


def test_bets_find_a_loss_and_bound_it() -> None:
    rng = np.random.default_rng(2)
    first = rng.choice([0.0, 0.5, 1.0], 2000, p=[0.1, 0.2, 0.7])
    evidence = AnyMoment(first, np.clip(first - 0.5 * (rng.random(2000) < 0.2), 0.0, 1.0))
    low, high = evidence.bounds(0.95)
    assert 0.0 < low < evidence.loss < high < 20.0
    assert evidence.p_value(0.0, "points", "fail") < 1e-6 < 0.5 < evidence.p_value(0.0, "points", "pass")
    assert evidence.p_value(high + 0.1, "points", "pass") <= 0.05 < evidence.p_value(high - 0.1, "points", "pass")


def test_holm_is_holms_own_rule() -> None:
    """Step down by the definition: the smallest against a k-th of the error, the next against one less."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        chances = rng.random(6) ** 4
        shown = set()
        for rank, place in enumerate(np.argsort(chances)):
            if chances[place] > 0.05 / (6 - rank):
                break
            shown.add(int(place))
        assert {place for place, p in enumerate(holm(chances.tolist())) if p <= 0.05} == shown
    assert holm([]) == []
