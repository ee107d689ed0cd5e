"""Weights that ONNX Runtime's quantizer has brought to int8 once, given to it again as they are.

Its loop over the channels of all weights takes most of the time of one model (1.0 of 1.1 s for a ResNet-50), and a
search for sensitive layers makes dozens from the same weights. The quantizer leaves a weight alone that comes out of a
DequantizeLinear already.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """A weight per channel in int8: the node that makes floats of it, and that node's constants."""

    dequantize: onnx.NodeProto
    constants: tuple[onnx.TensorProto, ...]


def int8_weights(quantized: onnx.ModelProto, float32: onnx.ModelProto) -> dict[str, Int8Weight]:
    """Return the weights of the graph ``float32`` as the quantizer has left them in ``quantized``, by layer.

    A layer is a node that takes its weight as the second input. Those with one scale for all channels are left out:
    they take no time.
    """
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    makers = {
        node.output[0]: node
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    weights = {tensor.name for tensor in float32.graph.initializer}
    reads = {node.name: node.input[1] for node in float32.graph.node if len(node.input) > 1}
    found = {}
    for node in quantized.graph.node:
        maker = makers.get(node.input[1]) if len(node.input) > 1 else None
        if maker is None or reads.get(node.name) not in weights:
            continue
        parts = tuple(constants[name] for name in maker.input)
        if parts[0].data_type == TensorProto.INT8 and len(parts[1].dims) == 1:
            found[node.name] = Int8Weight(maker, parts)
    return found


def give_weights(model: onnx.ModelProto, weights: dict[str, Int8Weight], kept: Collection[str]) -> None:
    """Let every layer but those ``kept`` in float32 read its weight in int8, in place."""
    import onnx

    graph, given = model.graph, dict[str, Int8Weight]()
    for node in graph.node:
        weight = weights.get(node.name)
        if weight is not None and node.name not in kept:
            node.input[1] = weight.dequantize.output[0]
            given[weight.dequantize.output[0]] = weight
    makers: list[Any] = []
    for name, weight in given.items():
        makers.append(weight.dequantize)
        graph.initializer.extend(weight.constants)
        # The quantizer warns of a tensor whose type it does not find.
        graph.value_info.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, weight.constants[0].dims)
        )
    # Made before it is read.
    nodes = [*makers, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
