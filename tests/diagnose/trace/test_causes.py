"""Each kind of difference is told with its numbers, and the source's nodes bring its answers back to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from unit_graphs import answers, found, graph, weights

from modelport.core.values import Array
from modelport.diagnose.trace.causes import KINDS, culprit_of
from modelport.diagnose.trace.findings import Culprit
from modelport.diagnose.trace.repair import grafted
from modelport.diagnose.trace.weights_cause import KINDS as BECAME

W, B, X = weights(4, 3, 3, 3), weights(4), weights(1, 3, 8, 8)


def conv(**settings: Any) -> Any:
    return helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", **{"pads": [1, 1, 1, 1], **settings})


def net(*nodes: Any, **constants: Array) -> onnx.ModelProto:
    given: dict[str, Any] = {"w": W, "b": B, **constants}
    return graph(nodes or (conv(), helper.make_node("Relu", ["c"], ["y"], "relu")), **given)


def one(op: str, inputs: list[str] | None = None, **settings: Any) -> onnx.ModelProto:
    """A model of one node behind an input (1, 3, 8, 8)."""
    return graph([helper.make_node(op, inputs or ["x"], ["y"], "it", **settings)])


RELU = helper.make_node("Relu", ["c"], ["y"], "relu")
SOURCE = net()


def told(candidate: onnx.ModelProto, reference: onnx.ModelProto = SOURCE, node: str = "") -> Culprit:
    culprit = culprit_of(found(candidate, reference, node), reference, candidate, "fp32")
    assert culprit.kind in KINDS
    return culprit


def proved(candidate: onnx.ModelProto, culprit: Culprit, reference: onnx.ModelProto = SOURCE, x: Array = X) -> None:
    """The graft answers as the source to the bit, and the candidate does not."""
    assert culprit.fix.kind == "graft"
    mended = grafted(candidate, reference, [culprit])
    want, before, after = (answers(model, x=x)[0] for model in (reference, candidate, mended))
    assert not np.array_equal(before, want)
    assert np.array_equal(after, want)


ATTRIBUTES = [
    (net(conv(pads=[0, 0, 2, 2]), RELU), SOURCE, "pads is [0, 0, 2, 2], the source's is [1, 1, 1, 1]"),
    (net(conv(pads=[2, 2, 2, 2], dilations=[2, 2]), RELU), SOURCE, "dilations is [2, 2], the source's is [1, 1]"),
    (one("MaxPool", kernel_shape=[3, 3], strides=[2, 2]),
     one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), "ceil_mode is 0, the source's is 1"),
    (one("AveragePool", kernel_shape=[3, 3], pads=[1] * 4),
     one("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1),
     "count_include_pad is 0, the source's is 1"),
    (one("LeakyRelu"), one("LeakyRelu", alpha=0.1), "alpha is 0.01, the source's is 0.1"),
    (one("Transpose"), one("Transpose", perm=[0, 1, 3, 2]), "perm is [3, 2, 1, 0], the source's is [0, 1, 3, 2]"),
    (one("Softmax", axis=1), one("Softmax"), "axis is 1, the source's is -1"),
    (one("ReduceMean", axes=[2], keepdims=1), one("ReduceMean", axes=[2, 3], keepdims=1),
     "axes is [2], the source's is [2, 3]"),
]  # fmt: skip


@pytest.mark.parametrize(("candidate", "reference", "sentence"), ATTRIBUTES)
def test_an_attribute(candidate: onnx.ModelProto, reference: onnx.ModelProto, sentence: str) -> None:
    culprit = told(candidate, reference)
    assert culprit.kind == "attribute"
    assert culprit.why.startswith(sentence)
    proved(candidate, culprit, reference)


def test_an_operator() -> None:
    candidate = net(conv(), helper.make_node("LeakyRelu", ["c"], ["y"], "act"))
    culprit = told(candidate, node="conv")
    assert (culprit.kind, culprit.found.node, culprit.found.op) == ("operator", "act", "LeakyRelu")
    assert "LeakyRelu is where the source has Relu" in culprit.why
    proved(candidate, culprit)


@pytest.mark.parametrize(
    "candidate",
    [
        graph([helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", pads=[1] * 4)], w=W, b=B),
        net(conv(), helper.make_node("Identity", ["c"], ["y"], "nothing")),
    ],
)
def test_an_operator_that_is_missing(candidate: onnx.ModelProto) -> None:
    culprit = told(candidate, node="conv")
    assert (culprit.kind, culprit.why) == ("missing", "Relu is missing")
    proved(candidate, culprit)


def test_an_operator_that_was_added() -> None:
    candidate = net(
        conv(), helper.make_node("Relu", ["c"], ["r"], "relu"), helper.make_node("Neg", ["r"], ["y"], "neg")
    )
    culprit = told(candidate, node="relu")
    assert (culprit.kind, culprit.found.node) == ("added", "neg")
    proved(candidate, culprit)


def test_weights() -> None:
    candidate = net(w=W[:, ::-1].copy())
    culprit = told(candidate)
    assert culprit.kind == "weights"
    assert culprit.why == "the weight 'w': its three input channels are reversed: RGB and BGR are exchanged"
    proved(candidate, culprit)


def test_what_is_spelled_otherwise_and_is_the_same() -> None:
    """Defaults that are written out, axes counted from the end, padding by a word, a bias of zeros."""
    plain = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1] * 4)], w=W)
    spelled = graph(
        [helper.make_node("Conv", ["x", "w", "z"], ["y"], "conv", auto_pad="SAME_UPPER", strides=[1, 1], group=1)],
        w=W, z=np.zeros(4, np.float32),
    )  # fmt: skip
    assert told(spelled, plain).kind == "spelling"
    assert told(one("Softmax", axis=3), one("Softmax")).kind == "spelling"


def test_the_docs_list_every_kind() -> None:
    text = " ".join((Path(__file__).parents[3] / "docs" / "trace.md").read_text(encoding="utf-8").split())
    for kind, meaning in KINDS.items():
        assert f"| `{kind}` | {meaning} |" in text
    for kind, meaning in BECAME.items():
        assert f"*{kind}* ({meaning})" in text
