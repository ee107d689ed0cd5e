"""A black box is bisected to the very node, whichever it is, in at most ⌈log2 n⌉ + 2 runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from black_box import BlackBox
from modelport.core.artifacts import Artifact
from modelport.diagnose.trace.bisect import Bisection, OnEngine
from modelport.diagnose.trace.locating import bisected
from modelport.diagnose.trace.running import bench
from modelport.diagnose.trace.stages import Step
from modelport.engines.base import Build, Launch
from modelport.model.graph.cut import living, prefix
from modelport.model.graph.flow import Flow

RNG = np.random.default_rng(0)
X = {"x": RNG.standard_normal((2, 3, 8, 8)).astype(np.float32)}


def branched() -> onnx.ModelProto:
    """A net with two branches, a residual sum and a gate: (batch, 3, 8, 8) → (batch, 5)."""

    def node(op: str, inputs: str, out: str, **settings: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs.split(), [out], f"node_{out}", **settings)

    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", "x w1 b1", "c1", **pads),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", **pads),
        node("Conv", "r1 w3", "c3"),
        node("Sigmoid", "c3", "gate"),
        node("Mul", "c2 gate", "gated"),
        node("Add", "gated r1", "sum"),
        node("Relu", "sum", "r2"),
        node("MaxPool", "r2", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "pooled", "mean"),
        node("Flatten", "mean", "flat"),
        node("Gemm", "flat w4 b4", "y"),
    ]
    weights = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (4, 4, 3, 3), "w3": (4, 4, 1, 1), "w4": (4, 5), "b4": (5,)}
    held = [numpy_helper.from_array(RNG.standard_normal(s).astype(np.float32), n) for n, s in weights.items()]
    graph = helper.make_graph(
        nodes,
        "branched",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


NET = branched()
NODES = [node.name for node in NET.graph.node]


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> type[BlackBox]:
    monkeypatch.setattr(BlackBox, "wrong", "")
    monkeypatch.setattr(BlackBox, "refused", "-")
    monkeypatch.setattr(BlackBox, "opened", 0)
    return BlackBox


@pytest.fixture
def search(box: type[BlackBox], tmp_path: Path) -> Iterator[Bisection]:
    with bench() as runtime:
        taken = OnEngine(box(), Build(precision="fp32"), Launch(), tmp_path)
        yield Bisection(NET, X, "fp32", taken, runtime)


@pytest.mark.parametrize("name", NODES)
def test_every_node_is_found(name: str, box: type[BlackBox], search: Bisection) -> None:
    box.wrong = name
    found = search.alone(search.first())
    assert found.node == name
    assert found.departs
    assert found.local.rel_l2 == pytest.approx(0.1, rel=1e-3)
    assert search.runs == box.opened <= math.ceil(math.log2(len(NODES))) + 1


def test_a_graph_whose_nodes_hang_on_no_input_has_nothing_to_cut(box: type[BlackBox], tmp_path: Path) -> None:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(NET)
    del fixed.graph.node[:]
    fixed.graph.node.append(helper.make_node("Add", ["b5", "b5"], ["y"], "node_y"))
    fixed.graph.initializer.append(numpy_helper.from_array(np.ones((2, 5), np.float32), "b5"))
    onnx.save(fixed, tmp_path / "fixed.onnx")
    graph = Artifact.of(tmp_path / "fixed.onnx", "onnx")
    step = Step("blackbox", graph, box(), Build(precision="fp32"), "fp32", graph=graph)
    found = bisected(step, X, tmp_path)
    assert (found.culprits, found.runs) == ([], 0)
    assert found.notes == ["no node of the graph hangs on its inputs"]


def test_a_sound_engine_departs_nowhere(search: Bisection) -> None:
    for place in (0, 4, 6, len(NODES) - 1):
        assert not search.departs(place)
        assert not search.alone(place).departs


def test_a_node_that_the_engine_refuses_is_found(box: type[BlackBox], search: Bisection) -> None:
    box.refused = "node_gated"
    found = search.alone(search.first())
    assert found.node == "node_gated"
    assert found.departs
    assert math.isinf(found.local.rel_l2)
    assert any("is not known here" in note for note in search.notes)


def test_a_cut_gives_what_lives_across_it() -> None:
    flow = Flow.of(NET)
    assert living(flow, NODES.index("node_c3")) == ["r1", "c2", "c3"]
    assert living(flow, len(NODES) - 1) == ["y"]
    cut = prefix(flow, NODES.index("node_c3"), X)
    assert [node.name for node in cut.graph.node] == NODES[:4]
    onnx.checker.check_model(cut)


def test_an_input_that_comes_in_late_is_no_input_of_an_early_cut(box: type[BlackBox], tmp_path: Path) -> None:
    late = onnx.ModelProto()
    late.CopyFrom(NET)
    late.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, ["batch", 5]))
    late.graph.node[-1].output[0] = "plain"
    late.graph.node.append(helper.make_node("Mul", ["plain", "scale"], ["y"], "node_y2"))
    feeds = X | {"scale": np.full((2, 5), 2, np.float32)}
    with bench() as runtime:
        taken = OnEngine(box(), Build(precision="fp32"), Launch(), tmp_path)
        for box.wrong in ("node_c1", "node_y2"):
            search = Bisection(late, feeds, "fp32", taken, runtime)
            assert search.alone(search.first()).node == box.wrong
