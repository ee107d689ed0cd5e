"""What graphs write otherwise is no difference, and what differs in it is told as where both write it alike."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from unit_graphs import answers, found, graph, weights

from modelport.core.values import Array
from modelport.diagnose.trace.causes import culprit_of
from modelport.diagnose.trace.findings import Culprit
from modelport.diagnose.trace.repair import grafted

X = weights(1, 4, 8, 8)
W, B, G, S = weights(4, 4, 3, 3), weights(4), np.abs(weights(4)) + 1, weights(4)


def told(candidate: onnx.ModelProto, reference: onnx.ModelProto) -> Culprit:
    """The cause of a unit that is both graphs."""
    return culprit_of(found(candidate, reference), reference, candidate, "fp32")


def plain(w: Array = W, b: Array = B) -> onnx.ModelProto:
    """A convolution that pads, adds a bias and rectifies."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    return graph(nodes, X.shape, w=w, b=b)


def spelled(w: Array = W, b: Array = B, pads: int = 1, factor: Array = G) -> onnx.ModelProto:
    """The same in five nodes: a pad, a convolution, a factor and a shift of the channels, a clip."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"], "pad"),
        helper.make_node("Conv", ["p", "w"], ["c"], "conv"),
        helper.make_node("Mul", ["c", "f"], ["m"], "mul"),
        helper.make_node("Add", ["m", "b"], ["a"], "add"),
        helper.make_node("Clip", ["a", "zero"], ["y"], "clip"),
    ]
    widths = np.array([0, 0, pads, pads, 0, 0, pads, pads])
    constants = {"w": w / G[:, None, None, None], "b": b.reshape(4, 1, 1), "f": factor.reshape(4, 1, 1)}
    return graph(nodes, X.shape, pads=widths, zero=np.float32(0), **constants)


def test_a_unit_that_is_spelled_out_is_the_same() -> None:
    assert told(spelled(), plain()).kind == "spelling"
    assert told(plain(), spelled()).kind == "spelling"


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (spelled(w=-W), "the weight 'w': it has the other sign everywhere"),
        (spelled(b=B * 2), "it is 2 times the source's"),
        (spelled(w=W[:, [1, 0, 2, 3]]), "input channels 0 and 1 are exchanged"),
        (spelled(factor=G * np.array([1, 1, 3, 1], np.float32)), "in 1 of 4 output channels (2): it is 3 times"),
    ],
)
def test_what_differs_in_a_unit_that_is_spelled_out(candidate: onnx.ModelProto, words: str) -> None:
    culprit = told(candidate, plain())
    assert (culprit.kind, words in culprit.why) == ("weights", True), culprit.why
    mended = grafted(candidate, plain(), [culprit])
    assert np.array_equal(answers(mended, x=X)[0], answers(plain(), x=X)[0])


def test_other_pads_are_told_where_one_side_pads_apart() -> None:
    culprit = told(spelled(pads=0), plain())
    assert "pads" in culprit.why
    assert culprit.kind in ("attribute", "added")
