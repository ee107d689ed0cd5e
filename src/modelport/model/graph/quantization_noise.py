"""Quantization as what it is on average: each value off by up to half a step, at random, and nothing cut off."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from modelport.core.values import Array
from modelport.model.graph.flow import Flow, Kind, Step

if TYPE_CHECKING:
    import onnx

ENDS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# Constants that the edit adds lie under this name.
PREFIX = "noise"


def is_quantized(flow: Flow, steps: Iterable[Step]) -> bool:
    """Whether there is quantization among some steps, or in what they read of constants."""
    steps = list(steps)
    return any(step.op in ENDS for step in (*steps, *flow.behind_constants(steps)))


class Noise:
    """An edit of single nodes: 8-bit tensors become floats again.

    Where a tensor was quantized it is handed on as it is, with ``share`` of a step's width of noise added, uniform over
    ±half a step; so are weights that are kept in 8 bits. ``constants`` has what the edited nodes read.
    """

    def __init__(self, flow: Flow, kinds: Mapping[str, Kind], share: float) -> None:
        self._flow, self._kinds, self._share = flow, kinds, share
        self.constants: dict[str, onnx.TensorProto] = {}

    def __call__(self, node: Any, original: Any) -> list[Any]:
        """Return what stands in the place of ``node``, a copy of ``original`` with other names of tensors."""
        from onnx import helper

        if node.op_type == "QuantizeLinear":
            return self._noisy(node, original, node.input[0], node.output[0])
        if node.op_type != "DequantizeLinear":
            return [node]
        if original.input[0] not in self._flow.fixed:
            return [helper.make_node("Identity", [node.input[0]], [node.output[0]], node.name)]
        plain = f"{PREFIX}/{node.output[0]}/plain"
        result = node.output[0]
        node.output[0] = plain
        return [node, *self._noisy(node, original, plain, result)]

    def _noisy(self, node: Any, original: Any, source: str, result: str) -> list[Any]:
        from onnx import helper, numpy_helper

        step = self._step(original)
        if step is None or not self._share:
            return [helper.make_node("Identity", [source], [result], f"{PREFIX}/{node.name}")]
        scale, name = f"{PREFIX}/{original.name}/step", f"{PREFIX}/{node.name}"
        self.constants[scale] = numpy_helper.from_array(step * self._share, scale)
        seed = float(zlib.crc32(node.name.encode()) % 65521)
        return [
            helper.make_node("RandomUniformLike", [source], [f"{name}/r"], f"{name}/r", low=-0.5, high=0.5, seed=seed),
            helper.make_node("Mul", [f"{name}/r", scale], [f"{name}/n"], f"{name}/n"),
            helper.make_node("Add", [source, f"{name}/n"], [result], name),
        ]

    def _step(self, node: Any) -> Array | None:
        """Return the width of a step, in a shape that goes with the tensor; None where it is no constant."""
        from onnx import numpy_helper

        tensor = self._flow.constants.get(node.input[1])
        if tensor is None:
            return None
        scale: Array = numpy_helper.to_array(tensor)
        if scale.size == 1:
            return scale.reshape(())
        rank = self._rank(node.input[0])
        if rank is None or scale.ndim != 1:
            return scale.reshape(-1).max(keepdims=True).reshape(()) if math.prod(scale.shape) else None
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        form = [1] * rank
        form[axis] = scale.size
        return scale.reshape(form)

    def _rank(self, name: str) -> int | None:
        tensor = self._flow.constants.get(name)
        if tensor is not None:
            return len(tensor.dims)
        kind = self._kinds.get(name)
        return None if kind is None or kind.shape is None else len(kind.shape)
