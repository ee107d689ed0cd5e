"""What precision explains: it grows with the sum's length and with cancellation, and a fault of 1e-3 is above it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array
from modelport.diagnose.trace.bounds import Moves, Work, expected, length_of
from modelport.diagnose.trace.findings import UnitFound
from modelport.diagnose.trace.nodes import examine
from modelport.model.graph.flow import Flow


def _product(weight: Array, bias: Array, *, spelled: bool) -> onnx.ModelProto:
    """A layer in one operator, or with its sum over the inputs in two halves."""
    half = len(weight) // 2
    if spelled:
        nodes = [
            helper.make_node("Split", ["x"], ["x0", "x1"], "split", axis=1, num_outputs=2),
            helper.make_node("MatMul", ["x1", "w1"], ["p1"], "second"),
            helper.make_node("Add", ["p1", "b"], ["s"], "bias"),
            helper.make_node("MatMul", ["x0", "w0"], ["p0"], "first"),
            helper.make_node("Add", ["s", "p0"], ["y"], "sum"),
        ]
        constants = {"w0": weight[:half], "w1": weight[half:], "b": bias}
    else:
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "layer")]
        constants = {"w": weight, "b": bias}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(weight)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", weight.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return model


def _compare(length: int, shift: float, scale: float = 1.0) -> UnitFound:
    """``shift`` makes the products large and their sum small: the bias takes away what they have in common."""
    rng = np.random.default_rng(1)
    x = (shift + rng.standard_normal((16, length))).astype(np.float32)
    weight = rng.standard_normal((length, 16)).astype(np.float32)
    bias = -(shift * weight.sum(0)).astype(np.float32)
    reference, candidate = (
        _product(weight, bias, spelled=False),
        _product(weight * np.float32(scale), bias, spelled=True),
    )
    (found,) = examine(reference, candidate, {"x": x}, None, "fp32").units
    # The oracle: float64.
    exact = x.astype(np.float64) @ weight.astype(np.float64) + bias
    assert np.isfinite(exact).all()
    return found


@pytest.mark.parametrize("length", [16, 1024])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_another_order_of_summing_is_explained_and_a_thousandth_is_not(length: int, shift: float) -> None:
    healthy = _compare(length, shift)
    assert 0 < healthy.local.rel_l2 <= healthy.expected and not healthy.departs
    assert _compare(length, shift, 1.001 if not shift else 1.01).departs


def test_cancellation_is_measured() -> None:
    plain, cancelled = _compare(256, 0.0), _compare(256, 1000.0)
    # The terms are a thousand times as large as their sum, and so is what rounding does to it.
    assert 100 < cancelled.local.rel_l2 / plain.local.rel_l2 < 10_000
    assert 100 < cancelled.expected / plain.expected < 10_000


def test_the_bound_follows_its_formula() -> None:
    one = expected(Work(1, 1), "fp32", Moves())
    assert expected(Work(1, 10_000), "fp32", Moves()) > 20 * one
    assert expected(Work(1, 1), "fp16", Moves()) > 1000 * one
    assert one < 1e-5
    # Of results as small as float16's steps little is left, and that is explained; that nothing is left is not.
    assert 0.1 < expected(Work(1, 1), "fp16", Moves(size=1e-7)) < 1
    assert expected(Work(1, 1), "int8", Moves(quantization=0.02)) == pytest.approx(0.025, rel=1e-3)


def test_how_many_terms_are_summed() -> None:
    def node(op: str, weight: tuple[int, ...], given: tuple[int, ...], **attributes: Any) -> int:
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, given)
        w = numpy_helper.from_array(np.zeros(weight, np.float32), "w")
        made = helper.make_node(op, ["x", "w"] if weight else ["x"], ["y"], **attributes)
        graph = helper.make_graph([made], "g", [x], [helper.make_empty_tensor_value_info("y")], [w] if weight else [])
        flow = Flow.of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
        return length_of(flow, flow.steps[0], {**flow.kinds({"x": np.zeros(given, np.float32)})})

    assert node("Conv", (8, 3, 5, 5), (1, 3, 9, 9)) == 75
    assert node("Conv", (8, 1, 5, 5), (1, 8, 9, 9), group=8) == 25
    assert node("ConvTranspose", (3, 8, 2, 2), (1, 3, 9, 9)) == 12
    # A weight that the operator cannot take: running it tells.
    assert node("ConvTranspose", (3,), (1, 3, 9)) == 1
    assert node("MatMul", (7, 3), (2, 7)) == 7
    assert node("ReduceMean", (), (2, 3), axes=[1]) == 3
    assert node("GlobalAveragePool", (), (2, 3, 4, 4)) == 16
    assert node("Relu", (), (2, 3)) == 1
