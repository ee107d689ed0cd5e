"""One form of operators that graphs write in several: a Relu as Clip, a Gelu as five nodes, a Pad before its layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from modelport.diagnose.trace.reading import Operation

# A chain of operators, each reading what the one before made, and the scalars that they take; what they are together.
# Gelu as exporters write it below opset 20, Sigmoid, HardSwish and Swish by their definitions.
CHAINS: tuple[tuple[tuple[str, ...], tuple[float, ...], str], ...] = (
    (("Mul", "Erf", "Add", "Mul", "Mul"), (math.sqrt(0.5), 1.0, 0.5), "Gelu"),
    (("Neg", "Exp", "Add", "Reciprocal"), (1.0,), "Sigmoid"),
    (("Neg", "Exp", "Add", "Div"), (1.0, 1.0), "Sigmoid"),
    (("HardSigmoid", "Mul"), (), "HardSwish"),
    (("Sigmoid", "Mul"), (), "Swish"),
)
# The nodes in which exporters write an operator that an older opset does not have, to tell which of them is another.
NODES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Gelu": (("Div", "Erf", "Add", "Mul", "Mul"), ("Mul", "Erf", "Add", "Mul", "Mul")),
    "HardSwish": (("HardSigmoid", "Mul"),),
    "Sigmoid": (("Neg", "Exp", "Add", "Reciprocal"), ("Neg", "Exp", "Add", "Div")),
    "Swish": (("Sigmoid", "Mul"),),
    "LayerNormalization": (
        ("ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div"),
        ("ReduceMean", "Sub", "Pow", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"),
    ),
}
SETTINGS: dict[str, dict[str, Any]] = {"Gelu": {"approximate": "none"}, "Swish": {"alpha": 1.0}}
PLANE = ([2, 3], [-2, -1])  # the axes of an image's height and width


def plain_form(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations with what is spelled otherwise in its plainest form; what they compute is the same."""
    found = [_plainer(operation) for operation in operations]
    for names, scalars, op in CHAINS:
        found = _joined(found, names, scalars, op)
    return _pads_joined(found)


def _plainer(operation: Operation) -> Operation:
    """Return one operation in the form that others of its meaning have."""
    settings, op = operation.settings, operation.op
    constant = settings.get("constant")
    if op == "Max" and constant == 0 and len(operation.inputs) == 1:
        return replace(operation, op="Relu", settings={})
    if op == "Clip" and settings.get("min") == 0 and settings.get("max") in (None, math.inf):
        return replace(operation, op="Relu", settings={})
    if op == "Div":
        return _by_constant(operation, "Mul", lambda value: 1 / value)
    if op == "Sub":
        return _by_constant(operation, "Add", np.negative)
    axes = settings.get("axes")
    if op == "ReduceMean" and isinstance(axes, list) and sorted(axes) in PLANE and settings.get("keepdims"):
        return replace(operation, op="GlobalAveragePool", settings={})
    return operation


def _by_constant(operation: Operation, op: str, change: Callable[..., object]) -> Operation:
    """Return Div and Sub by a constant as Mul and Add."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if isinstance(number := operation.settings.get("constant"), float) and number:
            settings = {**operation.settings, "constant": float(change(number))}  # type: ignore[arg-type]
            return replace(operation, op=op, settings=settings)
        if "constant" in operation.weights:
            weights = {"constant": np.asarray(change(operation.weights["constant"].astype(np.float64)))}
            return replace(operation, op=op, weights=weights, computed=True)
    return operation


def _joined(
    operations: Sequence[Operation], names: tuple[str, ...], scalars: tuple[float, ...], op: str
) -> list[Operation]:
    """Return the operations with each chain of these names and scalars as one."""
    found: list[Operation] = []
    rest = list(operations)
    while rest:
        chain = rest[: len(names)]
        if tuple(one.op for one in chain) == names and _is_chain(chain) and _takes(chain, scalars):
            first, last = chain[0], chain[-1]
            found.append(replace(first, op=op, settings=SETTINGS.get(op, {}), outputs=last.outputs, constants={}))
            rest = rest[len(names) :]
        else:
            found.append(rest.pop(0))
    return found


def _is_chain(chain: Sequence[Operation]) -> bool:
    """Whether each reads the one before, and nothing else but what the first reads."""
    source = set(chain[0].inputs)
    return len(source) == 1 and all(
        one.outputs
        and one.outputs[0] in two.inputs
        and set(two.inputs) <= {one.outputs[0], *source}
        and not two.weights
        for one, two in pairwise(chain)
    )


def _takes(chain: Sequence[Operation], scalars: tuple[float, ...]) -> bool:
    if chain[0].op == "HardSigmoid":
        slope, offset = (chain[0].settings.get(key, 0.0) for key in ("alpha", "beta"))
        return math.isclose(slope, 1 / 6, rel_tol=1e-5) and offset == 0.5
    taken = [one.settings[key] for one in chain for key in ("constant", "A") if key in one.settings]
    numbers = [value for value in taken if isinstance(value, float)]
    return len(numbers) == len(scalars) and np.allclose(sorted(numbers), sorted(scalars), rtol=1e-5)


def _pads_joined(operations: Sequence[Operation]) -> list[Operation]:
    """Return layers that pad by themselves where a Pad of zeros stands before them."""
    found: list[Operation] = []
    for operation in operations:
        last = found[-1] if found else None
        pads = _zero_pads(last) if last is not None and operation.inputs == last.outputs[:1] else None
        counts = operation.op == "Conv" or (
            operation.op == "AveragePool" and operation.settings.get("count_include_pad")
        )
        own = operation.settings.get("pads")
        if last is None or pads is None or not counts or not isinstance(own, list) or len(own) != len(pads):
            found.append(operation)
            continue
        settings = {**operation.settings, "pads": [one + two for one, two in zip(own, pads, strict=True)]}
        found[-1] = replace(operation, inputs=last.inputs, settings=settings)
    return found


def _zero_pads(operation: Operation) -> list[int] | None:
    """Return by how much a Pad widens height and width with zeros; None where that is not all it does."""
    settings = operation.settings
    pads, plain = settings.get("pads"), settings.get("mode", "constant") == "constant"
    if operation.op != "Pad" or not plain or settings.get("constant_value") or not isinstance(pads, list):
        return None
    half = len(pads) // 2
    if "axes" in settings or len(operation.inputs) != 1 or any(pads[:2] + pads[half : half + 2]) or min(pads) < 0:
        return None
    return [*pads[2:half], *pads[half + 2 :]]
