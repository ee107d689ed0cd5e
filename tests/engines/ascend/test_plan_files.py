"""The files that ATC takes a precision plan from, and the nodes that it is told of."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper

from modelport.core.errors import GraphError
from modelport.engines.ascend.plan_files import (
    chain_nodes,
    customize_dtypes_text,
    keep_dtype_text,
    modify_mixlist_text,
    op_precision_mode_text,
    output_nodes,
)
from modelport.model.graph import precision_plan as plans

# Three nodes that feed each other, of two types, and one that takes whole numbers.
NODES = [
    helper.make_node("Relu", ["x"], ["a"], "first"),
    helper.make_node("Softmax", ["a"], ["b"], "soft"),
    helper.make_node("Reshape", ["b", "sizes"], ["c"], "shape"),
    helper.make_node("Relu", ["c"], ["y"], "last"),
]


def _model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in ("x", "y")]
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [2], [2, 3])
    graph = helper.make_graph(list(nodes) or NODES, "g", shapes[:1], shapes[1:], [sizes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])


def _resolved(nodes: dict[str, str], types: dict[str, str] | None = None) -> plans.ResolvedPlan:
    return plans.resolve(plans.PrecisionPlan(nodes, types or {}), _model(), "p")


def test_a_nodes_word_beats_its_types() -> None:
    resolved = _resolved({"last": "fp16"}, {"Relu": "fp32", "Softmax": "fp32"})
    assert keep_dtype_text(resolved) == "first\nsoft\n"
    assert customize_dtypes_text(resolved) == "last::InputDtype:float16,OutputDtype:float16\n"


def test_only_floats_are_given_another_type() -> None:
    text = customize_dtypes_text(_resolved({"shape": "bf16"}))
    assert text == "shape::InputDtype:bfloat16,int64,OutputDtype:bfloat16\n"
    assert customize_dtypes_text(_resolved({"first": "fp32"}), ("fp32",)).startswith("first::InputDtype:float32")
    assert customize_dtypes_text(_resolved({"first": "fp32"})) == ""


def test_implementations_are_an_ini_of_types_and_names() -> None:
    text = op_precision_mode_text(_resolved({"last": "high_performance"}, {"Softmax": "high_precision"}))
    assert text == "[ByOpType]\nSoftmaxV2=high_precision\n\n[ByNodeName]\nlast=high_performance\n"
    assert op_precision_mode_text(_resolved({"last": "fp32"})) == ""


def test_mixed_lists_speak_of_types() -> None:
    resolved = _resolved({"last": "fp32"}, {"Softmax": "fp32", "Relu": "fp16"})
    lists = json.loads(modify_mixlist_text(resolved))
    assert lists == {
        "black-list": {"to-add": ["SoftmaxV2"], "to-remove": []},
        "white-list": {"to-add": ["Relu"], "to-remove": []},
    }
    assert modify_mixlist_text(_resolved({"last": "fp32"})) == ""


def test_chains_and_outputs_are_found_in_the_graph() -> None:
    model = _model()
    assert chain_nodes(model, ["Relu", "Softmax"]) == ["first", "soft"]
    assert chain_nodes(model, ["Relu"]) == ["last"]
    assert chain_nodes(model, ["Softmax", "Relu"]) == []
    assert output_nodes(model) == [("y", "last", 0)]


def test_an_operator_that_the_device_makes_itself() -> None:
    erf = _model(helper.make_node("Erf", ["x"], ["y"], "erf"))
    resolved = plans.resolve(plans.PrecisionPlan({}, {"Gelu": "fp32"}), erf, "p")
    assert keep_dtype_text(resolved) == "OpType::Gelu\n"


def test_an_output_of_a_node_without_a_name_is_refused() -> None:
    with pytest.raises(GraphError, match="'y'"):
        output_nodes(_model(helper.make_node("Relu", ["x"], ["y"])))
