"""Draws by margin are what they say, and each term of the evidence has the loss as its mean.

That it rarely errs, wherever flips lie, is replayed in ``test_validity``.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from modelport.core.errors import DataError
from modelport.recipes.tables import Tolerance
from modelport.tasks.paired import Unit
from modelport.verdict.margin import Draw, WeightedBets, densities, margin_order

POINTS: Unit = "points"
PERCENT: Unit = "percent_of_reference"
UNITS = (POINTS, PERCENT)


def _bets(pairs: np.ndarray, tolerance: float, unit: Unit = POINTS) -> WeightedBets:
    limit = Tolerance(value=tolerance, unit=unit)
    return WeightedBets(limit, len(pairs), float(pairs[:, 0].mean()))


def _taken(bets: WeightedBets, pairs: np.ndarray, draw: Draw, count: int, together: int = 10**9) -> WeightedBets:
    for start in range(0, count, together):
        part = slice(start, min(count, start + together))
        bets.take(pairs[draw.order[part]].tolist(), draw.weights[part].tolist())
    return bets


def _loss(pairs: np.ndarray, unit: Unit) -> float:
    lost = float((pairs[:, 0] - pairs[:, 1]).sum())
    return 100.0 * lost / (len(pairs) if unit == POINTS else float(pairs[:, 0].sum()))


def _flipped(n: int, right: float, lost: int, gained: int, places: Sequence[int], seed: int = 0) -> np.ndarray:
    """Return what source and engine earn of n samples in the order of their margins, with flips among some places."""
    rng = np.random.default_rng(seed)
    pairs = np.zeros((n, 2))
    pairs[rng.permutation(n)[: round(right * n)]] = 1.0
    chosen = rng.permutation(np.array(places))
    was_right, was_wrong = (chosen[pairs[chosen, 0] == value] for value in (1.0, 0.0))
    assert len(was_right) >= lost and len(was_wrong) >= gained
    pairs[was_right[:lost], 1] = 0.0
    pairs[was_wrong[:gained], 1] = 1.0
    return pairs


def test_the_order_takes_each_sample_once_and_is_seeded() -> None:
    margins = np.random.default_rng(0).random(500).tolist()
    draw = margin_order(margins, 3)
    assert sorted(draw.order.tolist()) == list(range(500))
    assert np.array_equal(draw.order, margin_order(margins, 3).order)
    assert not np.array_equal(draw.order, margin_order(margins, 4).order)
    assert np.isclose(densities(500).mean(), 1.0)
    for none in ([], [None], [1.0]):
        assert len(margin_order(none, 0).order) == len(none)


def test_each_order_is_as_likely_as_its_weights_say() -> None:
    """Four samples: all 24 orders over many seeds, against the product of their chances."""
    margins, trials = [0.4, 0.1, 0.3, 0.2], 8000
    chances = densities(4)[[3, 0, 2, 1]]
    seen = Counter[tuple[int, ...]]()
    for seed in range(trials):
        draw = margin_order(margins, seed)
        seen[tuple(draw.order.tolist())] += 1
    for order in itertools.permutations(range(4)):
        left, chance, weights = chances.sum(), 1.0, []
        for place in order:
            weights.append(left / (4 * chances[place]))
            chance *= chances[place] / left
            left -= chances[place]
        assert abs(seen[order] - trials * chance) < 5 * math.sqrt(trials * chance)
        if order == tuple(margin_order(margins, 0).order.tolist()):
            np.testing.assert_allclose(margin_order(margins, 0).weights, weights)


def test_each_term_has_the_loss_of_the_whole_set_as_its_mean() -> None:
    """Five samples, all 120 orders with their chances: the mean of each term, and of each given those before."""
    losses, chances = np.array([1.0, 0.0, -1.0, 1.0, 0.5]), densities(5)
    means, firsts = np.zeros(5), dict[int, np.ndarray]()
    for order in itertools.permutations(range(5)):
        places, left, chance = np.array(order), chances.sum(), 1.0
        weights = []
        for place in order:
            weights.append(left / (5 * chances[place]))
            chance *= chances[place] / left
            left -= chances[place]
        bets = WeightedBets(Tolerance(value=1.0, unit=POINTS), 5, 1.0)
        bets.take([(1.0, 1.0 - loss) for loss in losses[places]], weights)
        terms = np.concatenate([seen.terms for seen in bets._seen])
        means += chance * terms
        firsts[order[0]] = firsts.get(order[0], np.zeros(5)) + chance * terms
    np.testing.assert_allclose(means, losses.mean())
    for first, sums in firsts.items():
        np.testing.assert_allclose(sums[1:] / (chances[first] / chances.sum()), losses.mean())


def test_small_margins_come_earlier_and_those_without_one_count_as_in_the_middle() -> None:
    n = 9000
    margins: list[float | None] = [None if place % 3 == 0 else float(place) for place in range(n)]
    margins[1] = math.nan
    early = Counter[str]()
    draw = margin_order(margins, 0)
    for place in draw.order[: n // 10].tolist():
        margin = margins[place]
        kind = "none" if margin is None or math.isnan(margin) else "small" if place < n // 2 else "large"
        early[kind] += 1
    assert early["small"] > 1.2 * early["none"] and early["none"] > 0.9 * early["large"]
    assert draw.weights[0] <= 1.0 / densities(n).min() + 1e-9


@pytest.mark.parametrize("unit", UNITS)
def test_all_samples_settle_it_exactly(unit: Unit) -> None:
    """Also where the loss is the tolerance itself, which is no loss beyond it."""
    pairs = _flipped(300, 0.5, 9, 3, range(300))
    loss = _loss(pairs, unit)
    draw = margin_order(np.arange(300.0).tolist(), 0)
    for tolerance, word in ((loss, "pass"), (loss - 0.1, "fail"), (loss + 0.1, "pass")):
        bets = _taken(_bets(pairs, tolerance, unit), pairs, draw, 300, 7)
        assert bets.word() == word
        assert bets.interval() == pytest.approx((loss, loss), abs=2e-3)
        assert bets.loss() == pytest.approx(loss) and bets.figure() == pytest.approx(100 * pairs[:, 1].mean())


def test_how_many_are_taken_at_once_does_not_matter() -> None:
    pairs = _flipped(1000, 0.7, 12, 6, range(100))
    draw = margin_order(np.arange(1000.0).tolist(), 1)
    whole = _taken(_bets(pairs, 1.0), pairs, draw, 400)
    parts = _taken(_bets(pairs, 1.0), pairs, draw, 400, 3)
    assert whole.interval() == pytest.approx(parts.interval())
    assert (whole.word(), whole.n) == (parts.word(), parts.n) and whole.loss() == pytest.approx(parts.loss())


@pytest.mark.parametrize("unit", UNITS)
def test_the_word_is_what_the_interval_says(unit: Unit) -> None:
    for lost, tolerance in ((0, 2.0), (30, 2.0), (300, 2.0), (10, 1.0)):
        pairs = _flipped(2000, 0.6, lost, 4, range(2000))
        draw = margin_order(np.arange(2000.0).tolist(), lost)
        for count in (100, 600, 1500):
            bets = _taken(_bets(pairs, tolerance, unit), pairs, draw, count)
            low, high = bets.interval()
            assert low <= bets.loss() <= high or bets.word() is not None
            word = "pass" if high <= tolerance else "fail" if low > tolerance else None
            assert bets.word() == word


def test_nothing_is_said_of_nothing() -> None:
    bets = WeightedBets(Tolerance(value=1.0, unit=PERCENT), 50, 0.0)
    bets.take([(0.0, 1.0)], [1.0])
    assert bets.word() is None and bets.interval() == (-math.inf, math.inf)
    assert math.isnan(bets.loss()) and math.isnan(bets.figure())
    empty = WeightedBets(Tolerance(value=1.0, unit=POINTS), 50, 0.5)
    empty.take([], [])
    assert (empty.n, empty.word()) == (0, None) and empty.interval() == (-math.inf, math.inf)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, 1e-9, 1.3, 0.3])
def test_weights_of_no_draw_are_refused(weight: float) -> None:
    """Of 1,000 samples the first weighs between 0.4 and 1.2: smaller ones would make evidence out of nothing."""
    bets = WeightedBets(Tolerance(value=1.0, unit=POINTS), 1000, 0.5)
    with pytest.raises(DataError, match="weights"):
        bets.take([(1.0, 1.0)], [weight])
    draw = margin_order(np.arange(1000.0).tolist(), 0)
    bets.take([(1.0, 1.0)] * 1000, draw.weights.tolist())
    with pytest.raises(DataError, match="weights"):
        bets.take([(1.0, 1.0)], [1.0])


@pytest.mark.slow
def test_a_point_is_settled_by_fewer_where_flips_lie_in_small_margins() -> None:
    """1 % of 50,000 answers flip, as many either way: some 900 samples in plain order (tests of ``betting``)."""
    n = 50_000
    stops = []
    for seed in range(40):
        pairs = _flipped(n, 0.7, 250, 250, range(n // 10), seed)
        draw, bets = margin_order(np.arange(float(n)).tolist(), seed), _bets(pairs, 1.0)
        while bets.word() is None:
            part = slice(bets.n, bets.n + 20)
            bets.take(pairs[draw.order[part]].tolist(), draw.weights[part].tolist())
        assert bets.word() == "pass"
        stops.append(bets.n)
    assert 500 <= np.median(stops) <= 750
