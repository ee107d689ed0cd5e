"""Quantization as what it is on average: each value off by up to half a step, at random."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.values import Array
from modelport.model.graph.flow import Flow, Kind, Step
from modelport.model.graph.passing import QUANTIZING

if TYPE_CHECKING:
    import onnx

# Constants that the edit adds lie under this name.
PREFIX = "noise"


def is_quantized(flow: Flow, steps: Iterable[Step]) -> bool:
    """Whether there is quantization among some steps, or in what they read of constants."""
    steps = list(steps)
    return any(step.op in QUANTIZING for step in (*steps, *flow.behind_constants(steps)))


class Noise:
    """An edit of single nodes: 8-bit tensors become floats again.

    Where a tensor was quantized it is cut off at the range that 8 bits have there, and ``room`` of it more on either
    side; ``share`` of the noise of rounding is added, uniform over ±half a step. So it is to weights that are kept in
    8 bits. ``constants`` has what the edited nodes read.
    """

    def __init__(self, flow: Flow, kinds: Mapping[str, Kind], share: float, room: float) -> None:
        self._flow, self._kinds, self._share, self._room = flow, kinds, share, room
        self.constants: dict[str, onnx.TensorProto] = {}

    def __call__(self, node: Any, original: Any) -> list[Any]:
        """Return what stands in the place of ``node``, a copy of ``original`` with other names of tensors."""
        from onnx import helper

        result = node.output[0] if node.output else ""
        if node.op_type == "QuantizeLinear":
            cut = f"{PREFIX}/{result}/cut"
            return [*self._cut(node, original, cut), *self._noisy(node, original, cut, result)]
        if node.op_type != "DequantizeLinear":
            return [node]
        if original.input[0] not in self._flow.fixed:
            return [helper.make_node("Identity", [node.input[0]], [result], node.name)]
        node.output[0] = f"{PREFIX}/{result}/plain"
        return [node, *self._noisy(node, original, node.output[0], result)]

    def _cut(self, node: Any, original: Any, result: str) -> list[Any]:
        from onnx import helper

        name, step = f"{PREFIX}/{node.name}", self._step(original)
        if step is None:
            return [helper.make_node("Identity", [node.input[0]], [result], f"{name}/cut")]
        low, high = (edge * step for edge in self._edges(original, step.shape))
        # An edge at zero is an activation that was folded into it.
        more = self._room * (high - low)
        low, high = low - more * (low < 0), high + more * (high > 0)
        bounds = [
            self._constant(f"{PREFIX}/{original.name}/{end}", value) for end, value in (("low", low), ("high", high))
        ]
        return [
            helper.make_node("Max", [node.input[0], bounds[0]], [f"{name}/low"], f"{name}/low"),
            helper.make_node("Min", [f"{name}/low", bounds[1]], [result], f"{name}/high"),
        ]

    def _edges(self, node: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Return the least and the largest number of steps from zero that the type of a quantized tensor has."""
        from onnx import TensorProto, helper, numpy_helper

        zero = self._flow.constants.get(node.input[2]) if len(node.input) > 2 else None
        told = next((attribute.i for attribute in node.attribute if attribute.name == "output_dtype"), 0)
        kind = zero.data_type if zero is not None else told or TensorProto.UINT8
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
        least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (-math.inf, math.inf)
        middle = np.zeros(()) if zero is None else numpy_helper.to_array(zero).astype(np.float64)
        middle = middle.reshape(shape) if middle.size == math.prod(shape) else middle.reshape(-1)[0]
        return least - middle, most - middle

    def _noisy(self, node: Any, original: Any, source: str, result: str) -> list[Any]:
        from onnx import helper

        step, name = self._step(original), f"{PREFIX}/{node.name}"
        if step is not None and original.input[0] in self._flow.constants:
            step = step * self._used(original, step.shape)
        if step is None or not self._share:
            return [helper.make_node("Identity", [source], [result], name)]
        scale = self._constant(f"{PREFIX}/{original.name}/step", step * self._share)
        seed = float(zlib.crc32(node.name.encode()) % 65521)
        return [
            helper.make_node("RandomUniformLike", [source], [f"{name}/r"], f"{name}/r", low=-0.5, high=0.5, seed=seed),
            helper.make_node("Mul", [f"{name}/r", scale], [f"{name}/n"], f"{name}/n"),
            helper.make_node("Add", [source, f"{name}/n"], [result], name),
        ]

    def _used(self, node: Any, shape: tuple[int, ...]) -> Array:
        """Return 1 for each step's width that a constant has values of, 0 where all are zero: that is exact."""
        from onnx import numpy_helper

        values = numpy_helper.to_array(self._flow.constants[node.input[0]])
        zero = self._flow.constants.get(node.input[2]) if len(node.input) > 2 else None
        middle = 0 if zero is None else numpy_helper.to_array(zero)
        apart = values != (np.reshape(middle, shape) if np.size(middle) == math.prod(shape) else np.ravel(middle)[0])
        if not shape:
            return np.asarray(apart.any(), np.float64)
        others = tuple(axis for axis, size in enumerate(shape) if size == 1)
        return np.asarray(apart.any(axis=others, keepdims=True), np.float64)

    def _constant(self, name: str, values: Array) -> str:
        from onnx import numpy_helper

        self.constants[name] = numpy_helper.from_array(np.asarray(values, np.float32), name)
        return name

    def _step(self, node: Any) -> Array | None:
        """Return the width of a step, in a shape that goes with the tensor; None where it is no constant."""
        from onnx import numpy_helper

        tensor = self._flow.constants.get(node.input[1])
        if tensor is None:
            return None
        scale: Array = numpy_helper.to_array(tensor).astype(np.float64)
        if scale.size == 1:
            return scale.reshape(())
        rank = self._rank(node.input[0])
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if rank is None or scale.ndim != 1 or not -rank <= axis < rank:
            return None  # steps of blocks, or a graph at odds with itself
        form = [1] * rank
        form[axis] = scale.size
        return scale.reshape(form)

    def _rank(self, name: str) -> int | None:
        tensor = self._flow.constants.get(name)
        if tensor is not None:
            return len(tensor.dims)
        kind = self._kinds.get(name)
        return None if kind is None or kind.shape is None else len(kind.shape)
