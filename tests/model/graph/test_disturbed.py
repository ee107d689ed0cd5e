"""Noise of a precision's roundoff moves a graph's outputs as much as rounding itself does, within a small factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array
from modelport.diagnose.distance import distance
from modelport.diagnose.trace.running import bench
from modelport.model.graph.disturbed import ROUNDOFFS, disturbed

RNG = np.random.default_rng(3)
LAYERS = 6


def perceptron(opset: int = 18) -> onnx.ModelProto:
    """Layers of 32 × 32 with ReLU between them, as a trained network's of gain 2."""
    nodes: list[Any] = []
    held = []
    last = "x"
    for layer in range(LAYERS):
        weight = (RNG.standard_normal((32, 32)) * (2 / 32) ** 0.5).astype(np.float32)
        held.append(numpy_helper.from_array(weight, f"w{layer}"))
        out = "y" if layer == LAYERS - 1 else f"r{layer}"
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"m{layer}"], f"mat{layer}"))
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [out], f"relu{layer}"))
        last = out
    shape: list[str | int] = ["rows", 32]
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


NET = perceptron()
X = {"x": RNG.standard_normal((64, 32)).astype(np.float32)}


def answers(model: onnx.ModelProto) -> Array:
    with bench() as runtime:
        return runtime.run(model, X)["y"]


def in_float16(model: onnx.ModelProto) -> Array:
    """Float16 by NumPy: every product summed in float32, every result rounded."""
    rows = X["x"].astype(np.float16)
    for tensor in model.graph.initializer:
        weight = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        rows = np.maximum((rows.astype(np.float32) @ weight).astype(np.float16), 0)
    return rows


def test_it_moves_the_outputs_as_rounding_does() -> None:
    want = answers(NET)
    really = distance(in_float16(NET), want).rel_l2
    noisy = distance(answers(disturbed(NET, "fp16")), want).rel_l2
    assert really / 2 < noisy < 2 * really


def test_a_coarser_precision_moves_them_more() -> None:
    want = answers(NET)
    far = [distance(answers(disturbed(NET, precision)), want).rel_l2 for precision in ("fp32", "fp16", "bf16", "int8")]
    assert 0 < far[0] < far[1] < far[2] < far[3] < 0.2


@pytest.mark.parametrize("precision", ROUNDOFFS)
def test_every_opset_that_is_exported_can_be_disturbed(precision: str) -> None:
    for opset in (11, 21):
        made = disturbed(perceptron(opset), precision)
        onnx.checker.check_model(made, full_check=True)
        assert np.isfinite(answers(made)).all()


def test_local_functions_are_disturbed_as_what_they_stand_for() -> None:
    nodes = list(NET.graph.node)
    reads = ["x", *(tensor.name for tensor in NET.graph.initializer)]
    opset = helper.make_opsetid("", 18)
    folded = onnx.ModelProto()
    folded.CopyFrom(NET)
    del folded.graph.node[:]
    folded.graph.node.append(helper.make_node("Net", reads, ["y"], "net", domain="own"))
    folded.functions.append(helper.make_function("own", "Net", reads, ["y"], nodes, [opset]))
    folded.opset_import.append(helper.make_opsetid("own", 1))
    assert np.array_equal(answers(folded), answers(NET))
    assert np.array_equal(answers(disturbed(folded, "fp16")), answers(disturbed(NET, "fp16")))


def test_other_seeds_draw_otherwise_and_the_graph_stays() -> None:
    before = NET.SerializeToString()
    first, again, other = (answers(disturbed(NET, "fp16", seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert NET.SerializeToString() == before


def test_a_tensor_of_zeros_stays_one_in_eight_bits() -> None:
    zero = onnx.ModelProto()
    zero.CopyFrom(NET)
    for tensor in zero.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.zeros((32, 32), np.float32), tensor.name))
    assert not answers(disturbed(zero, "int8")).any()


def test_arithmetic_on_sizes_stays_exact() -> None:
    """Half of the rows, by a float product of their number and Floor: noise would make one row less of it."""

    def node(op: str, inputs: str, out: str, **settings: Any) -> Any:
        return helper.make_node(op, inputs.split(), [out], out, **settings)

    nodes = [
        node("Shape", "x", "sizes", end=1),
        node("Cast", "sizes", "rows", to=TensorProto.FLOAT),
        node("Mul", "rows half", "halved"),
        node("Floor", "halved", "whole"),
        node("Cast", "whole", "count", to=TensorProto.INT64),
        node("Slice", "x zero count", "first"),
        node("Mul", "first first", "y"),
    ]
    held = [
        numpy_helper.from_array(value, name)
        for name, value in (("half", np.array([0.5], np.float32)), ("zero", np.array([0], np.int64)))
    ]
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [axis, 32]) for name, axis in (("x", 64), ("y", 32))
    ]
    graph = helper.make_graph(nodes, "halves", sides[:1], sides[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    want = answers(model)
    for seed in range(4):
        got = answers(disturbed(model, "int8", seed))
        assert got.shape == want.shape == (32, 32)
        assert not np.array_equal(got, want)
