"""Inputs, constants, folded norms, opsets and other checkpoints as causes; names of others come out plain."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from unit_graphs import answers, changed, far_units, found, graph, told, weights

from modelport.core.values import Array
from modelport.diagnose.trace.causes import Finder, culprits_of, tensors_of
from modelport.diagnose.trace.findings import Culprit, NodesFound
from modelport.diagnose.trace.repair import grafted

X = weights(1, 3, 8, 8)


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
