"""Layers that a graph does not hold are told from those of another epoch, another training and another network."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.model.graph.kinship import kinship

SHAPES = {"a": (16, 3, 3, 3), "b": (32, 16, 3, 3), "dw": (64, 1, 3, 3), "fc": (10, 64)}


def drawn(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def named(layers: dict[str, Array]) -> list[tuple[str, Array]]:
    """Return constants as a graph has them: under other names, the last layer turned round."""
    return [(f"c{number}", value.T if name == "fc" else value) for number, (name, value) in enumerate(layers.items())]


@pytest.mark.parametrize("moved", [0.05, 0.5, 1.5])
def test_another_epoch_is_like_it_and_not_the_same(moved: float) -> None:
    noise = drawn(1)
    later = {name: value + np.float32(moved) * noise[name] for name, value in drawn(0).items()}
    said = kinship(later, list(later), named(drawn(0)))
    assert (
        said.startswith("other weights, same network: 4 of 4 layers are like the graph's") and "another epoch" in said
    )


def test_a_folded_norm_that_turns_rows_round_hides_nothing() -> None:
    rng = np.random.default_rng(5)
    folded = {
        name: value * rng.normal(size=(len(value), *[1] * (value.ndim - 1))).astype(np.float32)
        for name, value in drawn(0).items()
    }
    later = {name: value + 0.3 * drawn(1)[name] for name, value in drawn(0).items()}
    assert "another epoch" in kinship(later, list(later), named(folded))


@pytest.mark.parametrize("seed", range(1, 6))
def test_another_training_has_the_shapes_alone(seed: int) -> None:
    said = kinship(drawn(0), list(SHAPES), named(drawn(seed)))
    assert said.startswith("other weights, same network: ") and said.endswith("0 of them alike: another training")


def test_another_network_is_no_kin() -> None:
    other = {name: np.ones((*value.shape, 2), np.float32) for name, value in drawn(0).items()}
    assert kinship(drawn(0), list(SHAPES), named(other)) == ""
    assert kinship({"bias": np.ones(512, np.float32)}, ["bias"], named(drawn(0))) == ""


def test_one_changed_layer_is_no_other_training() -> None:
    assert kinship(drawn(0), ["b"], named(drawn(1))) == ""
