"""Grafts keep what is not theirs, refuse what cannot be grafted, and plans are what the tools take."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from unit_graphs import answers, changed, far_units, found, graph, weights

from modelport.core.errors import GraphError, UsageError
from modelport.core.values import Array
from modelport.diagnose.trace.causes import culprit_of, culprits_of
from modelport.diagnose.trace.findings import Culprit, Fix, NodesFound, Unit, UnitFound
from modelport.diagnose.trace.repair import compilers_plans, grafted, keep_in_float
from modelport.model.graph.file import opset_of
from modelport.model.graph.precision_plan import parse_plan, plan_text

X, W, V = weights(1, 3, 8, 8), weights(3, 3, 3, 3), weights(3, 3, 3, 3)


def two(first: Array = W, second: Array = V, pads: int = 1, **more: Any) -> onnx.ModelProto:
    """Two convolutions with an activation between; the sum of both and of the input."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "one", pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["r"], "act"),
        helper.make_node("Conv", ["r", "v"], ["b"], "two", pads=[pads, pads, 2 - pads, 2 - pads]),
        helper.make_node("Sum", ["x", "r", "b"], ["y"], "sum"),
    ]
    return graph(nodes, w=first, v=second, **more)


def culprit(unit: UnitFound) -> Culprit:
    return Culprit(unit, "", Fix("graft", "", unit.unit.nodes))


def test_only_the_culprit_is_grafted() -> None:
    reference = two()
    candidate = two(pads=2, first=-W)
    units = far_units(candidate, reference)
    mended = grafted(candidate, reference, [culprit_of(units[2], reference, candidate, "fp32")], units)
    assert np.array_equal(answers(mended, x=X)[0], answers(two(first=-W), x=X)[0])
    assert [node.name for node in mended.graph.node] == ["one", "act", "two", "sum"]
    assert [tensor.name for tensor in mended.graph.initializer] == ["w", "v"]
    assert candidate.SerializeToString() == two(pads=2, first=-W).SerializeToString()
    both = grafted(candidate, reference, [culprit(unit) for unit in units], units)
    assert np.array_equal(answers(both, x=X)[0], answers(reference, x=X)[0])


def renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with other names inside."""
    inner = {name for node in model.graph.node for name in node.output} | {t.name for t in model.graph.initializer}

    def change(graph: Any) -> None:
        for node in graph.node:
            node.name = f"other/{node.name}"
            for names in (node.input, node.output):
                names[:] = [f"t/{name}" if name in inner and name != "y" else name for name in names]
        for tensor in graph.initializer:
            tensor.name = f"t/{tensor.name}"

    return changed(model, change)


def test_graphs_with_other_names() -> None:
    candidate, reference = two(pads=0, second=V * 2), renamed(two())
    units = far_units(candidate, reference)
    mended = grafted(candidate, reference, [culprit(units[2])], units)
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])
    assert [node.name for node in mended.graph.node] == ["one", "act", "two", "sum"]
    assert [tensor.name for tensor in mended.graph.initializer] == ["w", "v"]


def test_what_others_still_read_stays() -> None:
    """A unit of two nodes whose inner tensor the rest reads; an initializer that two nodes share."""
    candidate = changed(two(second=W), lambda graph: graph.node[2].input.__setitem__(1, "w"))
    reference = two()
    units = far_units(candidate, reference)
    mended = grafted(candidate, reference, [culprit(units[2])], units)
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])
    whole = found(candidate, reference)
    inner = UnitFound(
        unit=type(whole.unit)("b", "b", ("one", "act", "two"), ("one", "act", "two"), (("x", "x"),)),
        op="Conv", node="two", module="", local=whole.local, accumulated=whole.accumulated, expected=1e-6,
    )  # fmt: skip
    mended = grafted(candidate, reference, [culprit(inner)])
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])


def test_constants_that_are_nodes() -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], "cw", value=numpy_helper.from_array(W)),
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Constant", [], ["k"], "ck", value_float=2.0),
        helper.make_node("Mul", ["c", "k"], ["y"], "mul"),
    ]
    reference = graph(nodes)
    wrong = changed(reference, lambda graph: graph.node[2].attribute[0].__setattr__("f", 3.0))
    mended = grafted(wrong, reference, [culprit_of(found(wrong, reference), reference, wrong, "fp32")])
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])


def test_a_constant_that_is_text_is_refused() -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], "cw", value_strings=["a", "b"]),
        helper.make_node("Conv", ["x", "w"], ["y"], "conv"),
    ]
    candidate = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=W)
    with pytest.raises(GraphError, match=r"reads 'w', which this file does not have"):
        grafted(candidate, graph(nodes), [culprit(found(candidate, graph(nodes)))])


def test_a_float16_graph_keeps_its_type() -> None:
    def half(w: Array) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Cast", ["x"], ["h"], "down", to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["h", "w"], ["c"], "conv"),
            helper.make_node("Cast", ["c"], ["y"], "up", to=TensorProto.FLOAT),
        ]
        return graph(nodes, w=w.astype(np.float16))

    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=W)
    candidate = half(-W)
    why = culprit_of(found(candidate, reference), reference, candidate, "fp16")
    assert "other sign" in why.why
    mended = grafted(candidate, reference, [why])
    assert mended.graph.initializer[0].data_type == TensorProto.FLOAT16
    assert np.array_equal(answers(mended, x=X)[0], answers(half(W), x=X)[0])


@pytest.mark.parametrize("as_node", [True, False])
def test_what_an_operator_takes_in_float32_alone_stays_float32(as_node: bool) -> None:
    def net(size: float, half: bool, scaled: bool = True) -> onnx.ModelProto:
        scales: dict[str, Any] = {"s": np.array([1, 1, size, size], np.float32)}
        kept = [helper.make_node("Constant", [], ["s"], "cs", value=numpy_helper.from_array(scales["s"]))]
        resize = ["c", "", "s"] if scaled else ["c", "", "", "sizes"]
        nodes = [
            helper.make_node("Cast", ["x"], ["h"], "down", to=TensorProto.FLOAT16 if half else TensorProto.FLOAT),
            helper.make_node("Conv", ["h", "w"], ["c"], "conv"),
            *(kept if as_node and scaled else []),
            helper.make_node("Resize", resize, ["r"], "resize", mode="linear"),
            helper.make_node("Cast", ["r"], ["y"], "up", to=TensorProto.FLOAT),
        ]
        more = {"sizes": np.array([1, 3, 9, 9])} if not scaled else {} if as_node else scales
        return graph(nodes, w=W.astype(np.float16 if half else np.float32), **more)

    reference = net(0.5, half=False)
    for candidate in (net(2, half=True), net(2, half=True, scaled=False)):
        mended = grafted(candidate, reference, [culprit(found(candidate, reference))])
        assert np.array_equal(answers(mended, x=X)[0], answers(net(0.5, half=True), x=X)[0])


def test_control_flow_is_not_grafted() -> None:
    """What its branches read of the source is another tensor here, or none."""

    def net(op: str) -> onnx.ModelProto:
        result = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3, 8, 8])]
        branch = helper.make_graph([helper.make_node(op, ["a", "k"], ["b"], "in")], "branch", [], result)
        nodes = [
            helper.make_node("Neg", ["x"], ["a"], "neg"),
            helper.make_node("If", ["yes"], ["y"], "if", then_branch=branch, else_branch=branch),
        ]
        return graph(nodes, yes=np.bool_(True), k=np.float32(2))

    candidate, reference = net("Mul"), net("Add")
    with pytest.raises(GraphError, match=r"'if' \(If\) is control flow"):
        grafted(candidate, reference, [culprit(found(candidate, reference))])


def test_an_old_file_whose_constants_are_inputs_as_well() -> None:
    def change(graph: Any) -> None:
        graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, W.shape))

    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], opset=8, w=W)
    candidate = changed(graph([helper.make_node("Neg", ["x"], ["y"], "neg")], opset=8, w=W), change)
    candidate.ir_version = 3
    mended = grafted(candidate, reference, [culprit_of(found(candidate, reference), reference, candidate, "fp32")])
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])
    assert [value.name for value in mended.graph.input] == ["x"]


def test_outputs_whose_declared_sizes_were_wrong() -> None:
    def net(stride: int) -> onnx.ModelProto:
        model = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv", strides=[stride] * 2)], w=W)
        size = (8 - 3) // stride + 1
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, size, size]))
        return model

    reference, candidate = net(2), net(1)
    mended = grafted(candidate, reference, [culprit(found(candidate, reference))])
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])


def test_what_cannot_be_grafted_is_refused() -> None:
    reference, candidate = two(), two(pads=2)
    units = far_units(candidate, reference)
    with pytest.raises(GraphError, match=r"reads 'r', which this file does not have"):
        lone = units[2].unit
        bare = type(lone)(lone.output, lone.reference_output, lone.nodes, lone.reference_nodes, ())
        far = units[2].local
        grafted(candidate, reference, [culprit(UnitFound(bare, "Conv", "two", "", far, far, 0.0))])
    with pytest.raises(GraphError, match="the source has no node 'two'"):
        grafted(candidate, changed(reference, lambda graph: graph.node.pop(2)), [culprit(units[2])], units)
    with pytest.raises(GraphError, match="the file has no node 'two'"):
        grafted(changed(candidate, lambda graph: graph.node.pop(2)), reference, [culprit(units[2])], units)
    with pytest.raises(UsageError, match="none of the culprits"):
        grafted(candidate, reference, [])
    one, other = (graph([helper.make_node("Softmax", ["x"], ["y"], "it")], opset=opset) for opset in (17, 11))
    with pytest.raises(GraphError, match="Softmax means something else in opset 17") as refused:
        grafted(one, other, [culprit(found(one, other))])
    assert "opset 11" in refused.value.fix


def test_a_file_of_an_older_opset_is_brought_to_the_sources() -> None:
    """It has no Gelu: with the source's it is a file of the source's opset."""
    root, one, half = np.float32(2**0.5), np.float32(1), np.float32(0.5)

    def spelled(operator: str) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Div", ["x", "r"], ["d"], "div"),
            helper.make_node(operator, ["d"], ["e"], "erf"),
            helper.make_node("Add", ["e", "o"], ["a"], "add"),
            helper.make_node("Mul", ["a", "x"], ["m"], "mul"),
            helper.make_node("Mul", ["m", "h"], ["y"], "half"),
        ]
        return graph(nodes, opset=13, r=root, o=one, h=half)

    reference = graph([helper.make_node("Gelu", ["x"], ["y"], "gelu")], opset=20)
    assert culprit_of(found(spelled("Erf"), reference), reference, spelled("Erf"), "fp32").kind == "spelling"
    wrong = spelled("Tanh")
    why = culprit_of(found(wrong, reference), reference, wrong, "fp32")
    assert (why.kind, why.found.node) == ("operator", "erf")
    assert why.why == "at 'erf': in the nodes that are Gelu in the source, Tanh is where Erf belongs"
    mended = grafted(wrong, reference, [why])
    assert opset_of(mended) == 20
    assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])


def test_types_that_do_not_meet_are_refused() -> None:
    reference = graph([helper.make_node("Conv", ["x", "w"], ["y"], "conv")], w=W)
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], "cast", to=TensorProto.INT32),
        helper.make_node("Neg", ["i"], ["n"], "neg"),
        helper.make_node("Cast", ["n"], ["y"], "back", to=TensorProto.FLOAT),
    ]
    candidate = graph(nodes)
    whole = found(candidate, reference).unit
    inner = type(whole)("n", "y", ("neg",), ("conv",), (("i", "x"),))
    far = found(candidate, reference).local
    with pytest.raises(GraphError, match="is not valid"):
        grafted(candidate, reference, [culprit(UnitFound(inner, "Neg", "neg", "", far, far, 0.0))])


def test_the_plan_is_what_the_tools_take() -> None:
    reference = two()
    unit = found(reference, reference)
    lossy = Culprit(unit, "", Fix("keep_in_float", "", ("two", "act")), "range")
    plan = keep_in_float([lossy, culprit(unit)])
    assert parse_plan(json.loads(plan_text(plan)), "plan.json") == plan
    assert dict(plan.nodes) == {"two": "fp32", "act": "fp32"}
    (own,) = compilers_plans(plan, reference).values()
    assert sorted(own.split()) == ["act", "two"]
    with pytest.raises(GraphError, match="no node 'two'"):
        compilers_plans(plan, changed(reference, lambda graph: graph.node.pop(2)))


def test_neighbours_whose_border_was_taken_in_the_middle_of_an_operator_are_one() -> None:
    """The reference spells Sigmoid in four nodes; its third was taken for the candidate's Sigmoid."""
    spelled = [
        helper.make_node("Neg", ["x"], ["n"], "neg"),
        helper.make_node("Exp", ["n"], ["e"], "exp"),
        helper.make_node("Add", ["e", "one"], ["p"], "add"),
        helper.make_node("Reciprocal", ["p"], ["s"], "recip"),
        helper.make_node("Mul", ["s", "k"], ["y"], "mul"),
    ]
    reference = graph(spelled, one=np.float32(1), k=np.float32(2))

    def candidate(op: str, factor: float) -> onnx.ModelProto:
        nodes = [helper.make_node(op, ["x"], ["s"], "it"), helper.make_node("Mul", ["s", "k"], ["y"], "mul")]
        return graph(nodes, k=np.float32(factor))

    def units(op: str) -> list[UnitFound]:
        far = found(reference, reference)
        first = Unit("s", "p", ("it",), ("neg", "exp", "add"), (("x", "x"),))
        second = Unit("y", "y", ("mul",), ("recip", "mul"), (("s", "p"),))
        return [replace(far, unit=first, node="it", op=op), replace(far, unit=second, node="mul", op="Mul")]

    assert culprits_of(NodesFound(units("Sigmoid")), reference, candidate("Sigmoid", 2), "fp32") == []
    for op, factor, kind in (("Sigmoid", 3, "constant"), ("Tanh", 2, "operator")):
        wrong = candidate(op, factor)
        culprits = culprits_of(NodesFound(units(op)), reference, wrong, "fp32")
        assert [one.kind for one in culprits] == [kind]
        mended = grafted(wrong, reference, culprits, units(op))
        assert np.array_equal(answers(mended, x=X)[0], answers(reference, x=X)[0])
