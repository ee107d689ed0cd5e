"""A compiled file of an earlier graph is named where it is timed or judged; a fresh one is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.core.artifacts import Artifact, cache_folder, write_record
from modelport.engines.registry import model_artifact
from modelport.recipes.schema import Recipe
from modelport.stages.compiled_from import remember, stale_notes

Call = Callable[..., Any]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    (tmp_path / "net.onnx").write_bytes(b"graph")
    return tmp_path / "net.onnx"


def compiled(graph: Path, name: str = "net.om", later: float = 100.0) -> Artifact:
    path = graph.with_name(name)
    path.write_bytes(b"compiled " + name.encode() + str(graph).encode())
    moment = graph.stat().st_mtime + later
    os.utime(path, (moment, moment))
    return Artifact.of(path, "om")


def test_what_is_fresh_is_not_named(graph: Path) -> None:
    made = compiled(graph)
    assert stale_notes(made) == []
    remember(made, Artifact.of(graph, "onnx"))
    assert stale_notes(made) == []


def test_digests_decide_where_they_are_known(graph: Path) -> None:
    made = compiled(graph, later=-100.0)
    remember(made, Artifact.of(graph, "onnx"))
    # Copied or touched: older, and the same graph.
    assert stale_notes(made) == []
    graph.write_bytes(b"another graph")
    os.utime(graph, (1.0, 1.0))
    (said,) = stale_notes(made)
    assert said.startswith("net.om is stale: it was compiled from net.onnx when that had the sha256 ")


def test_files_that_were_moved_together_are_not_named(graph: Path, tmp_path: Path) -> None:
    """The record names a place that has gone; the graph beside is told by its digests, whatever its time."""
    remember(compiled(graph), Artifact.of(graph, "onnx"))
    (tmp_path / "moved").mkdir()
    moved = graph.rename(tmp_path / "moved" / "net.onnx")
    made = Artifact.of((tmp_path / "net.om").rename(moved.with_suffix(".om")), "om")
    os.utime(moved, (2e9, 2e9))
    assert stale_notes(made) == []
    moved.write_bytes(b"another graph")
    os.utime(moved, (2e9, 2e9))
    (said,) = stale_notes(made)
    assert said.startswith("net.om is older than net.onnx beside it")


@pytest.mark.parametrize(
    "record",
    [{"path": "x" * 5000, "sha256": ["a"]}, {"path": "\0", "sha256": []}, {"path": 3, "sha256": {}}, {"path": "/"}, {}],
    ids=["long", "no name", "numbers", "folder", "empty"],
)
def test_a_record_of_another_kind_tells_nothing(graph: Path, record: dict[str, Any]) -> None:
    made = compiled(graph)
    place = cache_folder("compiled-from") / f"{made.identity[:32]}.json"
    write_record(place, record)
    assert stale_notes(made) == []
    place.write_text("{torn")
    assert stale_notes(made) == []


def test_weights_beside_the_graph_belong_to_it(graph: Path, tiny: Recipe) -> None:
    beside = {"save_as_external_data": True, "location": "net.onnx.data", "size_threshold": 0}
    write_graph(tiny, graph, 1.0, **beside)
    made = compiled(graph)
    remember(made, model_artifact(graph))
    assert stale_notes(made) == []
    weights = graph.with_name("net.onnx.data")
    weights.write_bytes(np.full(weights.stat().st_size // 4, 2, np.float32).tobytes())
    (said,) = stale_notes(made)
    assert said.startswith("net.om is stale: it was compiled from net.onnx when net.onnx.data had the sha256 ")


@pytest.mark.parametrize(("name", "later"), [("net.om", -60.0), ("net.xml", -3600.0)])
def test_an_older_file_beside_a_newer_graph_is_named(graph: Path, name: str, later: float) -> None:
    (said,) = stale_notes(compiled(graph, name, later))
    assert said.startswith(f"{name} is older than net.onnx beside it")


def test_files_that_were_copied_together_are_not_named(graph: Path) -> None:
    assert stale_notes(compiled(graph, later=-1.0)) == []


def test_a_name_that_no_graph_beside_can_have_is_not_named(graph: Path) -> None:
    assert stale_notes(compiled(graph, "n" * 252 + ".om")) == []


def test_a_file_of_another_name_and_a_graph_by_itself_are_not_named(graph: Path) -> None:
    assert stale_notes(compiled(graph, "other.om", -60.0)) == []
    assert stale_notes(Artifact.of(graph, "onnx")) == []


def write_graph(tiny: Recipe, path: Path, weight: float, **kept: Any) -> None:
    """Write a graph of the tiny recipe's signature."""
    spec, out = tiny.signature.inputs[0].name, tiny.signature.outputs[0].name
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [2], [-1, 3 * 32 * 32])
    weights = numpy_helper.from_array(np.full((3072, 10), weight, np.float32), "w")
    nodes = [helper.make_node("Reshape", [spec, "sizes"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], [out])]
    x = helper.make_tensor_value_info(spec, TensorProto.FLOAT, ["batch", 3, 32, 32])
    y = helper.make_tensor_value_info(out, TensorProto.FLOAT, ["batch", 10])
    made = helper.make_graph(nodes, "g", [x], [y], [sizes, weights])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path, **kept)


def test_run_and_bench_say_it(call: Call, tiny: Recipe, null_path: Path, tiny_data: Path, tmp_path: Path) -> None:
    graph, out = tmp_path / "n.onnx", tmp_path / "made.null"
    write_graph(tiny, graph, 1.0)
    assert call("compile", null_path, graph, "--engine", "null", "--out", out).code == 0
    model = (null_path, "--model", out, "--engine", "null", "--json")
    timed = ("bench", *model, "--duration", 0.02, "--batch", 1)
    judged = ("run", *model, "--data", tiny_data, "--limit", 4, "--force", "--out", tmp_path / "r")
    for words in (timed, judged):
        assert not [note for note in call(*words).json["notes"] if "stale" in note]
    write_graph(tiny, graph, 2.0)
    for words in (timed, judged):
        assert [note for note in call(*words).json["notes"] if "made.null is stale" in note]
