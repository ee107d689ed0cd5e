"""Weights may stand in a graph in a few equal parts; what is not there to the bit is lost all the same."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from modelport.core.values import Array
from modelport.model.graph.proof import _Pool, prove_weights

WEIGHTS = np.random.default_rng(0).standard_normal((6, 12, 1, 1)).astype(np.float32)


def _holds(parts: list[Array], value: Array) -> bool:
    return _Pool([(str(place), part) for place, part in enumerate(parts)]).holds(value)


@pytest.mark.parametrize(("axis", "count"), [(0, 2), (0, 3), (1, 3), (1, 4)])
def test_equal_parts_are_the_whole_and_a_changed_bit_is_not(axis: int, count: int) -> None:
    parts = [part.copy() for part in np.split(WEIGHTS, count, axis)]
    assert _holds(parts, WEIGHTS)
    assert not _holds(parts[1:], WEIGHTS)
    parts[-1].flat[0] = np.nextafter(parts[-1].flat[0], np.float32(9))
    assert not _holds(parts, WEIGHTS)


def test_a_vector_is_not_found_in_single_numbers() -> None:
    assert not _holds([np.zeros(1, np.float32)], np.zeros(4, np.float32))
    assert not _holds([np.zeros((1, 1), np.float32)], np.zeros((2, 2), np.float32))


@pytest.mark.parametrize("value", [0.0, 1e-30])
def test_a_bias_of_zeros_may_be_left_out_and_any_other_is_lost(value: float) -> None:
    """What PyTorch's exporter makes of a layer whose bias is zero has no bias at all."""
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.bias.fill_(value)
    weight = onnx.numpy_helper.from_array(layer.weight.detach().numpy(), "weight")
    node = onnx.helper.make_node("Gemm", ["x", "weight"], ["y"], transB=1)
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1, size]) for name, size in (("x", 3), ("y", 2))]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight]))
    assert prove_weights(layer, model, torch.zeros(1, 3)).lost == (() if value == 0 else ("bias",))
    with torch.no_grad():
        layer.weight.fill_(0)
    assert "weight" in prove_weights(layer, model, torch.zeros(1, 3)).lost
