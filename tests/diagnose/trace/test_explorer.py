"""The node data is what Model Explorer reads, whole, by the ids of its ONNX adapter."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
from onnx import helper
from onnx_ir.passes.common import NameFixPass
from unit_graphs import far_units, graph

from modelport.diagnose.distance import Distance
from modelport.diagnose.trace.explorer import node_data, node_ids, write_explorer
from modelport.diagnose.trace.findings import NodesFound, UnitFound
from modelport.model.graph.flow import Flow

HOSTILE = 'n\n"\x1b[31m</script>'


def chain(*names: str) -> onnx.ModelProto:
    ends = ["x", *(f"t{place}" for place in range(len(names) - 1)), "y"]
    return graph([
        helper.make_node("Relu", [ends[place]], [ends[place + 1]], name) for place, name in enumerate(names)
    ])  # fmt: skip


def held(data: dict[str, Any]) -> None:
    """Hold it against ``GraphNodeData`` of Model Explorer's node_data_builder and the viewer's own reader."""
    assert set(data) <= {"name", "results", "thresholds", "gradient"}
    # The viewer takes a file with ``results`` at the top for one graph's, unless a node has that very name.
    assert data["results"].get("results") is None
    for result in data["results"].values():
        assert set(result) <= {"value", "bgColor", "textColor"}
        assert isinstance(result["value"], int | float | str)
    stops = [stop["stop"] for stop in data["gradient"]]
    assert (stops[0], stops[-1], stops) == (0, 1, sorted(stops))
    assert all(len(stop["bgColor"]) == 7 and int(stop["bgColor"][1:], 16) >= 0 for stop in data["gradient"])


def test_the_schema_and_that_nothing_is_left_out(tmp_path: Path) -> None:
    model = chain("a", HOSTILE, "c")
    units = far_units(model, model)
    endless = Distance(None, math.inf, math.inf, 3)
    units[1] = UnitFound(units[1].unit, "Relu", HOSTILE, "", Distance(1.0, 0.1, 0.25), endless, 1e-6)
    paths = write_explorer(tmp_path / "trace.json", NodesFound(units), model)
    assert [path.name for path in paths] == ["trace.json", "trace.accumulated.json"]
    local, accumulated = (json.loads(path.read_text(encoding="utf-8"), parse_constant=int) for path in paths)
    for data in (local, accumulated):
        held(data)
        assert set(data["results"]) == {"a", HOSTILE, "c"}
    assert local["results"][HOSTILE] == {"value": 0.25}
    assert accumulated["results"][HOSTILE]["value"] == "not finite"
    assert (local["name"], accumulated["name"]) == (
        "local error (relative L2)", "accumulated error (relative L2)",
    )  # fmt: skip


def test_ids_are_those_of_the_adapter() -> None:
    """The adapter names nodes by a pass of onnx-ir's, which is the oracle."""
    for names in (["", "", "a"], ["a", "a", "a"], ["node", "", "node_1", ""], ["a_1", "a", "a"], ["Relu_1", "", ""]):
        model = chain(*names)
        fixed = onnx_ir.from_proto(model)
        NameFixPass()(fixed)
        assert list(node_ids(model).values()) == [node.name for node in fixed.graph]


def test_a_file_with_functions_tells_its_own_names_alone() -> None:
    """Inlined, the second node is the function's Relu, not the file's."""
    body = [helper.make_node(op, [one], [two]) for op, one, two in (("Neg", "a", "b"), ("Relu", "b", "c"))]
    model = graph([
        helper.make_node("Pair", ["x"], ["t"], domain="own"),
        helper.make_node("Relu", ["t"], ["u"]),
        helper.make_node("Abs", ["u"], ["y"], "last"),
    ])  # fmt: skip
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.functions.append(helper.make_function("own", "Pair", ["a"], ["c"], body, model.opset_import[:1]))
    assert "Relu_1" in Flow.of(model).named
    assert node_ids(model) == {"last": "last"}


def test_each_node_of_a_unit_has_its_error() -> None:
    model = chain("a", "b")
    (first, second) = far_units(model, model)
    both = UnitFound(
        type(first.unit)("y", "y", ("a", "b"), ("a", "b"), (("x", "x"),)),
        "Relu", "b", "", Distance(1.0, 0.5, 0.75), second.accumulated, 1e-6,
    )  # fmt: skip
    data = node_data(NodesFound([both]), model, accumulated=False)
    assert data["results"] == {"a": {"value": 0.75}, "b": {"value": 0.75}}
