"""The way back to float32, on a model of additive noise of which the right order is known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pytest

from modelport.core.progress import Silent
from modelport.model.graph.quantizable import prevailing
from modelport.stages.int8.sensitivity import MOST_STEPS, groups_of, most_returned, ranked, return_layers

NOISE = {"a": 1.0, "b": 5.0, "c": 0.5, "d": 3.0}


@dataclass
class Found:
    excess: float


def _left(kept: Collection[str]) -> float:
    return sum(noise for name, noise in NOISE.items() if name not in kept)


def test_the_noisiest_layer_is_first() -> None:
    order = ranked(groups_of(list(NOISE)), (), _left, Silent())
    assert [group for group, _ in order] == [("b",), ("d",), ("a",), ("c",)]
    assert [gain for _, gain in order] == pytest.approx([NOISE[group[0]] / 9.5 for group, _ in order])


@pytest.mark.parametrize(("tolerated", "kept"), [(10, ()), (5, ("b",)), (2, ("b", "d")), (0, ("b", "d", "a", "c"))])
def test_layers_return_one_after_another_until_it_is_enough(tolerated: float, kept: tuple[str, ...]) -> None:
    order = ranked(groups_of(list(NOISE)), (), _left, Silent())
    done = return_layers(order, (), len(NOISE), lambda now: Found(_left(now) - tolerated))
    assert done.kept == kept
    assert done.passed
    assert [step["returned"] for step in done.steps] == [[name] for name in kept]


def test_it_stops_at_its_bound_with_the_best_that_it_had() -> None:
    order = ranked(groups_of(list(NOISE)), (), _left, Silent())
    done = return_layers(order, (), 2, lambda now: Found(_left(now)))
    assert done.kept == ("b", "d")
    assert not done.passed
    worse = return_layers(order, (), 4, lambda now: Found(1.0 + len(now)))
    assert worse.kept == ()
    assert len(worse.steps) == 4


@pytest.mark.parametrize("layers", range(1, 9))
def test_a_model_whose_layers_have_returned_is_still_called_int8(layers: int) -> None:
    most = most_returned(layers)
    assert prevailing(["fp32"] * most + ["int8"] * (layers - most)) == "int8"
    assert prevailing(["fp32"] * (most + 1) + ["int8"] * (layers - most - 1)) != "int8"


def test_only_layers_that_carry_the_arithmetic_count() -> None:
    order = ranked(groups_of(list(NOISE)), (), _left, Silent())
    done = return_layers(order, (), 1, lambda now: Found(_left(now)), ("d", "a"))
    assert done.kept == ("b", "d") and not done.passed


def test_what_the_plan_keeps_is_kept_and_not_counted() -> None:
    order = ranked(groups_of(["a", "c", "d"]), ("b",), _left, Silent())
    done = return_layers(order, ("b",), 1, lambda now: Found(_left(now) - 2))
    assert done.kept == ("b", "d")


def test_many_layers_return_in_groups_and_steps_widen() -> None:
    layers = [f"n{number}" for number in range(150)]
    groups = groups_of(layers, 64)
    assert len(groups) <= 64
    assert [name for group in groups for name in group] == layers
    done = return_layers([(group, 0.0) for group in groups], (), 150, lambda now: Found(1.0))
    assert len(done.steps) <= MOST_STEPS
    assert [len(step["returned"]) // 3 for step in done.steps][:8] == [1, 1, 1, 1, 1, 1, 2, 4]
