"""Precision plans: names held against a graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelport.core.errors import GraphError, UsageError
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
    plan = plans.PrecisionPlan({"last": "fp16"}, {"Relu": "fp32", "Softmax": "fp32"})
    assert plans.block_list(plan, _model()) == ["first", "soft"]
    assert plans.resolve(plan, _model(), "p").tensors == {"first": "fp32", "soft": "fp32", "last": "fp16"}
    assert plans.block_list(plans.PrecisionPlan({"last": "high_precision"}), _model()) == []


def test_an_operator_that_the_device_makes_itself() -> None:
    erf = _model(helper.make_node("Erf", ["x"], ["y"], "erf"))
    plan = plans.PrecisionPlan({}, {"Gelu": "fp32"})
    assert plans.resolve(plan, erf, "p").unmade == {"Gelu": "fp32"}
    with pytest.raises(GraphError, match="several nodes"):
        plans.block_list(plan, erf)
    with pytest.raises(GraphError, match="no operator 'Gelu'"):
        plans.resolve(plan, _model(), "p")


def test_names_that_the_graph_has_not_are_refused() -> None:
    with pytest.raises(GraphError, match="did you mean 'first'"):
        _resolved({"fist": "fp32"})
    with pytest.raises(GraphError, match="did you mean 'Softmax'"):
        _resolved({}, {"SoftMaxx": "fp32"})
    nameless = _model(helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(GraphError, match="no name"):
        plans.resolve(plans.PrecisionPlan({}, {"Relu": "fp32"}), nameless, "p")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ([], "no precision plan"),
        ({"schema": "modelport.plan/2", "nodes": {"a": "fp32"}}, "no precision plan"),
        ({"schema": plans.SCHEMA, "node": {"a": "fp32"}}, "did you mean 'nodes'"),
        ({"schema": plans.SCHEMA, "nodes": {"a": "fp23"}}, "did you mean 'fp32'"),
        ({"schema": plans.SCHEMA, "nodes": {"a": 32}}, "nodes.a"),
        ({"schema": plans.SCHEMA, "nodes": ["a"]}, "no table"),
        ({"schema": plans.SCHEMA}, "names no node"),
    ],
)
def test_a_plan_that_is_none_is_refused(content: Any, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        plans.parse_plan(content, "plan.json")
    assert "plan.json" in str(caught.value) and word in str(caught.value)


def test_json_and_toml_are_the_same_plan(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"schema": plans.SCHEMA, "nodes": {"/a/b": "fp32"}}))
    (tmp_path / "p.toml").write_text(f'schema = "{plans.SCHEMA}"\n[nodes]\n"/a/b" = "fp32"\n')
    assert plans.read_plan(tmp_path / "p.json") == plans.read_plan(tmp_path / "p.toml")
    (tmp_path / "p.json").write_bytes(b"\xff{")
    for name in ("p.json", "none.json"):
        with pytest.raises(UsageError, match=name):
            plans.read_plan(tmp_path / name)
