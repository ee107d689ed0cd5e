"""A graph of few weights with one of many operators, and the same under other names."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array

SIZE = 12


def small_graph(opset: int = 17) -> onnx.ModelProto:
    """Convolutions with a shortcut, two branches joined, a resize, attention over places, a head."""
    rng = np.random.default_rng(3)
    weights: dict[str, Array] = {}

    def weight(name: str, *shape: int) -> str:
        scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.2
        weights[name] = (rng.standard_normal(shape) * scale).astype(np.float32)
        return name

    nodes: list[Any] = []

    def node(op: str, inputs: list[str], out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [out], f"n_{out}", **attributes))
        return out

    def conv(source: str, name: str, given: int, made: int, **attributes: Any) -> str:
        attributes = {"pads": [1, 1, 1, 1], "strides": [1, 1], **attributes}
        return node(
            "Conv",
            [source, weight(f"{name}.weight", made, given, 3, 3), weight(f"{name}.bias", made)],
            name,
            **attributes,
        )

    def constant(name: str, *values: float, dtype: Any = np.float32) -> str:
        weights[name] = np.array(values, dtype)
        return name

    x = node("Relu", [conv("input", "stem", 3, 8, strides=[2, 2])], "stem_relu")
    y = node("LeakyRelu", [conv(x, "block.conv1", 8, 8)], "block.act", alpha=0.1)
    y = conv(y, "block.conv2", 8, 8)
    x = node("Relu", [node("Add", [y, x], "block.add")], "block.out")
    a = node("Sigmoid", [conv(x, "left", 8, 6)], "left_act")
    b = node("Relu", [conv(x, "right", 8, 6)], "right_act")
    x = node("Concat", [a, b], "joined", axis=1)
    x = node("Sub", [x, node("Mul", [x, constant("tenth", 0.37)], "scaled")], "reduced")
    x = node("MaxPool", [x], "pooled", kernel_shape=[2, 2], strides=[1, 1])
    x = node(
        "Resize",
        [x, "", constant("scales", 1, 1, 2, 2)],
        "larger",
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    x = conv(x, "mix", 12, 8)
    x = node("Reshape", [x, constant("places", 0, 8, -1, dtype=np.int64)], "flat")
    x = node("Transpose", [x], "tokens", perm=[0, 2, 1])
    q = node("MatMul", [x, weight("q.weight", 8, 8)], "q")
    k = node("Transpose", [node("MatMul", [x, weight("k.weight", 8, 8)], "k")], "kt", perm=[0, 2, 1])
    x = node("MatMul", [node("Softmax", [node("MatMul", [q, k], "scores")], "attention", axis=-1), x], "attended")
    x = node("InstanceNormalization", [x, weight("norm.weight", 100), weight("norm.bias", 100)], "normed", epsilon=1e-2)
    x = node("Flatten", [node("ReduceMean", [x], "mean", axes=[1], keepdims=1)], "features")
    node("Gemm", [x, weight("head.weight", 5, 8), weight("head.bias", 5)], "scores_out", transB=1)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores_out", TensorProto.FLOAT, ["batch", 5])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def images(count: int = 2, seed: int = 0) -> dict[str, Array]:
    """Inputs of the graph, standard normal."""
    return {"input": np.random.default_rng(seed).standard_normal((count, 3, SIZE, SIZE), dtype=np.float32)}


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which nothing but the inputs and outputs has the name that it had."""
    model = copy.deepcopy(model)
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {"": ""}

    def new(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"t{len(names)}")

    for tensor in model.graph.initializer:
        tensor.name = new(tensor.name)
    for place, node in enumerate(model.graph.node):
        node.name = f"op{place}"
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    del model.graph.value_info[:]
    return model


Plant = Callable[[onnx.ModelProto], str]


def node_of(model: onnx.ModelProto, name: str) -> Any:
    return next(node for node in model.graph.node if node.name == name)


def attribute(name: str, key: str, value: Any) -> Plant:
    def plant(model: onnx.ModelProto) -> str:
        node = node_of(model, name)
        kept = [entry for entry in node.attribute if entry.name != key]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(key, value)])
        return name

    return plant


def operator(name: str, op: str) -> Plant:
    def plant(model: onnx.ModelProto) -> str:
        node = node_of(model, name)
        node.op_type = op
        del node.attribute[:]
        return name

    return plant


def constant_changed(name: str, tensor: str, change: Callable[[Array], Array]) -> Plant:
    def plant(model: onnx.ModelProto) -> str:
        found = next(entry for entry in model.graph.initializer if entry.name == tensor)
        values = change(numpy_helper.to_array(found).copy())
        found.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor))
        return name

    return plant


def swapped(name: str) -> Plant:
    def plant(model: onnx.ModelProto) -> str:
        node = node_of(model, name)
        node.input[:2] = [node.input[1], node.input[0]]
        return name

    return plant


def removed(name: str) -> Plant:
    def plant(model: onnx.ModelProto) -> str:
        gone = node_of(model, name)
        for node in model.graph.node:
            node.input[:] = [gone.input[0] if given == gone.output[0] else given for given in node.input]
        model.graph.node.remove(gone)
        return name

    return plant


def inserted(behind: str, op: str) -> Plant:
    """Put an operator behind a tensor, for all that read it."""

    def plant(model: onnx.ModelProto) -> str:
        place = next(index for index, node in enumerate(model.graph.node) if behind in node.output)
        for node in model.graph.node:
            node.input[:] = ["new" if given == behind else given for given in node.input]
        model.graph.node.insert(place + 1, helper.make_node(op, [behind], ["new"], "n_new"))
        return "n_new"

    return plant


FAULTS: dict[str, Plant] = {
    "pads": attribute("n_block.conv1", "pads", [0, 0, 2, 2]),
    "pads of another size": attribute("n_mix", "pads", [0, 0, 0, 0]),
    "strides": attribute("n_stem", "strides", [1, 1]),
    "activation": operator("n_left_act", "Tanh"),
    "alpha": attribute("n_block.act", "alpha", 0.01),
    "epsilon": attribute("n_normed", "epsilon", 1e-3),
    "axis": attribute("n_attention", "axis", 1),
    "weight scaled": constant_changed("n_block.conv2", "block.conv2.weight", lambda w: w * np.float32(1.001)),
    "weight transposed": constant_changed("n_q", "q.weight", lambda w: w.T),
    "channels swapped": constant_changed("n_right", "right.weight", lambda w: w[::-1]),
    "bias lost": constant_changed("n_scores_out", "head.bias", np.zeros_like),
    "constant": constant_changed("n_scaled", "tenth", lambda c: c * np.float32(1.1)),
    "node removed": removed("n_stem_relu"),
    "node inserted": inserted("block.out", "Tanh"),
    "inputs swapped": swapped("n_reduced"),
    "branches swapped": swapped("n_joined"),
    "resize mode": attribute("n_larger", "mode", "nearest"),
    "resize coordinates": attribute("n_larger", "coordinate_transformation_mode", "asymmetric"),
    "pool kernel": attribute("n_pooled", "kernel_shape", [1, 2]),
}


def planted(kind: str) -> tuple[onnx.ModelProto, str]:
    """Return the graph with a fault, and the node that it was planted at."""
    model = small_graph()
    where = FAULTS[kind](model)
    return model, where
