"""What 16 and 8 bits lose, by range, digits, scales and zero points; and weights that the source itself has broken."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from unit_graphs import changed, graph, told, weights

from modelport.core.values import Array
from modelport.diagnose.trace.findings import Culprit
from modelport.diagnose.trace.repair import keep_in_float

X, W = weights(1, 3, 8, 8), weights(4, 3, 3, 3)


def half(op: str, x: Array, y: Array, nodes: Any = None, **constants: Any) -> Culprit:
    reference = graph(nodes or [helper.make_node(op, ["x"], ["y"], "it")], **constants)
    return told(reference, reference, "fp16", values={"x": x, "y": y})


def test_what_half_precision_loses() -> None:
    plain = np.ones((1, 3, 8, 8), np.float32)
    cases = [
        (half("Relu", plain * 1e5, plain * 1e5), "range", "reach 1e+05, beyond float16's largest number, 65504"),
        (half("Exp", plain * 11, plain * 6e4), "sensitive", "Exp needs more digits"),
        (half("Exp", plain * 12, plain), "range", "exponents of values up to 12"),
        (half("Sigmoid", plain, plain * 1e-9), "range", "100.0% of its values are below 3e-8"),
        (half("Sigmoid", plain, plain * 1e-5), "range", "below 6.1e-5, where float16 has fewer digits"),
        (half("ReduceSumSquare", plain * 300, plain[:, :1] * 6e4), "range", "squares values up to 300"),
        (half("GlobalAveragePool", plain * 2000, plain[..., :1, :1] * 2000), "range", "sums over 64 values reach"),
        (half("Relu", plain, plain), "sensitive", "11 bits are too few"),
    ]
    for culprit, kind, words in cases:
        assert (culprit.kind, words in culprit.why) == (kind, True), culprit.why
        assert culprit.fix.kind == "keep_in_float"
        assert dict(keep_in_float([culprit]).nodes) == {"it": "fp32"}


def test_constants_that_half_precision_does_not_hold() -> None:
    nodes = [helper.make_node("Add", ["x", "c"], ["y"], "it")]
    tiny = half("", X, X, nodes, c=np.float32(1e-12))
    assert (tiny.kind, "constant is 1e-12, which is zero in float16" in tiny.why) == ("range", True)
    large = half("", X, X, nodes, c=np.float32(1e6))
    assert "constant is 1e+06, beyond float16's largest number" in large.why
    rounded = [
        graph(nodes, c=np.float32(0.7071) if full else np.float16(0.7071).astype(np.float32)) for full in (True, False)
    ]
    assert told(rounded[1], rounded[0], "fp16").kind == "sensitive"
    assert told(rounded[1], rounded[0], "fp32").kind == "constant"
    nodes = [helper.make_node("Clip", ["x", "low"], ["y"], "it")]
    assert half("", X, X, nodes, low=np.finfo(np.float32).min).kind == "sensitive"
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], "it")]
    small = half("", X, X, nodes, w=weights(4, 3, 3, 3) * np.float32(1e-9))
    assert "of 'w' is below 3e-8 and becomes zero" in small.why


SMALL = "float16 has fewer digits below 6.1e-5"


@pytest.mark.parametrize(
    ("have", "want", "words", "fix"),
    [
        (0, 1e-6, f"constant is 0, the source's is 1e-06: {SMALL}", "graft"),
        (1e-7, 1e-12, "constant is 1.19209e-07, the source's is 1e-12: that is zero in float16", "keep_in_float"),
        (1e-6, 1e-6, "constant is 1e-06, below 6.1e-5, where float16 has fewer digits", "keep_in_float"),
    ],
)
def test_a_constant_below_what_half_precision_holds_whole(have: float, want: float, words: str, fix: str) -> None:
    reference = graph([helper.make_node("Add", ["x", "c"], ["y"], "it")], c=np.float32(want))
    lowered = [
        helper.make_node("Cast", ["x"], ["h"], "down", to=TensorProto.FLOAT16),
        helper.make_node("Add", ["h", "c"], ["s"], "it"),
        helper.make_node("Cast", ["s"], ["y"], "up", to=TensorProto.FLOAT),
    ]
    culprit = told(graph(lowered, c=np.float16(have)), reference, "fp16", values={"x": X, "y": X})
    assert (culprit.kind, culprit.fix.kind) == ("range", fix)
    assert culprit.why.endswith(words)


def test_a_large_weight_among_large_ones_is_no_fault_of_the_checkpoint() -> None:
    """As the variances of a batch norm are: half precision is at fault, not the source."""
    wide = np.geomspace(1e-2, 1e5, 40).astype(np.float32)
    reference = graph([helper.make_node("Mul", ["x", "c"], ["y"], "it")], (1, 3, 8, 40), c=wide)
    culprit = told(reference, reference, "fp16")
    assert (culprit.kind, "'c' reaches 1e+05, beyond float16's largest" in culprit.why) == ("range", True)


def test_a_difference_of_near_values() -> None:
    reference = graph([helper.make_node("Sub", ["a", "b"], ["y"], "it")], inputs=["a", "b"])
    values = {"a": X + 100, "b": X + 99.9, "y": X * 0 + 0.1}
    culprit = told(reference, reference, "fp16", inputs=(("a", "a"), ("b", "b")), values=values)
    assert "a difference of near values: the result is 0.10% of the terms" in culprit.why


def quantized(scale: float, zero: int, weight_scale: Array | None = None, w: Array = W) -> onnx.ModelProto:
    """A convolution between 8-bit tensors, its weight by one scale or one a channel."""
    per = np.abs(w).reshape(4, -1).max(1) / 127 if weight_scale is None else np.asarray(weight_scale)
    steps = per.reshape(-1, *[1] * 3) if per.ndim else per
    eight = np.clip(np.round(w / steps), -127, 127).astype(np.int8)
    axis: dict[str, Any] = {"axis": 0} if per.ndim else {}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "d"),
        helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], "dw", **axis),
        helper.make_node("Conv", ["d", "w"], ["y"], "conv"),
    ]
    zeros = np.zeros(per.shape, np.int8)
    return graph(nodes, s=np.float32(scale), z=np.uint8(zero), w8=eight, ws=per.astype(np.float32), wz=zeros)


def eight(scale: float, zero: int, x: Array = X, w: Array = W, **more: Any) -> Culprit:
    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=w)
    return told(quantized(scale, zero, w=w, **more), reference, "int8", values={"x": x})


def test_what_eight_bits_lose() -> None:
    reach = float(np.abs(X).max())
    right = 2 * reach / 255
    unlike = W * np.array([1, 1, 1e-3, 1], np.float32).reshape(-1, 1, 1, 1)
    one = np.asarray(np.abs(unlike).max() / 127)
    channels = X * np.array([100, 1, 1], np.float32).reshape(1, 3, 1, 1)
    cases = [
        (eight(right, 128), "sensitive", "256 levels are too few"),
        (eight(right / 4, 128), "range", "is clipped"),
        (eight(right, 20), "range", "the zero point of 'x' is off"),
        (eight(right * 20, 128), "range", "of 256 levels are used"),
        (eight(right, 128, w=unlike, weight_scale=one), "range", "the weight 'w' has one scale for all channels"),
        (eight(right * 100, 128, x=channels), "range", "'x' has one scale for all channels"),
    ]
    for culprit, kind, words in cases:
        assert (culprit.kind, words in culprit.why) == (kind, True), culprit.why
        assert dict(keep_in_float([culprit]).nodes) == {"conv": "fp32"}


def test_a_few_values_far_out() -> None:
    x = np.tile(X, (1, 1, 8, 8))
    x[0, 0, 0, 0] = 1000
    culprit = eight(2000 / 255, 128, x=x)
    assert "a few values of 'x' reach 1000, while 99.9% are below" in culprit.why


@pytest.mark.parametrize(("zero", "kind"), [(0, "sensitive"), (100, "missing")])
def test_a_relu_that_quantization_does_is_not_missing(zero: int, kind: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    reference = graph(nodes, w=W)
    lowered = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d"),
    ]
    candidate = graph(lowered, w=W, s=np.float32(0.1), z=np.uint8(zero))
    assert told(candidate, reference, "int8", values={"x": X}).kind == kind


@pytest.mark.parametrize(("place", "word"), [(1, "scale 0.05 and scaled back with 0.1"), (2, "zero point 128 and")])
def test_a_tensor_that_is_scaled_back_otherwise(place: int, word: str) -> None:
    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=W)
    other = {1: np.float32(0.1), 2: np.uint8(100)}[place]

    def change(graph: Any) -> None:
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(other), "other"))
        graph.node[1].input[place] = "other"

    culprit = told(changed(quantized(0.05, 128), change), reference, "int8", values={"x": X})
    assert culprit.kind == "constant"
    assert word in culprit.why


def test_a_weight_whose_scale_is_wrong() -> None:
    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=W)
    candidate = quantized(0.05, 128)
    scales = next(tensor for tensor in candidate.graph.initializer if tensor.name == "ws")
    scales.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scales) * 2, "ws"))
    culprit = told(candidate, reference, "int8", values={"x": X})
    assert culprit.kind == "weights"
    times = re.search(r"it is ([\d.]+) times the source's", culprit.why)
    assert times is not None and float(times[1]) == pytest.approx(2, rel=2e-3)
    assert (culprit.fix.kind, culprit.fix.nodes) == ("keep_in_float", ("conv",))


def test_a_checkpoint_is_blamed_for_its_own_weights() -> None:
    bad = W.copy()
    bad.view(np.uint32)[1, 0, 0, 0] = 0x7E000000  # 4.25e37
    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=bad)
    culprit = told(reference, reference, "fp16")
    assert (culprit.kind, culprit.fix.kind) == ("checkpoint", "checkpoint")
    assert "the source's own weight 'w' is at fault, not the export: it reaches 4.254e+37" in culprit.why


def test_a_mask_of_attention_is_no_broken_weight() -> None:
    mask = np.where(np.tri(8, dtype=bool), 0, -np.inf).astype(np.float32)
    reference = graph([helper.make_node("Add", ["x", "m"], ["y"], "it")], m=mask)
    assert told(reference, reference, "fp16", values={"x": X}).kind == "sensitive"
    mask[0, 0] = np.nan
    reference = graph([helper.make_node("Add", ["x", "m"], ["y"], "it")], m=mask)
    assert told(reference, reference, "fp16", values={"x": X}).kind == "checkpoint"
