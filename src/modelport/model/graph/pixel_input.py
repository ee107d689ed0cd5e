"""A graph that takes pixels: uint8 (N, H, W, 3) in, and the recipe's normalisation as its first nodes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.artifacts import Artifact, write_artifact
from modelport.core.errors import GraphError, UsageError
from modelport.model.graph.file import read_graph
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Normalize, TruncateToInteger
from modelport.recipes.tables import Tensor

if TYPE_CHECKING:
    import onnx

PREFIX = "pixels"


def recipe_of_pixels(recipe: Recipe) -> Recipe:
    """Return the recipe with the input that a graph with the normalisation inside has: uint8 (N, H, W, 3).

    Raises UsageError where pixels would not do: a variant that casts after the normalisation.
    """
    if any(isinstance(step, TruncateToInteger) for step in recipe.preprocess):
        raise UsageError(
            f"--input-type uint8: variant '{recipe.variant}' casts after the normalisation", "leave --variant out"
        )
    given = recipe.tensors.sample
    batch, channels, height, width = given.shape
    pixels = Tensor(name=given.name, dtype="uint8", shape=[batch, height, width, channels])
    return recipe.model_copy(update={"tensors": recipe.tensors.model_copy(update={"inputs": [pixels]})})


def write_pixel_graph(model: Artifact, recipe: Recipe, out: Path) -> Artifact:
    """Write the graph of ``model`` with pixels as its input. Raises GraphError for a graph of another input."""
    graph = with_pixel_input(read_graph(model.path), recipe)
    return write_artifact(out, "onnx", graph.SerializeToString(deterministic=True), model.digests)


def with_pixel_input(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """Return a copy whose input of the same name is uint8 (N, H, W, 3), normalised by its first nodes.

    The nodes are the recipe's step as it stands, ``(pixel / divide - mean) / std`` in float32, one after the other, so
    that what they compute is what the host would. Raises GraphError where the input is not the recipe's.
    """
    from onnx import TensorProto, helper, numpy_helper

    normalize = next(step for step in recipe.preprocess if isinstance(step, Normalize))
    name = recipe.tensors.sample.name
    made = copy.deepcopy(model)
    graph = made.graph
    given = next((value for value in graph.input if value.name == name), None)
    if given is None or given.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise GraphError(f"the graph has no float32 input '{name}'", "give the graph that `modelport export` wrote")
    batch, channels, height, width = given.type.tensor_type.shape.dim
    # Whoever reads the old input gets the normalised planes instead.
    for node in graph.node:
        for place, source in enumerate(node.input):
            if source == name:
                node.input[place] = f"{PREFIX}/normalised"
    nodes = [
        helper.make_node("Cast", [name], [f"{PREFIX}/float"], f"{PREFIX}/cast", to=TensorProto.FLOAT),
        helper.make_node(
            "Transpose", [f"{PREFIX}/float"], [f"{PREFIX}/planes"], f"{PREFIX}/transpose", perm=[0, 3, 1, 2]
        ),
    ]
    before = f"{PREFIX}/planes"
    divide = [normalize.divide] * 3
    steps = (("Div", "divide", divide, 1.0), ("Sub", "mean", normalize.mean, 0.0), ("Div", "std", normalize.std, 1.0))
    for operator, what, values, neutral in steps:
        if all(value == neutral for value in values):
            continue
        constant = np.array(values, np.float32).reshape(1, 3, 1, 1)
        graph.initializer.append(numpy_helper.from_array(constant, f"{PREFIX}/{what}"))
        after = f"{PREFIX}/after_{what}"
        nodes.append(helper.make_node(operator, [before, f"{PREFIX}/{what}"], [after], f"{PREFIX}/by_{what}"))
        before = after
    nodes[-1].output[0] = f"{PREFIX}/normalised"
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    axes = [axis.dim_param or axis.dim_value for axis in (batch, height, width, channels)]
    given.CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, axes))
    return made
