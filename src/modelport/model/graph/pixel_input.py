"""A graph that takes pixels: uint8 (N, H, W, C) in, and the recipe's normalisation as its first nodes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.artifacts import Artifact, write_artifact
from modelport.core.errors import GraphError, UsageError
from modelport.model.graph.file import read_graph
from modelport.recipes.chain import form_of
from modelport.recipes.operations import operations
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import TruncateToInteger
from modelport.recipes.tables import Tensor

if TYPE_CHECKING:
    import onnx

PREFIX = "pixels"
OPERATORS = {"divide": "Div", "multiply": "Mul", "subtract": "Sub"}


def recipe_of_pixels(recipe: Recipe) -> Recipe:
    """Return the recipe with the input that a graph with the normalisation inside has: uint8 (N, H, W, C).

    Raises UsageError where pixels would not do: a variant that casts after the normalisation, or an input of another
    type than float32.
    """
    if any(isinstance(step, TruncateToInteger) for step in recipe.preprocess):
        raise UsageError(
            f"--input-type uint8: variant '{recipe.variant}' casts after the normalisation", "leave --variant out"
        )
    given = recipe.tensors.sample
    if given.dtype != "float32":
        raise UsageError(
            f"--input-type uint8: the input of {recipe.name} is {given.dtype}, and only float32 can be normalised",
            "leave --input-type out",
        )
    batch, *axes = given.shape
    channels_last = form_of(recipe.preprocess).layout == "NHWC"
    pixels = Tensor(name=given.name, dtype="uint8", shape=[batch, *(axes if channels_last else [*axes[1:], axes[0]])])
    inputs = [pixels if tensor.name == given.name else tensor for tensor in recipe.tensors.inputs]
    return recipe.model_copy(update={"tensors": recipe.tensors.model_copy(update={"inputs": inputs})})


def write_pixel_graph(model: Artifact, recipe: Recipe, out: Path) -> Artifact:
    """Write the graph of ``model`` with pixels as its input. Raises GraphError for a graph of another input."""
    graph = with_pixel_input(read_graph(model.path), recipe)
    return write_artifact(out, "onnx", graph.SerializeToString(deterministic=True), model.digests)


def with_pixel_input(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """Return a copy whose input of the same name is uint8 (N, H, W, C), normalised by its first nodes.

    The nodes are the recipe's arithmetic as it stands, in float32, one operation after the other, so that what they
    compute is what the host would. Raises GraphError where the input is not the recipe's.
    """
    from onnx import TensorProto, helper, numpy_helper

    form = form_of(recipe.preprocess)
    channels_last = form.layout == "NHWC"
    name = recipe.tensors.sample.name
    made = copy.deepcopy(model)
    graph = made.graph
    given = next((value for value in graph.input if value.name == name), None)
    if given is None or given.type.tensor_type.elem_type != TensorProto.FLOAT:
        raise GraphError(f"the graph has no float32 input '{name}'", "give the graph that `modelport export` wrote")
    batch, *axes = given.type.tensor_type.shape.dim
    # Whoever reads the old input gets the normalised planes instead.
    for node in graph.node:
        for place, source in enumerate(node.input):
            if source == name:
                node.input[place] = f"{PREFIX}/normalised"
    before = f"{PREFIX}/float"
    nodes = [helper.make_node("Cast", [name], [before], f"{PREFIX}/cast", to=TensorProto.FLOAT)]
    if not channels_last:
        planes = f"{PREFIX}/planes"
        nodes.append(helper.make_node("Transpose", [before], [planes], f"{PREFIX}/transpose", perm=[0, 3, 1, 2]))
        before = planes
    for operation in operations(recipe.preprocess):
        values, what = operation.each(form.channels), operation.what
        if _does_nothing(operation.name, values):
            continue
        constant = np.array(values, np.float32).reshape((1, 1, 1, -1) if channels_last else (1, -1, 1, 1))
        graph.initializer.append(numpy_helper.from_array(constant, f"{PREFIX}/{what}"))
        after, operator = f"{PREFIX}/after_{what}", OPERATORS[operation.name]
        nodes.append(helper.make_node(operator, [before, f"{PREFIX}/{what}"], [after], f"{PREFIX}/by_{what}"))
        before = after
    nodes[-1].output[0] = f"{PREFIX}/normalised"
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    pixels = [batch, *(axes if channels_last else [*axes[1:], axes[0]])]
    shape = [axis.dim_param or axis.dim_value for axis in pixels]
    given.CopyFrom(helper.make_tensor_value_info(name, TensorProto.UINT8, shape))
    return made


def _does_nothing(operation: str, values: Sequence[float]) -> bool:
    neutral = 0.0 if operation == "subtract" else 1.0
    return all(value == neutral for value in values)
