"""Inputs, constants, folded norms, opsets, precision and checkpoints as causes; names of others come out plain."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from unit_graphs import answers, changed, far_units, found, graph, weights

from modelport.core.values import Array
from modelport.diagnose.trace.causes import KINDS, Finder, culprit_of, culprits_of, tensors_of
from modelport.diagnose.trace.findings import Culprit, NodesFound
from modelport.diagnose.trace.repair import grafted, keep_in_float

X = weights(1, 3, 8, 8)


def told(candidate: onnx.ModelProto, reference: onnx.ModelProto, precision: str = "fp32", **more: Any) -> Culprit:
    unit = found(candidate, reference, inputs=more.pop("inputs", (("x", "x"),)))
    culprit = culprit_of(unit, reference, candidate, precision, **more)
    assert culprit.kind in KINDS
    return culprit


def proved(candidate: onnx.ModelProto, culprit: Culprit, reference: onnx.ModelProto, **feeds: Array) -> None:
    mended = grafted(candidate, reference, [culprit])
    want, before, after = (answers(model, **feeds)[0] for model in (reference, candidate, mended))
    assert before.shape != want.shape or not np.array_equal(before, want)
    assert np.array_equal(after, want)


@pytest.mark.parametrize("op", ["Sub", "Div"])
def test_inputs_that_are_exchanged(op: str) -> None:
    candidate, reference = (
        graph([helper.make_node(op, names, ["y"], "it")], inputs=["a", "b"]) for names in (["b", "a"], ["a", "b"])
    )
    culprit = told(candidate, reference, inputs=(("a", "a"), ("b", "b")))
    assert (culprit.kind, culprit.why) == ("inputs", "its inputs are exchanged: b, a")
    proved(candidate, culprit, reference, a=X, b=weights(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("have", "want"), [(["x", "c"], ["c", "x"]), (["c", "x"], ["x", "c"]), (["x", "b"], ["b", "x"])]
)
def test_a_constant_that_is_the_other_operand(have: list[str], want: list[str]) -> None:
    candidate, reference = (
        graph([helper.make_node("Div", names, ["y"], "it")], c=np.float32(2), b=X[0, 0, 0]) for names in (have, want)
    )
    culprit = told(candidate, reference)
    assert culprit.kind == "inputs"
    assert "its inputs are exchanged: the constant is" in culprit.why
    proved(candidate, culprit, reference, x=np.abs(X) + 1)


def test_weights_of_one_node_that_are_exchanged() -> None:
    candidate = changed(normed(), lambda graph: graph.node[1].input.__setitem__(slice(1, 3), ["e", "g"]))
    culprit = told(candidate, normed())
    assert (culprit.kind, culprit.why) == ("inputs", "at 'norm': its scale and its bias are exchanged")
    proved(candidate, culprit, normed(), x=X)


def test_auto_pad() -> None:
    candidate, reference = (
        graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[2, 2], **pads)], w=W)
        for pads in ({"auto_pad": "SAME_UPPER"}, {"pads": [1, 1, 1, 1]})
    )
    culprit = told(candidate, reference)
    assert culprit.why == "auto_pad is SAME_UPPER (pads [0, 0, 1, 1]), the source's pads is [1, 1, 1, 1]"
    proved(candidate, culprit, reference, x=X)


def test_exchanging_what_may_be_exchanged_is_nothing() -> None:
    candidate, reference = (
        graph([helper.make_node("Add", names, ["y"], "it")], inputs=["a", "b"]) for names in (["b", "a"], ["a", "b"])
    )
    assert told(candidate, reference, inputs=(("a", "a"), ("b", "b"))).kind == "spelling"


def test_an_input_from_elsewhere() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["n"], "neg"), helper.make_node("Abs", ["x"], ["a"], "abs")]
    reference, candidate = (graph([*nodes, helper.make_node("Add", ["x", name], ["y"], "sum")]) for name in ("a", "n"))
    culprit = told(candidate, reference)
    assert culprit.kind == "inputs"
    assert culprit.why == "at 'sum': it reads 'n', which is the source's 'n'; the source reads 'a'"
    assert culprit.found.node == "sum"
    proved(candidate, culprit, reference, x=X)


CONSTANTS = [
    ("Div", {"c": np.float32(1)}, {"c": np.float32(255)}, "constant is 1, the source's is 255"),
    ("Reshape", {"c": np.array([1, 24, 8])}, {"c": np.array([1, 8, 24])},
     "shape is [1, 24, 8], the source's is [1, 8, 24]"),
    ("Clip", {"c": np.float32(-1)}, {"c": np.float32(0)}, "min is -1, the source's is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "have", "want", "sentence"), CONSTANTS)
def test_a_constant(op: str, have: dict[str, Any], want: dict[str, Any], sentence: str) -> None:
    candidate, reference = (
        graph([helper.make_node(op, ["x", "c"], ["y"], "it")], rank=3 if op == "Reshape" else None, **one)
        for one in (have, want)
    )
    culprit = told(candidate, reference)
    assert culprit.kind == "constant"
    assert culprit.why.endswith(sentence)
    proved(candidate, culprit, reference, x=X)


def test_whole_numbers_of_several_axes_are_told_as_weights_are() -> None:
    def net(places: Array) -> onnx.ModelProto:
        return graph([helper.make_node("Gather", ["x", "i"], ["y"], "it", axis=3)], rank=5, i=places)

    places = np.arange(8).reshape(4, 2)
    culprit = told(net(places[[0, 2, 1, 3]]), net(places))
    assert (culprit.kind, culprit.why) == ("weights", "the constant 'i': slices of axis 0 1 and 2 are exchanged")
    proved(net(places[[0, 2, 1, 3]]), culprit, net(places), x=X)
    assert told(net(places + 10**7), net(places + 10**7 + 1)).kind == "weights"  # no rounding of a float


def test_steps_of_a_slice() -> None:
    ends: dict[str, Any] = {"s": np.array([0, 0]), "e": np.array([8, 8]), "a": np.array([2, 3])}
    candidate, reference = (
        graph([helper.make_node("Slice", ["x", "s", "e", "a", "t"], ["y"], "it")], **ends, t=np.array(steps))
        for steps in ([1, 2], [2, 2])
    )
    culprit = told(candidate, reference)
    assert (culprit.kind, culprit.why) == ("constant", "steps is [1, 2], the source's is [2, 2]")
    proved(candidate, culprit, reference, x=X)


NORM: dict[str, Any] = {
    "g": np.abs(weights(4)) + 0.5, "e": weights(4), "m": weights(4) * 0.1,
    "v": np.abs(weights(4)) * np.float32(0.01) + np.float32(1e-4),
}  # fmt: skip
W = weights(4, 3, 3, 3)


def normed(epsilon: float = 1e-5, op: str = "BatchNormalization", **more: Any) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node(op, ["c", "g", "e", "m", "v"], ["y"], "norm", epsilon=epsilon, **more),
    ]
    return graph(nodes, w=W, **NORM)


def folded(epsilon: float) -> onnx.ModelProto:
    factor = NORM["g"] / np.sqrt(NORM["v"] + np.float32(epsilon))
    bias = NORM["e"] - NORM["m"] * factor
    return graph([helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")], w=W * factor[:, None, None, None], b=bias)


def test_epsilon_of_a_batch_norm() -> None:
    culprit = told(normed(1e-3), normed())
    assert culprit.kind == "attribute"
    assert culprit.why.startswith("at 'norm': epsilon is 0.001, the source's is 1e-05")
    proved(normed(1e-3), culprit, normed(), x=X)


@pytest.mark.parametrize("epsilon", [1e-3, 1e-2])
def test_a_batch_norm_that_was_folded_with_another_epsilon(epsilon: float) -> None:
    culprit = told(folded(epsilon), normed())
    assert culprit.kind == "norm"
    assert f"folded with epsilon {epsilon:.3g}, the source's is 1e-05" in culprit.why
    proved(folded(epsilon), culprit, normed(), x=X)


def test_a_batch_norm_that_was_folded_right_is_no_difference() -> None:
    assert told(folded(1e-5), normed()).kind == "spelling"
    assert told(normed(), folded(1e-5)).kind == "spelling"


def test_a_batch_norm_that_is_gone() -> None:
    candidate = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=W)
    culprit = told(candidate, normed())
    assert culprit.kind == "missing"
    assert culprit.why == "BatchNormalization is missing"
    proved(candidate, culprit, normed(), x=X)


def test_a_batch_norm_in_training_mode() -> None:
    candidate = normed(training_mode=1)
    candidate.graph.node[1].output.extend(["mean", "var"])
    culprit = told(candidate, normed())
    assert "training_mode is 1, the source's is 0: it normalises by the batch" in culprit.why
    proved(candidate, culprit, normed(), x=X)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_an_operator_that_means_something_else_in_the_opset(op: str) -> None:
    candidate, reference = (
        graph([helper.make_node(op, ["x"], ["y"], "it", axis=1)], opset=opset) for opset in (11, 17)
    )
    culprit = told(candidate, reference)
    assert culprit.kind == "opset"
    assert "opset 11" in culprit.why and "flattens all axes" in culprit.why
    assert (culprit.fix.kind, "opset 17" in culprit.fix.sentence) == ("opset", True)
    last = graph([helper.make_node(op, ["x"], ["y"], "it", axis=3)], opset=11)
    assert told(last, graph([helper.make_node(op, ["x"], ["y"], "it")])).kind == "spelling"


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


def deep(seed: int, mix: float = 0.0) -> onnx.ModelProto:
    random, base = np.random.default_rng(seed), np.random.default_rng(1)
    nodes, before = [], "x"
    constants: dict[str, Any] = {}
    for layer in range(5):
        own = random.standard_normal((3, 3, 3, 3)) * (1 - mix) + base.standard_normal((3, 3, 3, 3)) * mix
        constants[f"w{layer}"] = own.astype(np.float32)
        nodes.append(helper.make_node("Conv", [before, f"w{layer}"], [f"c{layer}"], f"conv{layer}", pads=[1] * 4))
        before = f"c{layer}"
    nodes.append(helper.make_node("Relu", [before], ["y"], "relu"))
    return graph(nodes, **constants)


@pytest.mark.parametrize("mix", [0.0, 0.8])
def test_another_checkpoint_is_one_finding(mix: float) -> None:
    reference, candidate = deep(1), deep(2, mix)
    units = far_units(candidate, reference)
    culprits = culprits_of(NodesFound(units), reference, candidate, "fp32")
    assert [culprit.kind for culprit in culprits] == ["other_weights", "spelling"]
    assert "other weights, same network: those of 5 nodes are others" in culprits[0].why
    mended = grafted(candidate, reference, culprits, units)
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])


def test_one_layer_of_others_is_no_other_checkpoint() -> None:
    reference = deep(1)
    candidate = changed(reference, lambda graph: graph.initializer[2].CopyFrom(deep(5).graph.initializer[2]))
    units = far_units(candidate, reference)
    culprits = culprits_of(NodesFound(units[2:3]), reference, candidate, "fp32")
    assert [culprit.kind for culprit in culprits] == ["weights"]


@pytest.mark.parametrize(
    "broken",
    [
        helper.make_node("Cast", ["c"], ["d"], "of", to=99),
        helper.make_node("Reshape", ["c", "c"], ["d"], "of"),
        helper.make_node("Transpose", ["c"], ["d"], "of", perm=[5, 6]),
        helper.make_node("DequantizeLinear", ["c"], ["d"], "of"),
    ],
    ids=lambda node: str(node.op_type),
)
def test_what_cannot_be_computed_of_constants_is_compared_as_a_node(broken: Any) -> None:
    last = helper.make_node("Mul", ["x", "d"], ["y"], "mul")
    candidate = graph([broken, last], c=np.array([7, 5, 3]))
    reference = graph([helper.make_node("Neg", ["c"], ["d"], "of"), last], c=np.array([7, 5, 3]))
    culprit = told(candidate, reference)
    assert (culprit.kind, culprit.found.node) == ("operator", "of")
    assert culprit.why.startswith(broken.op_type) and culprit.why.endswith("is where the source has Neg")


HOSTILE = "w\n\x1b[31mred\u202e<script>"


def test_names_of_others_come_out_plain() -> None:
    def net(w: Array, act: str, domain: str = "") -> onnx.ModelProto:
        nodes = [
            helper.make_node("Conv", ["x", HOSTILE], [HOSTILE + "c"], HOSTILE + "conv"),
            helper.make_node(act, [HOSTILE + "c"], ["y"], HOSTILE + "act", domain=domain),
        ]
        constants: dict[str, Any] = {HOSTILE: w}
        return graph(nodes, **constants)

    cases = [net(W[:, ::-1].copy(), "Relu"), net(W, "Neg"), net(W, "evil\n\x1b[2J", "bad\x07")]
    for candidate in cases:
        for precision in ("fp32", "fp16", "int8"):
            culprit = told(candidate, net(W, "Relu"), precision)
            for text in (culprit.why, culprit.fix.sentence):
                assert text.isprintable(), text
                assert "\u202e" not in text


AT_ODDS = [
    *(helper.make_node(op, [], ["y"], "it") for op in ("Transpose", "QuantizeLinear", "DequantizeLinear", "Sub")),
    helper.make_node("ReduceMean", ["x", "c"], ["y"], "it"),
]


@pytest.mark.parametrize("node", AT_ODDS, ids=lambda node: f"{node.op_type} of {len(node.input)}")
def test_a_node_at_odds_with_its_operator_has_a_cause(node: Any) -> None:
    """No engine runs such a graph: it is a trace that is asked what is wrong with it."""
    nodes = [node, helper.make_node("Relu", ["y"], ["z"], "last")]
    reference = graph([helper.make_node("Neg", ["x"], ["y"], "it"), nodes[1]], opset=18, output="z")
    candidate = graph(nodes, opset=18, output="z", c=np.float32(2))
    for precision in ("fp32", "fp16", "int8"):
        told(candidate, reference, precision, values={"x": X, "y": X})
        told(candidate, candidate, precision, values={"x": X, "y": X})


def test_the_tensors_that_help() -> None:
    reference = normed()
    unit = found(reference, reference)
    assert tensors_of(unit) == ("x", "y")
    assert Finder(reference, reference, "fp32").culprit(unit).kind == "engine"


def test_casts_in_a_float32_graph_are_told() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], "down", to=TensorProto.INT32),
        helper.make_node("Cast", ["h"], ["y"], "up", to=TensorProto.FLOAT),
    ]
    reference = graph([helper.make_node("Identity", ["x"], ["y"], "it")])
    culprit = told(graph(nodes), reference)
    assert (culprit.kind, culprit.found.node) == ("added", "down")
    assert culprit.why == "Cast to int32, Cast to float were added; the source has nothing there"
    proved(graph(nodes), culprit, reference, x=X)
