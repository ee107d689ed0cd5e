"""What is shown of a loss: within, beyond, or not told yet, with the bounds and the samples that would settle it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Judged, MeanFigures
from modelport.tasks.paired import Paired
from modelport.tasks.scoring import Score
from modelport.verdict.bootstrap import Resamples, bounds, student
from modelport.verdict.drop import by_bets, by_counts, by_resamples, needed
from modelport.verdict.exact import p_value
from modelport.verdict.sequential import Bets, Stop

POINT = Tolerance(value=1.0, unit="points")
PERCENT = Tolerance(value=1.0, unit="percent_of_reference")
REFERENCE = Score(60.0, "percent", 400, None)


@pytest.mark.parametrize(
    ("seen", "tolerance", "word"),
    [
        (Paired(200, 0, 0, 105), POINT, "pass"),
        (Paired(200, 0, 0, 98), POINT, "inconclusive"),
        (Paired(300, 0, 0, 150), PERCENT, "pass"),
        (Paired(200, 0, 0, 105), PERCENT, "inconclusive"),
        (Paired(200, 30, 5, 100), POINT, "fail"),
        (Paired(200, 5, 30, 100), POINT, "pass"),  # a gain never fails
        (Paired(200, 8, 5, 100), POINT, "inconclusive"),
    ],
)
def test_the_word_follows_from_the_counts(seen: Paired, tolerance: Tolerance, word: str) -> None:
    drop = by_counts(seen, tolerance, 0.95)
    low, high = drop.interval
    assert drop.word == word and low < seen.loss(tolerance.unit) < high
    assert (high <= tolerance.value) == (word == "pass") and (low >= tolerance.value) == (word == "fail")
    assert (drop.needed_n is not None) == (word == "inconclusive" and seen.loss(tolerance.unit) < 1.0)


def test_more_confidence_takes_more_samples() -> None:
    seen = Paired(300, 0, 0, 150)
    assert by_counts(seen, PERCENT, 0.95).word == "pass" and by_counts(seen, PERCENT, 0.99).word == "inconclusive"


@pytest.mark.parametrize("seen", [Paired(200, 0, 0, 98), Paired(200, 1, 1, 98), Paired(60, 9, 2, 20)])
def test_so_many_samples_settle_it_and_far_fewer_do_not(seen: Paired) -> None:
    side = "pass" if seen.loss("points") <= 1.0 else "fail"
    n = needed(seen, POINT, side, 0.99)
    assert n is not None and p_value(seen.scaled(n), 1.0, "points", side) <= 0.01
    assert p_value(seen.scaled(n // 2), 1.0, "points", side) > 0.01


def test_no_number_of_samples_settles_a_loss_of_just_the_tolerance() -> None:
    assert by_counts(Paired(200, 4, 0, 196), POINT, 0.95).needed_n is None


def test_bets_may_be_looked_at_after_every_sample_and_err_no_more_often() -> None:
    """At a loss of just the tolerance of 5 points, in 400 runs of up to 600 samples each, looked at every 10."""
    rng, wrong = np.random.default_rng(0), {"pass": 0, "fail": 0}
    for _ in range(400):
        bets = Bets(Tolerance(value=5.0, unit="points"))
        lost, won = rng.random(600) < 0.08, rng.random(600)
        engine = np.where(lost, 0.0, 1.0)
        source = np.where(~lost & (won < 0.03 / 0.92), 0.0, 1.0)
        for start in range(0, 600, 10):
            bets.take(list(zip(source[start : start + 10].tolist(), engine[start : start + 10].tolist(), strict=True)))
            if (word := bets.word()) is not None:
                wrong[word] += 1
                break
    # Of 400 at 5 %: beyond 31 has a chance of less than one in a hundred.
    assert wrong["pass"] <= 31 and wrong["fail"] <= 31


def test_the_interval_of_bets_holds_the_loss_and_is_wider_than_the_fixed_one() -> None:
    seen = Paired(300, 6, 4, 190)
    bets = Bets(PERCENT)
    bets.take([(1.0, 1.0)] * 300 + [(1.0, 0.0)] * 6 + [(0.0, 1.0)] * 4 + [(0.0, 0.0)] * 190)
    low, high = bets.interval()
    fixed = by_counts(seen, PERCENT, 0.95).interval
    assert low < fixed[0] < seen.loss("percent_of_reference") < fixed[1] < high
    drop = by_bets(bets, seen, PERCENT, 0.95)
    assert drop.word == "inconclusive" and drop.needed_n is not None and drop.needed_n > seen.n


def test_a_run_stops_when_every_figure_is_shown_or_one_to_fail() -> None:
    stop = Stop.plain(["top1", "top5"], POINT, 0.95)
    right, half = {"top1": (1.0, 1.0), "top5": (1.0, 1.0)}, {"top1": (1.0, 1.0)}
    assert not stop.take([Judged(0, values=half)] * 900)
    assert stop.take([Judged(0, values=right)] * 900) and stop.decided_at == 1800 and not stop.by_surrogate
    failed = Stop.plain(["top1", "top5"], POINT, 0.95)
    assert failed.take([Judged(0, values={"top1": (0.0, 1.0), "top5": (1.0, 1.0)})] * 60)
    assert failed.bets["top1"].word() == "fail" and failed.bets["top5"].word() is None


def test_a_surrogate_may_stop_a_run_and_is_said() -> None:
    stop = Stop.plain(["mAP"], POINT, 0.95)
    assert stop.take([Judged(0, values={"surrogate": (0.7, 0.7)})] * 900) and stop.by_surrogate == {"mAP"}


def _drawn(engine: list[float], source: list[float]) -> Resamples:
    values = {"f1": (np.array(engine, np.float64), np.array(source, np.float64))}
    return Resamples.of(MeanFigures(values), seed=0)


@pytest.mark.parametrize(
    ("lost", "n", "word"),
    [(0.004, 400, "pass"), (0.05, 400, "fail"), (0.0095, 400, "inconclusive"), (0.004, 90, "inconclusive")],
    ids=["within", "beyond", "too near", "fewer than 100 images"],
)
def test_images_drawn_again_bound_other_figures(lost: float, n: int, word: str) -> None:
    rng = np.random.default_rng(1)
    source = rng.uniform(40.0, 80.0, n)
    engine = source - 100.0 * lost + rng.normal(0.0, 3.0, n) - 0.0
    engine -= (engine - source + 100.0 * lost).mean()
    drop = by_resamples(_drawn(engine.tolist(), source.tolist()), "f1", REFERENCE, 100.0 * lost, POINT, 0.95)
    assert drop.word == word
    if n >= 100:
        assert drop.interval[0] < 100.0 * lost < drop.interval[1]


def test_with_few_images_that_differ_the_share_that_could_differ_decides() -> None:
    same = [50.0] * 310
    assert by_resamples(_drawn(same, same), "f1", REFERENCE, 0.0, POINT, 0.95).word == "pass"
    few = by_resamples(_drawn(same[:200], same[:200]), "f1", REFERENCE, 0.0, POINT, 0.95)
    assert few.word == "inconclusive" and few.needed_n == 299
    two = _drawn([*same[:-2], 0.0, 0.0], same)
    assert by_resamples(two, "f1", REFERENCE, 0.32, POINT, 0.95).word == "inconclusive"


def test_bounds_of_resamples_are_those_of_a_mean() -> None:
    """Against Student's interval of the same mean, of 30 values that differ among 300."""
    rng = np.random.default_rng(3)
    away = np.zeros(300)
    away[:30] = rng.normal(1.0, 1.0, 30)
    drawn = _drawn((50.0 - away).tolist(), [50.0] * 300)
    low, high = bounds(drawn.source["f1"] - drawn.engine["f1"], float(away.mean()), drawn.differ, 0.95)
    half = 1.699 * away.std(ddof=1) / math.sqrt(300)
    assert low == pytest.approx(away.mean() - half, rel=0.2) and high == pytest.approx(away.mean() + half, rel=0.2)


def test_bounds_of_a_skewed_mean_are_those_of_its_own_law() -> None:
    """Of 60 exponential values (here their quantiles) 120 times the mean by the true one has the law χ² of 120."""
    away = -np.log1p(-(np.arange(60) + 0.5) / 60)
    drawn = _drawn((50.0 - away).tolist(), [50.0] * 60)
    losses = drawn.source["f1"] - drawn.engine["f1"]
    low, high = bounds(losses, float(away.mean()), 10**6, 0.95)
    assert high == pytest.approx(away.mean() * 120 / 95.70, rel=0.02)
    assert low == pytest.approx(away.mean() * 120 / 146.57, rel=0.02)
    # Percentiles alone are nearer on the long side.
    assert np.quantile(losses, 0.95) < 0.98 * away.mean() * 120 / 95.70


@pytest.mark.parametrize(("freedom", "quantile"), [(5, 2.015), (19, 1.729), (100, 1.660)])
def test_students_quantile_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert student(0.95, freedom) == pytest.approx(quantile, abs=0.01)
