"""Layers that have the same weights, whatever the graphs call them, as they are kept (8 bits, transposed, folded)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.trace.sketch import Sketch, apart, sketch
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.quantizable import HEAVY

# Weights of 8 bits are within 2 % of what they were made from; those of two layers have nothing in common.
ALIKE = 0.1
# What hands a constant on.
HANDED_ON = ("Identity", "Cast")


def same_weights(
    mine: Flow, other: Flow, my_steps: Sequence[Step], their_steps: Sequence[Step]
) -> Iterator[tuple[str, str]]:
    """Yield the results of layers that are surely the same, by the weights alone: those that no second one has."""
    theirs = [(step, forms) for step in their_steps if (forms := _forms(weight_of(other, step)))]
    for step in my_steps:
        own = weight_of(mine, step)
        if own is None:
            continue
        held = sketch(own)
        fits = [
            there
            for there, forms in theirs
            if step.op == there.op and any(apart(held, form) <= ALIKE for form in forms)
        ]
        if len(fits) == 1:
            yield step.gives[0], fits[0].gives[0]


def _forms(weight: Array | None) -> list[Sketch]:
    """Return the sketches of a layer's weights, of a matrix also transposed: the weights themselves are let go."""
    if weight is None:
        return []
    return [sketch(weight), *([sketch(weight.T)] if weight.ndim == 2 else [])]


def weight_of(flow: Flow, step: Step) -> Array | None:
    """Return a layer's weights as floats, of a convolution each filter brought to length 1; None where it has none.

    A batch norm that was folded scales the filters.
    """
    if step.op not in HEAVY:
        return None
    for name in (*step.node.input[1:2], *step.node.input[:1]):
        values = constant_value(flow, name)
        if values is not None and values.ndim > 1:
            if not step.op.startswith("Conv"):
                return values
            flat = values.reshape(len(values), -1)
            lengths = np.linalg.norm(flat, axis=1, keepdims=True)
            return (flat / np.where(lengths > 0, lengths, 1)).reshape(values.shape)
    return None


def constant_value(flow: Flow, name: str) -> Array | None:
    """Return the float32 value of a constant, also behind what hands it on; None for what is computed otherwise."""
    from onnx import numpy_helper

    while (step := flow.maker.get(name)) is not None and step.op in HANDED_ON and name in flow.fixed and step.reads:
        name = step.reads[0]
    if (tensor := flow.constants.get(name)) is not None:
        values: Array = numpy_helper.to_array(tensor)
        return values.astype(np.float32) if values.dtype.kind in "fiu" or values.dtype.itemsize <= 2 else None
    if step is None or name not in flow.fixed or step.op != "DequantizeLinear" or len(step.node.input) < 2:
        return None
    return _dequantized(flow, step.node)


def _dequantized(flow: Flow, node: Any) -> Array | None:
    values, scale = (constant_value(flow, name) for name in node.input[:2])
    zero = constant_value(flow, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
    if values is None or scale is None or zero is None:
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    form = [1] * values.ndim
    if scale.size > 1:
        if scale.ndim != 1 or not -values.ndim <= axis < values.ndim or values.shape[axis] != scale.size:
            return None  # steps of blocks, or a graph at odds with itself
        form[axis] = scale.size
    if zero.size not in (1, math.prod(form)):
        return None
    zero = zero.reshape(form if zero.size > 1 else ())
    floats: Array = (values - zero) * scale.reshape(form if scale.size > 1 else ())
    return floats
