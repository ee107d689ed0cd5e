"""A small network as an ONNX file, and faults planted in copies of it: a trace of it takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT, OUTPUT = "actual_input_1", "output1"


def small_net(classes: int = 10) -> onnx.ModelProto:
    """(batch, 3, 32, 32) → (batch, classes): convolutions, a residual sum, a pool, a matrix."""
    rng = np.random.default_rng(5)

    def node(op: str, inputs: str, out: str, **settings: Any) -> onnx.NodeProto:
        return helper.make_node(op, inputs.split(), [out], f"node_{out}", **settings)

    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", f"{INPUT} stem.weight stem.bias", "stem", strides=[2, 2], **same),
        node("Relu", "stem", "relu"),
        node("Conv", "relu layer.conv1.weight", "conv1", **same),
        node("Relu", "conv1", "relu1"),
        node("Conv", "relu1 layer.conv2.weight", "conv2", **same),
        node("Add", "conv2 relu", "sum"),
        node("Relu", "sum", "relu2"),
        node("MaxPool", "relu2", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "pooled", "mean"),
        node("Flatten", "mean", "flat"),
        node("Gemm", "flat fc.weight fc.bias", OUTPUT),
    ]
    sizes = {
        "stem.weight": (8, 3, 3, 3),
        "stem.bias": (8,),
        "layer.conv1.weight": (8, 8, 3, 3),
        "layer.conv2.weight": (8, 8, 3, 3),
        "fc.weight": (8, classes),
        "fc.bias": (classes,),
    }
    held = [
        numpy_helper.from_array((rng.standard_normal(size) / np.sqrt(np.prod(size[1:]) or 1)).astype(np.float32), name)
        for name, size in sizes.items()
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", classes])],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def written(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model and return its path."""
    onnx.save(model, str(path))
    return path


def with_weight(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """Return a copy whose first row of a weight is multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    tensor = next(one for one in copy.graph.initializer if one.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values[0] *= factor
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return copy


def without(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a copy without a node of one input and one output: what it read goes on in its place."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    gone = next(node for node in copy.graph.node if node.name == name)
    for node in copy.graph.node:
        for place, read in enumerate(node.input):
            if read == gone.output[0]:
                node.input[place] = gone.input[0]
    copy.graph.node.remove(gone)
    return copy
