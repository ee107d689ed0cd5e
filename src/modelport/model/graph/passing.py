"""Nodes by name, and which of them pass their input on as it is but for its precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelport.model.graph.file import FLOATING
from modelport.model.graph.quantizable import name_nodes

if TYPE_CHECKING:
    import onnx

QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})
PASSING = frozenset({"Identity", "Dropout"})


def named_nodes(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return copies of the nodes by name, in order; ``name_nodes`` makes the names that the file does not have."""
    import onnx

    named = onnx.ModelProto()
    named.graph.node.extend(model.graph.node)
    name_nodes(named)
    return {node.name: node for node in named.graph.node}


def passes(node: onnx.NodeProto, *, floats_only: bool = False) -> bool:
    """Whether a node passes values on but for rounding: identities, quantization, casts; or only casts to floats."""
    if not node.input or not node.input[0]:
        return False
    if node.op_type in PASSING | QUANTIZING:
        return True
    to = (entry.i for entry in node.attribute if entry.name == "to")
    return node.op_type == "Cast" and (not floats_only or any(kind in FLOATING for kind in to))


def root(tensor: str, makers: Mapping[str, onnx.NodeProto]) -> str:
    """Return the tensor that this one is a copy of, but for its precision. ``makers``: the nodes by what they give."""
    seen = set[str]()
    while tensor in makers and tensor not in seen and passes(makers[tensor]):
        seen.add(tensor)
        tensor = makers[tensor].input[0]
    return tensor
