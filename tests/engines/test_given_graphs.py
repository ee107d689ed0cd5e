"""Graphs with a hidden flaw, on each road that runs a file alone: the flaw is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper, save

from modelport.ais_bench.__main__ import main
from modelport.core.errors import EngineError
from modelport.core.progress import Silent
from modelport.engines.base import Build
from modelport.engines.registry import get_engine, model_artifact, opened
from modelport.jobs.bench import bench
from modelport.model.graph.file import describe, read_graph
from modelport.stages.bench_model import BenchRequest

WEIGHTS = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def _graph(path: Path, tail: list[NodeProto], rows: int = -1, weights_as_node: bool = False) -> Path:
    """x (batch, 3, 2, 2) → flat → product z → ``tail`` → y (batch, 5)."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 2, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])
    shape, weights = numpy_helper.from_array(np.array([rows, 12]), "s"), numpy_helper.from_array(WEIGHTS, "w")
    nodes = [helper.make_node("Reshape", ["x", "s"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["z"]), *tail]
    inits = [shape] if weights_as_node else [shape, weights]
    if weights_as_node:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=weights))
    graph = helper.make_graph(nodes, "g", [x], [y], inits)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


SOUND = [helper.make_node("Identity", ["z"], ["y"])]
MIXED = [
    helper.make_node("ReduceMean", ["z"], ["m"], axes=[0], keepdims=1),
    helper.make_node("Sub", ["z", "m"], ["y"]),
]
NAN = [helper.make_node("Sqrt", ["z"], ["y"])]


def _ais_bench(model: Path, folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    (folder / "in").mkdir()
    for number in range(4):
        drawn = np.random.default_rng(number).normal(size=(3, 2, 2)).astype(np.float32)
        drawn.tofile(folder / "in" / f"{number}.bin")
    words = ["--model", str(model), "--engine", "onnxruntime", "--input", str(folder / "in"), "--batchsize", "2"]
    assert main(words) == 0
    return "".join(capfd.readouterr())


@pytest.mark.parametrize(("tail", "said"), [(SOUND, ""), (MIXED, "the graph mixes rows"), (NAN, "NaN or infinity")])
def test_ais_bench_says_what_is_wrong_with_the_answers(
    tail: list[NodeProto], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = _ais_bench(_graph(tmp_path / "g.onnx", tail), tmp_path, capfd)
    for words in ("the graph mixes rows", "NaN or infinity"):
        assert (words in told) == (words == said), told


@pytest.mark.parametrize(("tail", "mixes"), [(SOUND, False), (MIXED, True)])
def test_bench_says_where_rows_mix(tail: list[NodeProto], mixes: bool, tmp_path: Path) -> None:
    model = _graph(tmp_path / "g.onnx", tail)
    request = BenchRequest(model=model, engine="onnxruntime", batches=(1, 2), duration=0.05, concurrency=1)
    assert any("mixes rows" in note for note in bench(request, Silent())["notes"]) == mixes


@pytest.mark.parametrize("batch", [None, 2])
def test_a_baked_in_batch_is_named_as_that(
    batch: int | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = model_artifact(_graph(tmp_path / "g.onnx", SOUND, rows=1))
    row = np.ones((1, 3, 2, 2), np.float32)
    with opened(get_engine("onnxruntime"), model, Build(precision=None, batch=batch)) as runner:
        if batch is None:
            assert runner.run({"x": row})["y"].shape == (1, 5)
        with pytest.raises(EngineError, match=r"g\.onnx: answers a batch of 1, and not of 2: a batch is baked"):
            runner.run({"x": row.repeat(2, axis=0)})
    assert capfd.readouterr().err == ""  # ONNX Runtime logs nothing of what is raised


def test_openvino_tells_the_outputs_by_the_graphs_own_names(tmp_path: Path) -> None:
    # One row joined with none is that row: OpenVINO folds the two, and puts the names of both on the output.
    none = numpy_helper.from_array(np.zeros((0, 5), np.float32))
    tail = [
        helper.make_node("Constant", [], ["none"], value=none),
        helper.make_node("Identity", ["z"], ["a_row"]),
        helper.make_node("Concat", ["a_row", "none"], ["y"], axis=0),
    ]
    model = model_artifact(_graph(tmp_path / "g.onnx", tail))
    with opened(get_engine("openvino"), model, Build(precision=None, batch=1)) as runner:
        assert [spec.name for spec in runner.signature.outputs] == ["y"]


def test_weights_that_are_nodes_are_counted_as_parameters(tmp_path: Path) -> None:
    kept, as_node = (
        describe(read_graph(_graph(tmp_path / f"{name}.onnx", SOUND, weights_as_node=name == "node")))
        for name in ("kept", "node")
    )
    assert kept["parameters"] == as_node["parameters"] == 12 * 5 + 2
