"""A float32 graph that answers as a float16 one: for engines that would compute the float16 graph unrounded."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError, raised_as
from modelport.model.graph.float16 import recast, retype

if TYPE_CHECKING:
    import onnx


def leaves_in_float16(model: onnx.ModelProto) -> bool:
    """Whether an input or output of the graph itself is float16."""
    from onnx import TensorProto

    values = (*model.graph.input, *model.graph.output)
    return any(value.type.tensor_type.elem_type == TensorProto.FLOAT16 for value in values)


def knows_float16(model: onnx.ModelProto) -> bool:
    """Whether anything in the graph is float16: a constant, an input or output, or what a node makes."""
    from onnx import TensorProto

    half = TensorProto.FLOAT16
    return (
        leaves_in_float16(model)
        or any(tensor.data_type == half for tensor in model.graph.initializer)
        or any(
            attribute.i == half or attribute.t.data_type == half
            for node in model.graph.node
            for attribute in node.attribute
            if attribute.name in ("to", "value", "dtype")
        )
    )


def float32_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``rounded_twin`` with inputs and outputs in float32 as well."""
    from onnx import TensorProto

    twin = rounded_twin(model)
    for value in (*twin.graph.input, *twin.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return twin


def rounded_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in float32 and rounds each result that is float16 in the original.

    Products are summed in float32, as devices do it; what overflows float16 becomes infinite. Nodes inside control flow
    are left as they are. Raises GraphError where the graph's types cannot be inferred.
    """
    from onnx import TensorProto

    twin = copy.deepcopy(model)
    halves = _half_tensors(twin)
    for tensor in twin.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            recast(tensor, TensorProto.FLOAT)
    nodes: list[Any] = []
    for node in twin.graph.node:
        # What an attribute makes float16 becomes float32; the rounding comes behind it.
        retype(node, TensorProto.FLOAT16, TensorProto.FLOAT)
        nodes.append(node)
        if node.op_type == "Constant":
            continue
        for place, name in enumerate(node.output):
            if name in halves:
                node.output[place] = f"{name}/unrounded"
                nodes += _rounding(node.output[place], name)
    del twin.graph.node[:]
    twin.graph.node.extend(nodes)
    del twin.graph.value_info[:]
    return twin


def _half_tensors(model: onnx.ModelProto) -> set[str]:
    import onnx
    from onnx import TensorProto

    found = "the types of the float16 graph cannot be inferred"
    # ValueError: a graph of more than 2 GB.
    refused = (onnx.shape_inference.InferenceError, ValueError)
    with raised_as(GraphError, found, "convert it again", refused):
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }


def _rounding(source: str, name: str) -> list[Any]:
    from onnx import TensorProto, helper

    half = f"{name}/rounded"
    return [
        helper.make_node("Cast", [source], [half], f"round {name}", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [name], f"widen {name}", to=TensorProto.FLOAT),
    ]
