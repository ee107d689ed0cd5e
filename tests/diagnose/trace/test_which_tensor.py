"""Tensors are paired by values, names, weights and structure, whichever tell; sketches tell tensors apart."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from small_graphs import FAULTS, planted, renamed, small_graph

from modelport.core.values import Array
from modelport.diagnose.trace.pairing import pairing
from modelport.diagnose.trace.sides import Side
from modelport.diagnose.trace.sketch import VALUES, apart, sketch
from modelport.diagnose.trace.units import cone, units
from modelport.diagnose.trace.weights import constant_value, weight_of
from modelport.model.graph.flow import Flow

RNG = np.random.default_rng(0)


def _unseen(model: onnx.ModelProto) -> Side:
    """A graph of which no run told anything."""
    flow = Flow.of(model)
    made = [name for step in flow.varying for name in step.gives]
    return Side.of(flow, {}, [*made, *(value.name for value in flow.inputs)])


def _tensors(model: onnx.ModelProto, other: onnx.ModelProto) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for one, two in zip(model.graph.node, other.graph.node, strict=True):
        pairs |= dict(zip(two.output, one.output, strict=True))
    return pairs


def test_names_tell_where_nothing_was_seen() -> None:
    found = pairing(_unseen(small_graph()), _unseen(small_graph()), "fp32").to_other
    assert all(one == two for one, two in found.items())
    assert set(found) >= {name for node in small_graph().graph.node for name in node.output}


def test_structure_and_weights_tell_where_names_do_not() -> None:
    """From the output up, over the layers that have the same weights; a tensor paired is paired with its own."""
    model = small_graph()
    other = renamed(model)
    found = pairing(_unseen(other), _unseen(model), "fp32").to_other
    true = _tensors(model, other)
    paired = {one: two for one, two in found.items() if one in true}
    assert len(paired) == len(true)
    assert all(true[one] == two for one, two in paired.items())


def test_a_changed_operator_keeps_the_pairs_around_it() -> None:
    model, _ = planted("activation")
    other = renamed(model)
    found = pairing(_unseen(other), _unseen(small_graph()), "fp32").to_other
    true = _tensors(small_graph(), other)
    assert all(true[one] == two for one, two in found.items() if one in true)
    assert len(found) >= len(true)


def test_units_are_the_nodes_between_pairs() -> None:
    flow = Flow.of(small_graph())
    known = {name: name for name in ("input", "stem_relu", "block.out", "scores_out")}
    first, second, rest = units(flow, flow, known)
    assert first.nodes == ("n_stem", "n_stem_relu") and first.inputs == (("input", "input"),)
    assert second.nodes == ("n_block.conv1", "n_block.act", "n_block.conv2", "n_block.add", "n_block.out")
    assert rest.inputs == (("block.out", "block.out"),) and rest.reference_nodes == rest.nodes
    steps, reads = cone(flow, "reduced", ["joined"])
    assert [step.name for step in steps] == ["n_scaled", "n_reduced"] and reads == ["joined"]


def test_sketches_are_about_the_distance() -> None:
    want = RNG.standard_normal((40, 50)).astype(np.float32)
    for size in (1e-4, 1e-2, 0.3):
        noise = RNG.standard_normal(want.shape).astype(np.float32) * np.float32(size)
        true = float(np.linalg.norm(noise) / np.linalg.norm(want))
        assert abs(apart(sketch(want + noise), sketch(want)) / true - 1) < 0.2
    assert apart(sketch(want), sketch(want)) == 0
    assert math.isinf(apart(sketch(want.T), sketch(want)))


def test_sketches_of_odd_tensors() -> None:
    rare = np.zeros(100 * VALUES, np.float32)
    rare[7] = 1
    assert apart(sketch(np.zeros_like(rare)), sketch(rare)) > 0.5
    broken = np.full(10, np.nan, np.float32)
    assert apart(sketch(broken), sketch(broken)) == 0
    assert math.isinf(apart(sketch(broken), sketch(np.ones(10, np.float32))))
    assert math.isinf(apart(sketch(np.ones(10, np.float32)), sketch(broken)))
    assert apart(sketch(np.zeros((0, 3))), sketch(np.zeros((0, 3)))) == 0
    assert apart(sketch(np.array(3)), sketch(np.array(3))) == 0


def test_weights_are_read_behind_what_hands_them_on() -> None:
    from onnx import TensorProto, helper, numpy_helper

    values = RNG.integers(-120, 120, (4, 3, 3, 3), np.int8)
    scale = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    constants: Mapping[str, Array] = {"q": values, "s": scale, "z": np.zeros(4, np.int8)}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("Identity", ["w"], ["same"]),
        helper.make_node("Conv", ["x", "same"], ["y"], "layer"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    flow = Flow.of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    read = constant_value(flow, "same")
    assert read is not None
    np.testing.assert_allclose(read, values * scale.reshape(4, 1, 1, 1))
    # A batch norm that was folded scales the filters: they are compared at length 1.
    filters = weight_of(flow, flow.named["layer"])
    assert filters is not None
    np.testing.assert_allclose(np.linalg.norm(filters.reshape(4, -1), axis=1), 1, rtol=1e-6)


def _dequantizing(block_size: int, *, zero: Array, chain: int = 0) -> Flow:
    """Weights (4, 4) of ones in 8 bits, in steps of two blocks along the first axis, handed on ``chain`` times."""
    from onnx import helper, numpy_helper

    scale = np.ones((4 // block_size, 4) if block_size else 4, np.float32)
    constants: Mapping[str, Array] = {"q": np.ones((4, 4), np.int8), "s": scale, "z": zero}
    blocks: dict[str, Any] = {"block_size": block_size} if block_size else {}
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w0"], axis=0, **blocks)]
    nodes += [helper.make_node("Identity", [f"w{place}"], [f"w{place + 1}"]) for place in range(chain)]
    graph = helper.make_graph(
        nodes, "g", [], [], [numpy_helper.from_array(one, name) for name, one in constants.items()]
    )
    return Flow.of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def test_weights_in_steps_that_do_not_go_with_their_axis_are_not_read() -> None:
    assert constant_value(_dequantizing(2, zero=np.zeros((2, 4), np.int8)), "w0") is None
    assert constant_value(_dequantizing(0, zero=np.zeros(3, np.int8)), "w0") is None


def test_weights_are_read_behind_any_number_of_nodes() -> None:
    read = constant_value(_dequantizing(0, zero=np.zeros(4, np.int8), chain=1200), "w1200")
    assert read is not None and (read == 1).all()


def test_planting_leaves_the_graph_as_it_is() -> None:
    before = small_graph().SerializeToString(deterministic=True)
    for kind in FAULTS:
        assert planted(kind)[0].SerializeToString(deterministic=True) != before, kind
    assert copy.deepcopy(small_graph()).SerializeToString(deterministic=True) == before
