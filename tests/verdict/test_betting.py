"""A bettor who may stop whenever he likes is wrong no more often than he says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelport.tasks.paired import Paired
from modelport.verdict.betting import Game, log_mixture

LIMIT = math.log(20.0)


def _streams(shares: tuple[float, float, float], n: int, count: int) -> list[list[Paired]]:
    """Return what was seen after every 20 of n samples, for as many streams; shares of both, source, engine."""
    rng = np.random.default_rng(0)
    streams = []
    for _ in range(count):
        cells = rng.choice(4, n, p=[*shares, 1.0 - sum(shares)])
        sums = [np.cumsum(cells == cell)[19::20] for cell in range(4)]
        streams.append([Paired(*map(int, row)) for row in zip(*sums, strict=True)])
    return streams


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["points", "percent_of_reference"])
def test_at_a_loss_of_the_tolerance_few_ever_pass_or_fail(unit: str) -> None:
    t, both, engine = 0.02, 0.6, 0.01
    source = t + engine if unit == "points" else (t * both + engine) / (1.0 - t)
    game = Game.of(100.0 * t, unit)  # type: ignore[arg-type]
    for side in (game, game.against()):
        streams = _streams((both, source, engine), 2000, 300)
        ever = [any(log_mixture(side, seen) >= LIMIT for seen in stream) for stream in streams]
        assert np.mean(ever) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


@pytest.mark.slow
def test_one_flip_in_a_hundred_is_settled_after_some_nine_hundred_samples() -> None:
    game = Game.of(1.0, "points")
    stops = []
    for stream in _streams((0.66, 0.005, 0.005), 6000, 60):
        stops.append(next((seen.n for seen in stream if log_mixture(game, seen) >= LIMIT), 6000))
    assert 700 <= np.median(stops) <= 1100


def test_without_flips_a_tolerance_is_settled_after_a_few_hundred() -> None:
    game = Game.of(1.0, "points")
    n = next(n for n in range(1, 2000) if log_mixture(game, Paired(0, 0, 0, n)) >= LIMIT)
    assert 299 <= n <= 600
    assert log_mixture(game.against(), Paired(0, 0, 0, n)) < 0.0
