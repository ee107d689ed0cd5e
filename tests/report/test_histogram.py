"""Histograms of durations: every one counted once, in few bins, none of them flattened by a tail."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.report.histogram import histogram
from modelport.report.result import latency_summary

DURATIONS = st.floats(0, 1e9, allow_nan=False)


@given(st.lists(DURATIONS, min_size=1, max_size=80) | st.lists(st.integers(0, 3), min_size=1, max_size=80))
def test_every_duration_is_in_the_one_bin_that_the_edges_say(values: list[float]) -> None:
    found = histogram(values)
    edges, counts = found["edges"], found["counts"]
    assert 1 <= len(counts) <= 30 and len(edges) == len(counts) + 1
    assert all(low < high for low, high in pairwise(edges))
    last = len(counts) - 1
    want = [
        sum(low <= value < high or (place == last and value == high) for value in values)
        for place, (low, high) in enumerate(pairwise(edges))
    ]
    assert counts == want and sum(counts) == len(values)
    assert edges[0] == min(values) and edges[-1] >= max(values)


@pytest.mark.parametrize("values", [[0.0], [5.0], [5.0] * 100])
def test_one_value_is_one_bin_that_begins_there(values: list[float]) -> None:
    found = histogram(values)
    assert found["counts"] == [len(values)]
    assert found["edges"][0] == values[0] < found["edges"][1] <= values[0] * 1.001 + 1e-6


@pytest.mark.parametrize("far", [1e2, 1e4, 1e7])
@pytest.mark.parametrize("share", [1, 50, 150])  # of 1000: up to a seventh
def test_a_tail_takes_no_bin_from_the_rest(far: float, share: int) -> None:
    rest = np.random.default_rng(0).normal(10, 1, 1000 - share)
    alone = histogram(rest.tolist())
    found = histogram([*rest, *([far] * share)])
    widest = {id(one): max(one["counts"]) for one in (alone, found)}
    # Where the tail flattened it, the rest would lie in a single bin.
    assert widest[id(found)] < 1.5 * widest[id(alone)]
    inside = sum(1 for edge in found["edges"] if edge < 20)
    assert inside > 10 and found["counts"][-1] == share


def test_two_humps_are_both_seen() -> None:
    rng = np.random.default_rng(1)
    found = histogram([*rng.normal(10, 0.2, 500), *rng.normal(20, 0.2, 500)])
    edges, counts = np.array(found["edges"]), np.array(found["counts"])
    between = counts[(edges[:-1] > 12) & (edges[1:] < 18)]
    assert len(between) >= 5 and between.sum() == 0


def test_a_coarse_clock_that_tells_one_value_mostly_loses_none() -> None:
    found = histogram([1.0] * 97 + [2.0, 3.0, 1000.0])
    assert sum(found["counts"]) == 100 and found["edges"][-1] == 1000.0


def test_the_summary_holds_it() -> None:
    summary = latency_summary([3.0, 1.0, 2.0])
    assert summary["histogram"] == histogram([3.0, 1.0, 2.0])
    assert sum(summary["histogram"]["counts"]) == summary["count"] == 3
