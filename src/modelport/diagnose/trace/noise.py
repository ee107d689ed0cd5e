"""Tensors moved by a known share at random: how much a result minds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.values import Array
from modelport.model.graph.flow import Flow

if TYPE_CHECKING:
    import onnx

# What these read of constants is data; elsewhere a constant may be a size, a place or a threshold.
ARITHMETIC = frozenset(
    (
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "BatchNormalization", "PRelu"),
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "Einsum"),
    )
)


def nudged(feeds: Mapping[str, Array], share: float) -> dict[str, Array]:
    """Return the tensors with each element of a floating type larger or smaller by ``share`` of itself."""
    return {name: _moved(name, array, share) for name, array in feeds.items()}


class NudgedConstants:
    """An edit of single nodes: the constants that they compute with are moved as ``nudged`` does."""

    def __init__(self, flow: Flow, share: float) -> None:
        self._flow, self._share = flow, share
        self.constants: dict[str, onnx.TensorProto] = {}

    def __call__(self, node: Any, original: Any) -> list[Any]:
        """Return the node; its constants are changed under their own names."""
        from onnx import numpy_helper

        for name in original.input if original.op_type in ARITHMETIC else ():
            tensor = self._flow.constants.get(name)
            if tensor is not None and name not in self.constants:
                values = numpy_helper.to_array(tensor)
                if values.dtype.kind == "f":
                    self.constants[name] = numpy_helper.from_array(_moved(name, values, self._share), name)
        return [node]


def _moved(name: str, array: Array, share: float) -> Array:
    if array.dtype.kind != "f":
        return array
    bits = (
        np.random.default_rng([zlib.crc32(name.encode()), array.size])
        .integers(0, 2, array.size, np.int8)
        .reshape(array.shape)
    )
    moved: Array = array * (1 + share * (2 * bits - 1)).astype(array.dtype)
    return moved
