"""A tiny graph that holds every operator that a kind of fault is about; two outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array


class Chain:
    """Nodes one behind the other; ``at`` is the tensor made last."""

    def __init__(self, at: str, seed: int) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.at = at
        self.random = np.random.default_rng(seed)

    def constant(self, value: Array) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def drawn(self, *shape: int, around: float = 0.0) -> str:
        """A float32 constant: weights of spread √(2 / inputs), or numbers about another one."""
        spread = np.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.3
        return self.constant((around + self.random.normal(0, spread, shape)).astype(np.float32))

    def whole(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def node(self, operator: str, *more: str, first: str = "", outputs: int = 1, **attributes: Any) -> str:
        place = len(self.nodes)
        made = [f"t{place}" + ("" if index == 0 else f"_{index}") for index in range(outputs)]
        inputs = [first or self.at, *more]
        self.nodes.append(helper.make_node(operator, inputs, made, f"{operator}_{place}", **attributes))
        self.at = made[0]
        return self.at

    def conv(self, made: int, taken: int, kernel: int, **attributes: Any) -> str:
        """A convolution with a bias, padded so that stride 1 keeps the shape."""
        pads = attributes.pop("pads", [kernel // 2] * 4)
        return self.node(
            "Conv", self.drawn(made, taken, kernel, kernel), self.drawn(made), pads=pads, **attributes
        )  # fmt: skip


def every_operator(seed: int = 0) -> onnx.ModelProto:
    """Return it: ``input`` float32 (batch, 3, 16, 16) → ``scores`` (batch, 10) and ``plane`` (batch, 4, 16, 16)."""
    chain = Chain("input", seed)
    planes = _planes(chain)
    scores = _rows(chain)
    graph = helper.make_graph(
        chain.nodes,
        "every_operator",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [
            helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["batch", 10]),
            helper.make_tensor_value_info(planes, TensorProto.FLOAT, ["batch", 4, 16, 16]),
        ],
        chain.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def _planes(chain: Chain) -> str:
    """Convolutions, poolings, resizes: leaves (batch, 8, 8, 8) and returns an output (batch, 4, 16, 16)."""
    chain.conv(8, 3, 3)
    shortcut = chain.node("Relu")
    chain.conv(8, 8, 3)
    chain.node("BatchNormalization", chain.drawn(8, around=1), chain.drawn(8), chain.drawn(8),
               chain.constant(np.linspace(0.5, 2, 8, dtype=np.float32)))  # fmt: skip
    chain.node("LeakyRelu", alpha=0.1)
    chain.node("Add", shortcut)
    chain.node("Relu")
    chain.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    chain.conv(8, 1, 3, group=8)
    chain.node("HardSwish")
    chain.conv(8, 8, 1)
    half = chain.node("PRelu", chain.constant(np.full((8, 1, 1), 0.2, np.float32)))
    chain.node("Resize", "", chain.constant(np.array([1, 1, 2, 2], np.float32)), mode="linear")
    chain.node("Resize", "", chain.constant(np.array([1, 1, 0.5, 0.5], np.float32)), mode="nearest")
    chain.node("Concat", half, axis=1)
    chain.conv(16, 16, 3, strides=[2, 2])
    chain.node("Elu")
    chain.node("InstanceNormalization", chain.drawn(16, around=1), chain.drawn(16))
    chain.node("ConvTranspose", chain.drawn(16, 8, 4, 4), chain.drawn(8), strides=[2, 2], pads=[1, 1, 1, 1])
    chain.node("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    chain.node("Pad", chain.whole(0, 0, 1, 1, 0, 0, 0, 0), mode="constant")
    chain.node("Slice", chain.whole(1), chain.whole(9), chain.whole(2))
    chain.node("Slice", chain.whole(0), chain.whole(8), chain.whole(3))
    chain.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    chain.node("GlobalAveragePool")
    chain.node("HardSigmoid", alpha=0.1, beta=0.5)
    chain.node("Mul", half, first=chain.at)
    chain.node("ReduceMean", chain.whole(2, 3))
    chain.node("Sigmoid")
    chain.node("Mul", half, first=chain.at)
    rows = chain.at
    chain.node("Split", outputs=2, axis=1, num_outputs=2)
    first, second = chain.at, f"{chain.at}_1"
    chain.node("Sub", second, first=first)
    chain.conv(16, 4, 1)
    chain.node("DepthToSpace", blocksize=2, mode="DCR")
    chain.node("Clip", chain.constant(np.array(-1, np.float32)), chain.constant(np.array(1, np.float32)))
    chain.node("Transpose", perm=[0, 2, 3, 1])
    chain.node("Transpose", perm=[0, 3, 1, 2])
    chain.node("Div", chain.constant(np.array([[[2]]], np.float32)))
    chain.conv(4, 4, 3)
    plane = chain.node("Tanh")
    chain.at = rows
    return plane


def _rows(chain: Chain) -> str:
    """Attention over the plane's places and a head: leaves and returns (batch, 10)."""
    chain.node("Reshape", chain.whole(-1, 8, 64))
    tokens = chain.node("Transpose", perm=[0, 2, 1])
    chain.node("LayerNormalization", chain.drawn(8, around=1), chain.drawn(8))
    chain.node("Add", chain.drawn(1, 64, 8))
    base = chain.at
    query = chain.node("MatMul", chain.drawn(8, 8), first=base)
    key = chain.node("MatMul", chain.drawn(8, 8), first=base)
    turned = chain.node("Transpose", first=key, perm=[0, 2, 1])
    chain.node("MatMul", turned, first=query)
    chain.node("Mul", chain.constant(np.array(0.35, np.float32)))
    weights = chain.node("Softmax", axis=-1)
    chain.node("MatMul", base, first=weights)
    chain.node("Add", tokens)
    chain.node("Gelu")
    chain.node("Gather", chain.whole(*range(0, 64, 4)), axis=1)
    chain.node("Erf")
    chain.node("ReduceMean", chain.whole(2), keepdims=1)
    chain.node("Sigmoid")
    chain.node("Reshape", chain.whole(-1, 16))
    chain.node("Gemm", chain.drawn(10, 16), chain.drawn(10), transB=1)
    return chain.at
