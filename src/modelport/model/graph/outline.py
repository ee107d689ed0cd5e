"""A graph without the values of its large constants: what shapes and structure are told from, at no cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

# A constant of more values is left out: it is no shape, no axes and no list of indices that a place hangs on.
KEPT_VALUES = 4096


def outline(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose large constants have a dtype and a shape, and no values."""
    import onnx

    made = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    made.functions.extend(model.functions)
    graph = made.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= KEPT_VALUES:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return made
