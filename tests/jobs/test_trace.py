"""A healthy port is left alone, a planted fault is named at its node and mended, and what is mended is judged."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from traced_nets import small_net, with_weight, without, written

from black_box import spoilt
from conftest import Call, Exported
from modelport.core.artifacts import Artifact
from modelport.core.errors import GraphError
from modelport.core.progress import Silent
from modelport.diagnose.trace import road
from modelport.diagnose.trace.along import MOST, Node, told_along
from modelport.diagnose.trace.road import Reference
from modelport.jobs.trace.apply import newer_opset
from modelport.model.graph.file import read_graph
from modelport.model.graph.precision_plan import read_plan
from modelport.report.trace_text import render

NET = small_net()
Trace = Callable[..., Any]


@pytest.fixture
def trace(call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path) -> Trace:
    """Trace the small network as the source, and return trace.json's value."""
    source = written(NET, tmp_path / "source.onnx")

    def run(*words: object, code: int = 0, given: tuple[object, ...] | None = None) -> Any:
        out = tmp_path / "out"
        of = ("--source", source) if given is None else given
        line = ("trace", tiny_path, *of, "--data", tiny_data, "--samples", 8, "--out", out, "--force", "--json")
        answer = call(*line, *words)
        assert answer.code == code, answer
        kept = json.loads((out / "trace.json").read_text())
        assert kept == answer.json
        return kept

    return run


@pytest.mark.slow
def test_a_healthy_port_names_nothing(trace: Trace, tiny_data: Path) -> None:
    for words in (
        ("--engine", "openvino"),
        ("--engine", "onnxruntime"),
        ("--engine", "onnxruntime", "--precision", "fp16"),
        ("--engine", "openvino", "--input-type", "uint8"),
    ):
        value = trace(*words)
        assert value["first_bad_stage"] is None, value["stages"]
        assert value["culprits"] == []
        assert [one["verdict"] for one in value["stages"]] == ["pass"] * len(value["stages"])


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_healthy_int8_port_names_nothing(engine: str, trace: Trace, tiny_data: Path) -> None:
    value = trace("--engine", engine, "--precision", "int8", "--calibration", tiny_data)
    assert value["first_bad_stage"] is None, value["stages"]


@pytest.mark.slow
def test_a_planted_weight_is_named_mended_and_judged(trace: Trace, tmp_path: Path) -> None:
    bad = written(with_weight(NET, "layer.conv2.weight", 1.5), tmp_path / "bad.onnx")
    data = tmp_path / "nodes.json"
    words = ("--apply", "--limit", 20, "--explorer", data)
    value = trace("--engine", "onnxruntime", "--model", bad, *words)
    assert value["first_bad_stage"] == "onnx"
    assert json.loads(data.read_text())["results"]["node_conv2"]["value"] == value["culprits"][0]["local_error"]
    assert [(row["node"], row["op"], row["module"]) for row in value["culprits"]] == [
        ("node_conv2", "Conv", "layer.conv2")
    ]
    culprit = value["culprits"][0]
    assert culprit["local_error"] > 100 * culprit["expected_error"]
    applied = value["applied"]
    assert applied["repaired"], applied
    assert applied["after"]["metrics"]["source_agreement"]["value"] == 100
    assert [applied[name]["n"] for name in ("before", "after")] == [20, 20]
    assert applied["stage"]["verdict"] == "pass"
    assert applied["before"]["samples_per_second"] > 0 < applied["after"]["samples_per_second"]
    assert (tmp_path / "out" / "repaired.onnx").is_file()


def test_a_node_that_is_missing_is_named_and_mended(trace: Trace, tmp_path: Path) -> None:
    bad = written(without(NET, "node_relu1"), tmp_path / "bad.onnx")
    value = trace("--engine", "onnxruntime", "--model", bad, "--apply", "--limit", 20)
    assert value["first_bad_stage"] == "onnx"
    assert len(value["culprits"]) == 1
    assert "Relu" in value["culprits"][0]["why"]
    assert value["applied"]["repaired"], value["applied"]


@pytest.mark.slow
def test_a_planted_weight_is_told_by_its_pytorch_module(
    trace: Trace, tiny_weights: Path, exported_tiny: Exported, tmp_path: Path
) -> None:
    graph = onnx.load(str(exported_tiny()[0].path))
    bad = written(with_weight(graph, "layer3.0.conv1.weight", 1.5), tmp_path / "bad.onnx")
    words = ("--samples", 4, "--engine", "onnxruntime", "--model", bad)
    value = trace(*words, given=("--weights", tiny_weights))
    assert [one["name"] for one in value["stages"]] == ["source", "onnx"]
    assert [(row["module"], row["kind"]) for row in value["culprits"]] == [("layer3.0.conv1", "weights")]


def test_a_graph_that_cannot_be_run_is_traced_to_its_node(trace: Trace, tmp_path: Path) -> None:
    bad = onnx.ModelProto()
    bad.CopyFrom(NET)
    conv = next(node for node in bad.graph.node if node.name == "node_conv2")
    del conv.attribute[:]
    value = trace("--engine", "onnxruntime", "--model", written(bad, tmp_path / "bad.onnx"))
    assert value["first_bad_stage"] == "onnx"
    assert "does not run it" in value["stages"][-1]["why"]
    assert value["culprits"][0]["node"] == "node_conv2"
    assert "pads" in value["culprits"][0]["why"]


@pytest.mark.parametrize("node", [NET.graph.node[0].name, "node_sum", NET.graph.node[-1].name])
def test_a_black_box_is_bisected(node: str, trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    box = with_black_box(monkeypatch)
    assert trace("--engine", "blackbox")["first_bad_stage"] is None
    box.wrong = node
    box.opened = 0
    value = trace("--engine", "blackbox")
    assert value["first_bad_stage"] == "blackbox"
    assert [row["node"] for row in value["culprits"]] == [node]
    # Nothing but the stage itself was run besides.
    assert value["runs"] == box.opened - 1
    assert value["runs"] <= most_runs()


def most_runs() -> int:
    """The most runs of an engine that finding one fault in the network takes."""
    return math.ceil(math.log2(len(NET.graph.node))) + 2


@pytest.mark.parametrize("node", [NET.graph.node[0].name, NET.graph.node[-1].name])
def test_an_engine_that_errs_is_told_from_a_stale_file(
    node: str, trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = with_black_box(monkeypatch)
    box.wrong = node
    (tmp_path / "own.box").write_bytes(spoilt(NET, node).SerializeToString())
    value = trace("--engine", "blackbox", "--model", tmp_path / "own.box")
    assert [(row["kind"], row["node"]) for row in value["culprits"]] == [("engine", node)]
    assert value["runs"] == box.opened - 1
    assert value["runs"] <= most_runs()


def test_a_departure_that_no_cut_shows_blames_no_node(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine errs in graphs of a free batch alone, and a cut is of so many rows."""
    box = with_black_box(monkeypatch)

    def compiled(_: Any, model: Artifact, build: Any, out: Path) -> Artifact:
        graph = read_graph(model.path)
        free = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param
        out.write_bytes(spoilt(graph, "node_sum" if free else "").SerializeToString())
        return Artifact.of(out, "blackbox", model.digests)

    monkeypatch.setattr(box, "compile", compiled)
    box.wrong = "of a free batch"  # what it compiled before is not taken for its own
    value = trace("--engine", "blackbox")
    assert value["first_bad_stage"] == "blackbox"
    assert value["culprits"] == []
    assert any("no cut of the graph departs" in note for note in value["notes"])
    assert value["runs"] <= most_runs()


def test_a_stale_file_is_told_from_a_wrong_engine(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_black_box(monkeypatch)
    old = with_weight(NET, "stem.weight", 2)
    (tmp_path / "old.box").write_bytes(old.SerializeToString())
    value = trace("--engine", "blackbox", "--model", tmp_path / "old.box")
    assert value["first_bad_stage"] == "blackbox"
    assert [row["kind"] for row in value["culprits"]] == ["stale"]
    assert "compiled anew" in value["culprits"][0]["why"]


def test_a_stale_file_of_openvino_tells_its_node(trace: Trace, call: Call, tmp_path: Path) -> None:
    bad = written(with_weight(NET, "layer.conv1.weight", 2), tmp_path / "bad.onnx")
    assert call("compile", "--model", bad, "--engine", "openvino", "--out", tmp_path / "old.xml").code == 0
    value = trace("--engine", "openvino", "--model", tmp_path / "old.xml")
    assert [(row["kind"], row["node"]) for row in value["culprits"]] == [("stale", "node_conv1")]
    assert value["runs"] <= most_runs()


@pytest.mark.slow
def test_an_int8_file_of_openvino_is_looked_into(
    trace: Trace, call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    bad = written(with_weight(NET, "layer.conv1.weight", -30), tmp_path / "bad.onnx")
    made = ("--engine", "openvino", "--precision", "int8")
    old = tmp_path / "old.xml"
    assert call("compile", tiny_path, bad, *made, "--calibration", few_images(tiny_data), "--out", old).code == 0
    value = trace(*made, "--model", old)
    assert value["first_bad_stage"] == "openvino"
    assert [row["node"] for row in value["culprits"]] == ["node_conv1"]
    assert value["runs"] <= most_runs()


def test_an_export_that_is_not_the_source_is_traced(
    trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = (
        Artifact.of(written(model, tmp_path / name), "onnx")
        for model, name in ((NET, "good.onnx"), (with_weight(NET, "stem.weight", 3), "export.onnx"))
    )
    why = "the outputs differ from the source's by 0.3 at batch 1"
    monkeypatch.setattr("modelport.jobs.trace.trace.reference_of", lambda *_: Reference(good, why, bad, ("a note",)))
    value = trace("--engine", "onnxruntime", "--apply", "--limit", 20)
    assert value["first_bad_stage"] == "onnx"
    assert why in value["stages"][-1]["why"]
    assert [row["node"] for row in value["culprits"]] == ["node_stem"]
    assert "a note" in value["notes"]
    assert (value["applied"]["by"], value["applied"]["repaired"]) == ("opset", True), value["applied"]


def test_the_reference_is_an_export_that_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refused(*_: Any) -> Any:
        raise GraphError("the outputs differ")

    def checked(network: Any, path: Path, opset: int, *_: Any) -> Any:
        asked.append(opset)
        return (Artifact(path, "onnx", ""), []) if opset == road.OTHER_OPSETS[1] else refused()

    monkeypatch.setattr(road, "export_cached", refused)
    monkeypatch.setattr(road, "own_ending", lambda *_: None)
    monkeypatch.setattr(road, "write_onnx", lambda _, path, **__: Artifact(path, "onnx", ""))
    monkeypatch.setattr(road, "export_checked", checked)
    source: Any = SimpleNamespace(kind="checkpoint", network=SimpleNamespace(recipe=None, batch=None))
    found = road.reference_of(source, tmp_path, Silent())
    assert asked == list(road.OTHER_OPSETS[:2])
    assert found.graph is not None and f"opset{asked[1]}" in found.graph.path.name
    assert found.export is not None and found.why == "the outputs differ"
    monkeypatch.setattr(road, "export_checked", refused)
    none = road.reference_of(source, tmp_path, Silent())
    assert none.graph is None and len(none.notes) == len(road.OTHER_OPSETS)


def test_a_broken_weight_is_blamed_on_the_source(trace: Trace, tmp_path: Path) -> None:
    broken = written(with_weight(NET, "layer.conv1.weight", 1e20), tmp_path / "broken.onnx")
    value = trace("--engine", "onnxruntime", given=("--source", broken))
    assert value["first_bad_stage"] == "source"
    assert [(row["kind"], row["node"]) for row in value["culprits"]] == [("checkpoint", "layer.conv1.weight")]


def few_images(data: Path) -> Path:
    """A folder of ten images, to calibrate on."""
    return min(path for path in (data / "train").iterdir() if path.is_dir())


def with_black_box(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the black box one of the engines, right until it is told otherwise."""
    from black_box import BlackBox
    from modelport.engines import registry

    monkeypatch.setitem(registry.ENGINES, "blackbox", "black_box:BlackBox")
    for name, value in {"wrong": "", "refused": "-", "opened": 0}.items():
        monkeypatch.setattr(BlackBox, name, value)
    return BlackBox


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--source", "none"), "a trace holds each stage against the source"),
        (("--samples", "0"), "--samples 0"),
        (("--limit", "3"), "--limit says nothing without --apply"),
        (("--model", "gone.onnx"), "gone.onnx"),
        (("--engine", "unknown"), "no engine named"),
        (("--engine", "torch"), "the engine 'torch' runs checkpoint, program, not onnx"),
    ],
)
def test_what_cannot_be_traced_is_refused(
    words: tuple[str, ...], told: str, call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    given = () if "--source" in words else ("--source", written(NET, tmp_path / "source.onnx"))
    call("trace", tiny_path, *given, "--data", tiny_data, "--out", tmp_path / "out", *words).refused(told)


def test_the_repaired_file_is_not_written_over_the_one_that_is_off(
    call: Call, tiny_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    bad = written(without(NET, "node_relu1"), out / "repaired.onnx")
    before = bad.read_bytes()
    given = ("--source", written(NET, tmp_path / "source.onnx"), "--model", bad, "--data", tiny_data)
    told = call("trace", tiny_path, *given, "--samples", 4, "--limit", 8, "--apply", "--out", out)
    told.refused("would be written over", "choose another --out")
    assert bad.read_bytes() == before


def test_names_in_a_report_are_no_markup() -> None:
    name = "a`[b](c)<img>"
    tensors = {"cosine": 1.0, "max_abs": 1.0, "rel_l2": 1.0}
    stage = {"name": "onnx", "tensors": tensors, "expected_error": 0.1, "verdict": "fail", "why": name}
    stage["metric"] = {"name": "top1", "value": 1.0, "source": 1.0, "flips": 0}
    errors = dict.fromkeys(("local_error", "accumulated_error", "expected_error"), 1.0)
    culprit = {"node": name, "op": name, "module": name, "why": name, "fix": name} | errors
    value = dict.fromkeys(("recipe", "samples", "engine", "precision", "seed", "runs"), "r")
    text = render(value | {"stages": [stage], "first_bad_stage": "onnx", "culprits": [culprit], "notes": [name]})
    fenced = f"`` {name} ``"
    assert text.count(fenced) == 2
    left = text.replace(fenced, "")
    assert "<img>" not in left
    assert not re.search(r"(?<!\\)\[b", left)


def overflowing() -> onnx.ModelProto:
    """The network with its first results beyond float16, and made small again by a product."""
    model = onnx.ModelProto()
    model.CopyFrom(NET)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("stem"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(2.0**14), tensor.name))
    relu = next(node for node in model.graph.node if node.name == "node_relu")
    relu.output[0] = "wide"
    model.graph.initializer.append(numpy_helper.from_array(np.array(2.0**-14, np.float32), "small"))
    model.graph.node.insert(2, helper.make_node("Mul", ["wide", "small"], ["relu"], "node_narrow"))
    return model


@pytest.mark.slow
def test_what_float16_cannot_hold_stays_in_float(trace: Trace, tmp_path: Path) -> None:
    source = written(overflowing(), tmp_path / "wide.onnx")
    plan = tmp_path / "plan.json"
    words = ("--engine", "onnxruntime", "--precision", "fp16", "--plan-out", plan, "--apply", "--limit", 20)
    value = trace(*words, given=("--source", source))
    assert value["first_bad_stage"] == "fp16"
    assert {row["kind"] for row in value["culprits"]} == {"range"}
    assert value["applied"]["repaired"], value["applied"]
    assert read_plan(plan).nodes == value["plan"]["nodes"]
    assert "node_stem" in value["plan"]["nodes"]
    (own,) = (path for path in tmp_path.glob("plan.*") if path != plan)
    assert own.read_text().split() == list(value["plan"]["nodes"])
    assert any(str(own) in note for note in value["notes"])


def test_a_source_without_a_graph_is_held_on_its_own_engine(
    trace: Trace, call: Call, null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    line = ("trace", null_path, "--weights", null_weights, "--data", tiny_data, "--samples", 4, "--out", tmp_path / "o")
    answer = call(*line, "--engine", "null", "--json")
    assert answer.code == 0
    why = "null runs the checkpoint itself: there is no graph"
    assert f"what fp32 explains was not measured: {why}" in answer.json["notes"]
    call(*line, "--force", "--engine", "onnxruntime").refused("there is no graph", "--engine null")


def test_a_repair_that_takes_a_newer_opset_says_so(tmp_path: Path) -> None:
    newer = onnx.ModelProto()
    newer.CopyFrom(NET)
    newer.opset_import[0].version += 1
    old, new = written(NET, tmp_path / "old.onnx"), written(newer, tmp_path / "new.onnx")
    assert newer_opset(old, old) == ""
    opset = NET.opset_import[0].version
    assert (
        newer_opset(old, new)
        == f"; it is of opset {opset + 1} now, and was of {opset}: the source's nodes are that new"
    )


def test_the_errors_along_the_depth_are_told_of_each_node(trace: Trace, tmp_path: Path) -> None:
    bad = written(with_weight(NET, "layer.conv2.weight", 1.5), tmp_path / "bad.onnx")
    value = trace("--engine", "onnxruntime", "--model", bad)
    nodes = {row["node"]: row for row in value["nodes"]}
    assert value["nodes_compared"] == len(nodes) == len(NET.graph.node)
    assert [row["place"] for row in value["nodes"]] == sorted(row["place"] for row in value["nodes"])
    culprit = value["culprits"][0]
    for name in ("local_error", "accumulated_error", "expected_error"):
        assert nodes[culprit["node"]][name] == culprit[name]
    assert sorted(nodes["node_sum"]["before"]) == ["node_conv2", "node_relu"]
    assert nodes["node_conv1"]["accumulated_error"] < 1e-5 < nodes["node_sum"]["accumulated_error"]
    assert nodes["node_sum"]["local_error"] < 1e-5


def test_a_bisected_engine_tells_what_was_off_behind_its_cuts(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    with_black_box(monkeypatch).wrong = "node_conv2"
    nodes = {row["node"]: row for row in trace("--engine", "blackbox")["nodes"]}
    assert nodes["node_conv2"]["local_error"] > nodes["node_conv2"]["expected_error"]
    assert nodes["node_conv2"]["before"] == ["node_relu1"] and "node_conv2" in nodes["node_sum"]["before"]
    assert len(nodes) < len(NET.graph.node)
    assert nodes["node_sum"]["accumulated_error"] > nodes["node_sum"]["expected_error"]
    assert all("local_error" not in row for name, row in nodes.items() if name != "node_conv2")


def test_of_many_nodes_the_culprit_its_neighbours_and_the_largest_stay() -> None:
    errors = [{"local": 1e-9 * place, "accumulated": 1.0} for place in range(1000)]
    many = [Node(place, f"n{place}", "Add", "", (f"n{place - 1}",), errors[place]) for place in range(1000)]
    told = told_along(many, frozenset({"n5"}))
    assert len(told) == MOST
    assert [one.place for one in told] == [4, 5, 6, *range(1000 - MOST + 3, 1000)]
    assert told_along(many[:MOST], frozenset()) == many[:MOST]
