"""Small graphs with a fault, and the units that comparing them would give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array
from modelport.diagnose.distance import Distance
from modelport.diagnose.trace.causes import KINDS, culprit_of
from modelport.diagnose.trace.findings import Culprit, Unit, UnitFound

RANDOM = np.random.default_rng(7)


def weights(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def graph(
    nodes: Sequence[Any],
    shape: Sequence[int] = (1, 3, 8, 8),
    *,
    opset: int = 17,
    inputs: Sequence[str] = ("x",),
    output: str = "y",
    rank: int | None = None,
    **constants: Any,
) -> onnx.ModelProto:
    """A model of these nodes; its output has free axes."""
    made = helper.make_graph(
        list(nodes),
        "main",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [None] * (len(shape) if rank is None else rank))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def found(
    candidate: onnx.ModelProto,
    reference: onnx.ModelProto,
    node: str = "",
    inputs: Sequence[tuple[str, str]] = (("x", "x"),),
) -> UnitFound:
    """One unit that is the whole of both graphs."""
    mine, theirs = ([one.name for one in model.graph.node] for model in (candidate, reference))
    outputs = [model.graph.output[0].name for model in (candidate, reference)]
    unit = Unit(outputs[0], outputs[1], tuple(mine), tuple(theirs), tuple(inputs))
    about = next((one for one in candidate.graph.node if one.name == node), candidate.graph.node[0])
    far = Distance(0.5, 1.0, 0.5)
    return UnitFound(unit, about.op_type, node or about.name, "", far, far, 1e-6)


def changed(model: onnx.ModelProto, change: Callable[[Any], None]) -> onnx.ModelProto:
    """A copy of a model with ``change`` made to its graph."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    change(other.graph)
    return other


def answers(model: onnx.ModelProto, **feeds: Array) -> list[Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(one) for one in session.run(None, feeds)]


def far_units(candidate: onnx.ModelProto, reference: onnx.ModelProto) -> list[UnitFound]:
    """One unit a node, of two graphs of the same nodes."""
    far = Distance(0.5, 1.0, 0.5)
    fixed = {tensor.name for tensor in candidate.graph.initializer}
    return [
        UnitFound(
            Unit(
                node.output[0], other.output[0], (node.name,), (other.name,),
                tuple((one, two) for one, two in zip(node.input, other.input, strict=True) if one not in fixed),
            ),
            node.op_type, node.name, "", far, far, 1e-6,
        )
        for node, other in zip(candidate.graph.node, reference.graph.node, strict=True)
    ]  # fmt: skip


def told(candidate: onnx.ModelProto, reference: onnx.ModelProto, precision: str = "fp32", **more: Any) -> Culprit:
    """The cause of the one unit that both whole graphs are."""
    unit = found(candidate, reference, inputs=more.pop("inputs", (("x", "x"),)))
    culprit = culprit_of(unit, reference, candidate, precision, **more)
    assert culprit.kind in KINDS
    return culprit
