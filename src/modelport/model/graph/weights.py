"""The weights of an ONNX graph by what they do there, and what they tell of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.values import Array
from modelport.model.graph.quantizable import constant_nodes
from modelport.model.weights.health import Examined, WeightFinding, examined
from modelport.model.weights.roles import Role, Weight

if TYPE_CHECKING:
    import onnx

NORM = "BatchNormalization"
_NORM_ROLES: tuple[Role, ...] = ("scale", "shift", "mean", "variance")


def findings_of_graph(model: onnx.ModelProto) -> tuple[WeightFinding, ...]:
    """Return what a graph's weights tell, and its batch norms that use a batch's own statistics."""
    return examined_graph(model).findings


def examined_graph(model: onnx.ModelProto) -> Examined:
    """Return what a graph's weights tell, with how many layers are in which state."""
    training = [
        node.name or node.output[0]
        for node in model.graph.node
        if node.op_type == NORM and any(entry.name == "training_mode" and entry.i for entry in node.attribute)
    ]
    loose: tuple[WeightFinding, ...] = ()
    if training:
        why = f"training_mode=1 at {training[0]}" + (f" and {len(training) - 1} more" if len(training) > 1 else "")
        why += ": a row's answer hangs on the other rows of its batch; export the network in evaluation mode"
        loose = (WeightFinding("batch_norm_in_training", training[0], training[0], why, True),)
    found = examined(list(weights_of_graph(model)))
    return replace(found, findings=(*loose, *found.findings))


def weights_of_graph(model: onnx.ModelProto) -> Iterator[Weight]:
    """Yield the floating-point constants that layers and batch norms take, in the order of the nodes, each once.

    A layer's weight has its output channels first. What is quantized is passed over: its values are whole numbers.
    """
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    held |= dict(constant_nodes(model))
    seen = set[str]()
    for node in model.graph.node:
        for name, role, turned in _roles(node, held):
            tensor = held[name]
            if name in seen or tensor.data_type not in _FLOATING:
                continue
            seen.add(name)
            yield Weight(name, _module(name, node), role, _values(tensor, turned))


# TensorProto.DataType: FLOAT, FLOAT16 and DOUBLE (onnx.proto).
_FLOATING = frozenset({1, 10, 11})


def _roles(node: onnx.NodeProto, held: Mapping[str, onnx.TensorProto]) -> Iterator[tuple[str, Role, bool]]:
    """Yield the constants of a node with their roles, and whether the output channels stand last or second."""
    if node.op_type == NORM:
        yield from (
            (name, role, False) for name, role in zip(node.input[1:5], _NORM_ROLES, strict=False) if name in held
        )
        return
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return
    turned = node.op_type != "Conv"
    if node.op_type == "Gemm":
        turned = not any(entry.name == "transB" and entry.i for entry in node.attribute)
    for place, name in enumerate(node.input[:3]):
        if name in held and len(held[name].dims) > 1:
            yield name, "layer", turned and place == 1
        elif name in held:
            yield name, "vector", False


def _values(tensor: onnx.TensorProto, turned: bool) -> Array:
    from onnx import numpy_helper

    values: Array = numpy_helper.to_array(tensor)
    while values.ndim > 2 and values.shape[0] == 1 and turned:
        values = values[0]
    return np.swapaxes(values, 0, 1) if turned and values.ndim > 1 else values


def _module(name: str, node: onnx.NodeProto) -> str:
    """Return the module that a constant's name tells; the node's for a batch norm, whose parts must be together."""
    if node.op_type == NORM:
        return node.name or str(node.output[0])
    return name.rpartition(".")[0]
