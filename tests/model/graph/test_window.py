"""A graph cut into windows answers as the whole; pieces side by side answer as each alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.core.errors import GraphError
from modelport.core.values import Array
from modelport.model.graph.flow import Flow, Kind
from modelport.model.graph.isolate import Piece, isolated
from modelport.model.graph.window import UNKNOWN, size_of, window_model, windows

FLOAT = TensorProto.FLOAT


def _run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _model(nodes: list[onnx.NodeProto], outputs: list[str], constants: Mapping[str, Array]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model


def _branching() -> onnx.ModelProto:
    """A shortcut over a conditional that takes tensors from outside, and a constant that is computed of another."""
    inner = [helper.make_node("Mul", ["a", "w2"], ["inner"])]
    other = [helper.make_node("Neg", ["a"], ["inner"])]
    branches = [
        helper.make_graph(nodes, name, [], [helper.make_tensor_value_info("inner", FLOAT, None)])
        for name, nodes in (("then", inner), ("else", other))
    ]
    nodes = [
        helper.make_node("Add", ["w", "w"], ["w2"]),
        helper.make_node("Mul", ["x", "w"], ["a"]),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["b"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Add", ["c", "a"], ["y"]),
    ]
    return _model(nodes, ["y"], {"w": np.array([1, -2, 3, 4], np.float32), "zero": np.array(0, np.float32)})


X = {"x": np.random.default_rng(0).standard_normal((3, 4), dtype=np.float32)}


@pytest.mark.parametrize("most", [1, 2, 100])
def test_windows_answer_as_the_whole(most: int) -> None:
    model = _branching()
    flow = Flow.of(model)
    alive: dict[str, Array] = dict(X)
    pieces = windows(flow, flow.kinds(X), 1 << 20, most)
    assert len(pieces) == -(-len(flow.varying) // most)
    for steps in pieces:
        made = [name for step in steps for name in step.gives]
        read = {name for step in steps for name in step.reads}
        feeds = {name: array for name, array in alive.items() if name in read}
        alive |= _run(window_model(flow, steps, feeds, made), feeds)
    np.testing.assert_array_equal(alive["y"], _run(model, X)["y"])


def test_a_conditional_reads_what_its_branches_take() -> None:
    flow = Flow.of(_branching())
    conditional = next(step for step in flow.steps if step.op == "If")
    assert set(conditional.reads) == {"positive", "a", "w2"}
    assert "w2" in flow.fixed and "a" not in flow.fixed


def test_pieces_side_by_side_do_not_feed_each_other() -> None:
    flow = Flow.of(_branching())
    by_op = {step.op: step for step in flow.varying}
    given = {"a": np.full((3, 4), 5, np.float32), "positive": np.array(False)}
    first = Piece([by_op["If"]], given, "b")
    second = Piece([by_op["Relu"]], {"b": X["x"]}, "c")
    model, feeds, outputs = isolated(flow, [first, second])
    got = _run(model, feeds)
    np.testing.assert_array_equal(got[outputs[0]], np.full((3, 4), -5, np.float32))
    np.testing.assert_array_equal(got[outputs[1]], np.maximum(X["x"], 0))


def test_windows_hold_no_more_than_the_limit() -> None:
    nodes = [helper.make_node("Relu", [f"t{place}" if place else "x"], [f"t{place + 1}"]) for place in range(20)]
    flow = Flow.of(_model(nodes, ["t20"], {}))
    kinds = flow.kinds(X)
    one = X["x"].nbytes
    pieces = windows(flow, kinds, 3 * one, 100)
    assert [len(piece) for piece in pieces] == [3] * 6 + [2]
    # A tensor that is larger than the limit has a window of its own.
    assert [len(piece) for piece in windows(flow, kinds, one - 1, 100)] == [1] * 20


def test_what_is_not_known_counts_as_large() -> None:
    assert size_of(None) == size_of(Kind(FLOAT, None)) == UNKNOWN
    assert size_of(Kind(FLOAT, 10)) == 40


def test_sizes_that_no_machine_has_are_told_as_they_are() -> None:
    shape = np.array([2**32, 2**32, 3, 4], np.int64)
    flow = Flow.of(_model([helper.make_node("Expand", ["x", "shape"], ["y"])], ["y"], {"shape": shape}))
    assert flow.kinds(X)["y"].elements == 2**64 * 12


def test_a_constant_that_gives_nothing_is_a_node_as_others() -> None:
    flow = Flow.of(_model([helper.make_node("Constant", [], [], "none", value_int=3)], [], {}))
    assert [step.name for step in flow.steps] == ["none"] and not flow.constants


def test_nodes_in_any_order_are_sorted_and_named() -> None:
    model = _branching()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    flow = Flow.of(model)
    places = {name: step.index for step in flow.steps for name in step.gives}
    assert all(places.get(name, -1) < step.index for step in flow.steps for name in step.reads)
    assert len({step.name for step in flow.steps}) == len(flow.steps)
    assert [step.name for step in Flow.of(model).steps] == [step.name for step in flow.steps]


@pytest.mark.parametrize("source", ["nowhere", "t2"])
def test_a_graph_at_odds_with_itself_is_refused(source: str) -> None:
    nodes = [helper.make_node("Add", ["x", source], ["t1"], "one"), helper.make_node("Relu", ["t1"], ["t2"], "two")]
    with pytest.raises(GraphError, match="nowhere" if source == "nowhere" else "circle"):
        Flow.of(_model(nodes, ["t2"], {}))


def test_the_model_that_is_given_stays_as_it_is() -> None:
    model = _branching()
    before = model.SerializeToString(deterministic=True)
    Flow.of(model)
    assert model.SerializeToString(deterministic=True) == before
