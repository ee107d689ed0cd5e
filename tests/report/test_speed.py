"""Figures against NumPy, and what is said beside them on samples that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.measure.timing import Timed
from modelport.recipes.load import load_recipe, recipe_names
from modelport.report.speed import (
    batches_not_samples,
    best_of,
    compare,
    figures_of,
    flags_of,
    identity_violation,
)

GUIDES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "published_speeds.json").read_text())
MS = 1_000_000


def _timed(durations: list[int], batch: int = 1, gap: int = 0, steady: bool = True) -> Timed:
    """One worker whose runs take these times in ns, ``gap`` between them."""
    now, runs = 0, []
    for duration in durations:
        runs.append((now, now + duration))
        now += duration + gap
    return Timed(batch, (tuple(runs),), steady)


def _kinds(timed: Timed) -> list[str]:
    return [flag.kind for flag in flags_of(timed)]


@given(st.lists(st.integers(1_000, 10**12), min_size=1, max_size=200), st.integers(1, 64))
def test_statistics_are_numpys(durations: list[int], batch: int) -> None:
    figures = figures_of(_timed(durations, batch))
    latency, exact = figures["latency_ms"], np.array(durations, np.float64) / 1e6
    assert latency["count"] == figures["throughput"]["count"] == len(durations)
    want = {"min": exact.min(), "mean": exact.mean(), "median": np.median(exact), "max": exact.max()}
    want |= {f"p{share}": np.percentile(exact, share) for share in (90, 95, 99)}
    assert {key: latency[key] for key in want} == pytest.approx(want, rel=1e-12)
    assert figures["throughput"]["value"] == pytest.approx(batch * len(durations) / (sum(durations) / 1e9))
    assert figures["runs_ns"] == [durations]


def test_workers_add_up_and_an_idle_end_counts_for_none() -> None:
    short = tuple((at * 10 * MS, (at + 1) * 10 * MS) for at in range(20))  # 200 ms, 100 runs/s
    long = tuple((at * 40 * MS, (at + 1) * 40 * MS) for at in range(20))  # 800 ms, 25 runs/s
    timed = Timed(4, (short, long))
    assert timed.in_flight == 2
    assert timed.samples_per_second == pytest.approx(4 * (100 + 25))


def test_sound_runs_have_no_flags() -> None:
    assert _kinds(_timed([10 * MS] * 20)) == []


@pytest.mark.parametrize(("share", "flagged"), [(0.09, False), (0.12, True)])
def test_a_spread_above_ten_percent(share: float, flagged: bool) -> None:
    # Every fifth run is slower, so p90 is; both halves have the same median.
    durations = [int(10 * MS * (1 + share * (place % 5 == 4))) for place in range(40)]
    assert _kinds(_timed(durations)) == ["spread"] * flagged


@pytest.mark.parametrize(("change", "said"), [(0.04, None), (0.06, "+6%"), (-0.06, "-6%")])
def test_a_drift_of_the_second_half(change: float, said: str | None) -> None:
    timed = _timed([10 * MS] * 20 + [int(10 * MS * (1 + change))] * 20)
    assert [flag.short for flag in flags_of(timed)] == ([f"drift {said}"] if said else [])


def test_a_drift_is_seen_in_time_and_not_worker_by_worker() -> None:
    # Two workers, one slower throughout: no drift, though their runs one after another would look like one.
    fast = tuple((at * 20 * MS, (at + 1) * 20 * MS) for at in range(24))
    slow = tuple((at * 24 * MS, (at + 1) * 24 * MS) for at in range(20))
    assert "drift" not in _kinds(Timed(1, (fast, slow)))


@pytest.mark.parametrize(("count", "kinds"), [(19, ["few_runs"]), (20, [])])
def test_fewer_than_twenty_runs(count: int, kinds: list[str]) -> None:
    assert _kinds(_timed([10 * MS] * count)) == kinds


@pytest.mark.parametrize(("slow", "said"), [(40, None), (70, "tail +15%")])
def test_a_few_long_runs_that_the_spread_does_not_see(slow: int, said: str | None) -> None:
    # One run in forty takes as long as ``slow / 10`` others.
    timed = _timed(([10 * MS] * 20 + [slow * MS] + [10 * MS] * 19) * 2)
    assert [flag.short for flag in flags_of(timed)] == ([said] if said else [])


def test_a_warm_up_that_did_not_settle_is_said() -> None:
    assert _kinds(_timed([10 * MS] * 20, steady=False)) == ["warm_up"]


@given(st.integers(1, 64), st.integers(1, 16), st.floats(0.01, 1e5), st.floats(-0.2, 0.2))
def test_the_identity_of_speed_batch_and_latency(batch: int, in_flight: int, latency: float, off: float) -> None:
    speed = batch * in_flight / (latency / 1e3) * (1 + off)
    flag = identity_violation(speed, batch, latency, in_flight)
    if abs(abs(off) - 0.05) > 1e-6:
        assert (flag is None) == (abs(off) < 0.05)


def test_time_lost_between_runs_breaks_the_identity() -> None:
    assert _kinds(_timed([10 * MS] * 20, gap=2 * MS)) == ["identity"]
    assert _kinds(_timed([10 * MS] * 20, gap=MS // 5)) == []


def test_of_the_published_tables_only_moco_v2s_cannot_be_samples() -> None:
    flagged = {
        name
        for name, devices in GUIDES["printed"].items()
        for figures in devices.values()
        if batches_not_samples([(batch, value) for batch, value in figures])
    }
    assert flagged == {"moco-v2"}


def test_of_the_published_figures_only_smlps_batch_1_breaks_the_identity() -> None:
    # As the guides credit them, both to batch 1.
    wrong = identity_violation(290.0, 1, GUIDES["mean_ms"]["smlp-t"])
    assert wrong is not None and "16 samples a run" in wrong.text
    assert identity_violation(290.0, 16, GUIDES["mean_ms"]["smlp-t"]) is None
    assert identity_violation(62.17950873049252, 1, GUIDES["mean_ms"]["nas-fpn"]) is None
    found = {
        (name, figure["batch"])
        for name in recipe_names()
        for speed in compare(load_recipe(name).speeds, [_point(1, 1.0)])
        for figure in speed["figures"]
        if figure["flags"]
    }
    assert found == {("smlp-t", 16)}


def _point(batch: int, value: float, in_flight: int = 1) -> dict[str, Any]:
    return {"batch": batch, "in_flight": in_flight, "throughput": {"value": value}, "flags": []}


def test_ratios_are_this_machines_best_by_the_published_samples() -> None:
    points = [_point(1, 10.0), _point(1, 83.62, in_flight=2), _point(8, 39.832), _point(2, 100.0)]
    (speed,) = compare(load_recipe("moco-v2").speeds, points)
    ratios = {figure["batch"]: figure["ratio"] for figure in speed["figures"]}
    assert ratios == {1: pytest.approx(0.1), 8: pytest.approx(0.01), 4: None, 16: None, 32: None, 64: None}
    assert [figure["value"] for figure in speed["figures"]] == [836.2, 836.0, 497.9, 244.4, 79.5, 39.5]
    assert speed["best"] == {
        "batch": 8,
        "samples_per_second": pytest.approx(3983.2),
        "ratio": pytest.approx(100.0 / 3983.2),
    }
    assert [flag["kind"] for flag in speed["flags"]] == ["unit"]


def test_the_best_batch_is_found() -> None:
    best = best_of([_point(1, 10.0), _point(8, 30.0, 2), _point(64, 29.0)])
    assert (best["batch"], best["in_flight"], best["value"], best["unit"]) == (8, 2, 30.0, "samples/s")
