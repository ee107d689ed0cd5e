"""The replays of ``benchmarks/verdict_validity.py`` in a short form: where the true loss is the tolerance, few err."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import replays
from modelport.tasks.paired import Unit
from modelport.verdict.binomial import clopper_pearson
from replays import ERROR, World, recorded, simulated

UNITS: tuple[Unit, Unit] = ("points", "percent_of_reference")
REPLAYS = 200


def _few(found: dict[str, int], replays: int = REPLAYS) -> None:
    """Assert that the replays do not show that more than 5 % err."""
    for what, hits in found.items():
        assert clopper_pearson(hits, replays, 0.05)[0] <= ERROR, (what, hits)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_the_sequential_rule_rarely_errs(unit: Unit) -> None:
    _few(replays.sequential(simulated(unit), 5000, REPLAYS, 1))


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("places", ["small", "large", "recorded"])
def test_the_rule_by_margin_rarely_errs(unit: Unit, places: replays.Places) -> None:
    world = recorded(unit) if places == "recorded" else simulated(unit)
    _few(replays.margin(world, places, 2000, REPLAYS, 1))


@pytest.mark.slow
@pytest.mark.parametrize("world", [simulated("points"), recorded("points")], ids=lambda world: world.name)
def test_the_rule_of_a_fixed_sample_rarely_errs(world: World) -> None:
    _few(replays.fixed(world, 100, REPLAYS, 1))


@pytest.mark.slow
def test_intervals_hold_the_loss_when_the_run_stops() -> None:
    world, count = World("1 % flips", "points", (0.7, 0.005, 0.005, 0.29)), 40
    for stops, missed in (
        replays.sequential_stops(world, 1.0, 20_000, count, 1),
        replays.margin_stops(world, "small", 1.0, 20_000, count, 1),
    ):
        assert 400 < np.median(stops) < 1300
        # Either bound may err in 5 % of the replays.
        assert clopper_pearson(missed, count, 0.05)[0] <= 2 * ERROR


def test_a_rule_that_errs_is_found() -> None:
    """A tenth of the replays is shown to be more than 5 %, a twentieth is not."""
    _few({"pass": REPLAYS // 20})
    with pytest.raises(AssertionError):
        _few({"pass": REPLAYS // 8})
