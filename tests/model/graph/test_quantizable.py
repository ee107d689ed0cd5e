"""What carries the arithmetic of a graph, and in what it is computed."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array
from modelport.model.graph.file import precision_of
from modelport.model.graph.quantizable import (
    after_the_last_heavy,
    heavy_nodes,
    heavy_precisions,
    name_nodes,
    prevailing,
    quantized_nodes,
)


def _model(nodes: list[onnx.NodeProto], weights: dict[str, Array]) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    initialisers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


SQUARE = np.eye(3, dtype=np.float32)


def _chain() -> list[onnx.NodeProto]:
    """relu → gemm → add → matmul → softmax, with a side branch after the last product."""
    return [
        helper.make_node("Relu", ["x"], ["a"], "relu"),
        helper.make_node("Gemm", ["a", "w"], ["b"], "gemm"),
        helper.make_node("Add", ["b", "a"], ["c"], "add"),
        helper.make_node("MatMul", ["c", "w"], ["d"], "matmul"),
        helper.make_node("Softmax", ["d"], ["e"], "softmax"),
        helper.make_node("Mul", ["e", "c"], ["y"], "mul"),
    ]


def test_what_no_heavy_layer_follows_makes_the_answer() -> None:
    model = _model(_chain(), {"w": SQUARE})
    assert heavy_nodes(model) == ["gemm", "matmul"]
    assert after_the_last_heavy(model) == ["softmax", "mul"]


def test_every_node_gets_a_name_of_its_own() -> None:
    nodes = _chain()
    nodes[0].name, nodes[2].name = "", "gemm"
    model = _model(nodes, {"w": SQUARE})
    assert name_nodes(model) == 2
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == 6
    assert all(names)
    assert names[1] == "gemm"
    assert name_nodes(model) == 0


def _quantized(closed: bool) -> onnx.ModelProto:
    """A convolution between 8-bit tensors; its result goes back to 8 bits where ``closed``."""
    after = "QuantizeLinear" if closed else "Relu"
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"], "q"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "dq"),
        helper.make_node("DequantizeLinear", ["wq", "s", "zw"], ["wd"], "dqw"),
        helper.make_node("Conv", ["xd", "wd"], ["c"], "conv"),
        helper.make_node(after, ["c", "s", "z"] if closed else ["c"], ["y"], "after"),
    ]
    weights: dict[str, Array] = {
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.uint8),
        "zw": np.array(0, np.int8),
        "wq": np.ones((2, 3, 1, 1), np.int8),
    }
    return _model(nodes, weights)


def test_a_convolution_is_int8_where_its_result_is() -> None:
    assert heavy_precisions(_quantized(True)) == {"conv": "int8"}
    assert "int8" not in heavy_precisions(_quantized(False)).values()
    assert quantized_nodes(_quantized(True)) == ["conv"]


def test_floats_are_told_by_the_weights() -> None:
    model = _model(_chain(), {"w": SQUARE.astype(np.float16)})
    assert heavy_precisions(model) == {"gemm": "fp16", "matmul": "fp16"}
    assert precision_of(model) == "fp16"
    assert precision_of(_model(_chain(), {"w": SQUARE})) == "fp32"


def test_most_layers_give_a_model_its_name_and_fp32_means_all() -> None:
    assert prevailing([]) == "fp32"
    assert prevailing(["fp32", "fp32"]) == "fp32"
    assert prevailing(["int8", "int8", "fp32"]) == "int8"
    assert prevailing(["int8", "fp32"]) == "mixed: fp32, int8"
    assert prevailing(["fp32", "fp32", "int8"]) == "mixed: fp32, int8"
