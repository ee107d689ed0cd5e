"""Small graphs with a recipe's input, as a user might give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelport.recipes.schema import Recipe


def classifier(recipe: Recipe, classes: int, last: str = "Identity", shape: Any = None, **attributes: Any) -> Any:
    """Return a graph from the recipe's input to its output: means of the channels, a matrix, and one more node."""
    given, wanted = recipe.signature.inputs[0], recipe.signature.outputs[0]
    weights = np.random.default_rng(0).normal(size=(3, classes)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", [given.name], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        helper.make_node(last, ["logits"], [wanted.name], **attributes),
    ]
    kind = TensorProto.INT64 if last == "ArgMax" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(given.name, TensorProto.FLOAT, list(given.shape))],
        [helper.make_tensor_value_info(wanted.name, kind, shape or ["batch", classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
