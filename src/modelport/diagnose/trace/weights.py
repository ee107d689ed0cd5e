"""Layers that have the same weights, whatever the graphs call them, as they are kept (8 bits, transposed, folded)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.trace.sketch import apart, sketch
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.quantizable import HEAVY

# Weights of 8 bits are within 2 % of what they were made from; those of two layers have nothing in common.
ALIKE = 0.1


def same_weights(
    mine: Flow, other: Flow, my_steps: Sequence[Step], their_steps: Sequence[Step]
) -> Iterator[tuple[str, str]]:
    """Yield the results of layers that are surely the same, by the weights alone: those that no second one has."""
    theirs = [(step, found) for step in their_steps if (found := weight_of(other, step)) is not None]
    for step in my_steps:
        own = weight_of(mine, step)
        if own is None:
            continue
        fits = [there for there, weight in theirs if step.op == there.op and _alike(own, weight)]
        if len(fits) == 1:
            yield step.gives[0], fits[0].gives[0]


def _alike(one: Array, two: Array) -> bool:
    forms = [two] if two.ndim != 2 else [two, np.ascontiguousarray(two.T)]
    return any(one.shape == form.shape and apart(sketch(one), sketch(form)) <= ALIKE for form in forms)


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

    if (tensor := flow.constants.get(name)) is not None:
        values: Array = numpy_helper.to_array(tensor)
        return values.astype(np.float32) if values.dtype.kind in "fiu" or values.dtype.itemsize <= 2 else None
    step = flow.maker.get(name)
    if name not in flow.fixed or step is None:
        return None
    if step.op in ("Identity", "Cast"):
        return constant_value(flow, step.node.input[0])
    if step.op == "DequantizeLinear" and len(step.node.input) > 1:
        return _dequantized(flow, step.node)
    return None


def _dequantized(flow: Flow, node: Any) -> Array | None:
    values, scale = (constant_value(flow, name) for name in node.input[:2])
    zero = constant_value(flow, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1, np.float32)
    if values is None or scale is None or zero is None:
        return None
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    form = [1] * values.ndim
    if scale.size > 1 and values.ndim:
        form[axis] = scale.size
    zero = zero.reshape(form if zero.size > 1 else ())
    floats: Array = (values - zero) * scale.reshape(form if scale.size > 1 else ())
    return floats
