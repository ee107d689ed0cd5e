"""What a precision explains is three times what its noise does; where that tells nothing, it is said."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelport.core.errors import GraphError
from modelport.diagnose.distance import distance
from modelport.diagnose.trace.explained import LEAST, explained, explained_each
from modelport.diagnose.trace.running import bench
from modelport.model.graph.disturbed import disturbed

X = {"x": np.linspace(0, 1, 64, dtype=np.float32).reshape(4, 16)}


def root_of_squares() -> onnx.ModelProto:
    """|x| by its square, whose noise is below zero where x is nearly zero."""
    nodes = [helper.make_node("Mul", ["x", "x"], ["square"]), helper.make_node("Sqrt", ["square"], ["y"])]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "roots", sides[:1], sides[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def squares() -> onnx.ModelProto:
    model = root_of_squares()
    model.graph.node.pop()
    model.graph.node[0].output[0] = "y"
    return model


def test_three_times_what_noise_does_is_explained() -> None:
    model = squares()
    with bench() as runtime:
        found = explained(model, X, ["y"], "bf16", runtime, lambda *_: 0.0)
        want = runtime.run(model, X)["y"]
        moved = [distance(runtime.run(disturbed(model, "bf16", seed), X)["y"], want).rel_l2 for seed in (0, 1)]
    assert found.rel_l2 == found.each["y"] == pytest.approx(3 * max(moved))
    assert found.rel_l2 > LEAST["bf16"]


def test_noise_that_tells_nothing_is_said() -> None:
    with bench() as runtime:
        with pytest.raises(GraphError, match="with noise of int8's roundoff its outputs are not finite"):
            explained(root_of_squares(), X, ["y"], "int8", runtime, lambda *_: 0.0)
        assert explained_each(root_of_squares(), X, "int8", runtime)[1] == {"y": LEAST["int8"]}
