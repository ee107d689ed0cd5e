"""A model is all of its files: the weights beside a graph belong to it, and lie where it lies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.core.errors import GraphError
from modelport.engines.base import Build, Launch
from modelport.engines.registry import get_engine, model_artifact, opened
from modelport.measure.in_flight import with_best_in_flight
from modelport.model.graph.file import read_graph
from modelport.stages.build import built

WIDTH = 40


def write_plain(path: Path, weight: float, location: str | None = None) -> Path:
    """Write y = x @ w with the weights in a file beside the graph, as a plain export does."""
    values = numpy_helper.from_array(np.full((WIDTH, WIDTH), weight, np.float32), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", WIDTH]) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", infos[:1], infos[1:], [values])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{path}.data").unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(model, path, save_as_external_data=True, location=location or f"{path.name}.data", size_threshold=0)
    return path


def answer(name: str, path: Path) -> float:
    with opened(get_engine(name), model_artifact(path), Build(precision=None, batch=2)) as runner:
        return float(runner.run({"x": np.ones((2, WIDTH), np.float32)})["y"][0, 0])


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_the_same_graph_with_other_weights_is_another_model_everywhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path / "cache"))
    one, two = write_plain(tmp_path / "a" / "m.onnx", 1.0), write_plain(tmp_path / "b" / "m.onnx", 2.0)
    assert one.read_bytes() == two.read_bytes()
    first, second = model_artifact(one), model_artifact(two)
    assert first.sha256 == second.sha256 and first.identity != second.identity
    assert [part.path for part in first.parts] == [tmp_path / "a" / "m.onnx.data"]
    assert [row["path"] for row in first.to_json()] == [str(one), f"{one}.data"]
    engine, options = get_engine(name), Build(precision=None, batch=2)
    for path, want in ((one, WIDTH), (two, 2 * WIDTH), (one, WIDTH)):
        made = built(engine, model_artifact(path), options).artifact
        assert made.made_from == model_artifact(path).digests
        assert answer(name, made.path) == answer(name, path) == want
    # What was copied into the cache stands alone.
    shutil.rmtree(tmp_path / "a")
    assert answer(name, built(engine, first, options).artifact.path) == WIDTH


def test_what_is_measured_of_one_is_not_told_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelport.core.progress import Silent
    from modelport.measure import in_flight
    from modelport.measure.in_flight import Probe

    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("modelport.core.machine.cores", lambda: 2)
    monkeypatch.setattr(in_flight, "probe_concurrency", lambda *words: [Probe(1, 104.0), Probe(2, 100.0)])
    engine, options = get_engine("onnxruntime"), Build(precision=None, batch=2)
    models = [model_artifact(write_plain(tmp_path / name / "m.onnx", len(name))) for name in ("a", "bb", "a")]
    told = [with_best_in_flight(engine, model, options, Launch(), 1000, Silent())[1] for model in models]
    assert told == ["measured", "measured", "measured before"]


def _absolute(path: Path) -> None:
    _relocate(path, str(path.parent.absolute() / "m.onnx.data"))


def _relocate(path: Path, location: str) -> None:
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = location
    path.write_bytes(model.SerializeToString())


def _outside(path: Path) -> None:
    shutil.move(f"{path}.data", path.parent.parent / "w")
    _relocate(path, "../w")


def _link(path: Path) -> None:
    shutil.move(f"{path}.data", path.parent.parent / "w")
    Path(f"{path}.data").symlink_to("../w")


def _cut(path: Path) -> None:
    data = Path(f"{path}.data")
    data.write_bytes(data.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: Path(f"{path}.data").unlink(), "weights are missing"),
        (_cut, "cut off"),
        (_absolute, "outside of its folder"),
        (_outside, "outside of its folder"),
        (_link, "outside of its folder"),
    ],
)
def test_weights_that_are_missing_cut_off_or_elsewhere_are_one_clear_error(
    tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    path = write_plain(tmp_path / "a" / "m.onnx", 1.0)
    harm(path)
    for read in (model_artifact, read_graph):
        with pytest.raises(GraphError, match=words) as caught:
            read(path)
        assert str(path) in caught.value.found and caught.value.fix


@pytest.mark.parametrize(("key", "value"), [("offset", "-8"), ("offset", "x"), ("length", "16"), ("location", "")])
def test_a_place_that_cannot_hold_the_tensor_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = write_plain(tmp_path / "m.onnx", 1.0)
    model = onnx.load(path, load_external_data=False)
    (tensor,) = model.graph.initializer
    entry = next((entry for entry in tensor.external_data if entry.key == key), None) or tensor.external_data.add()
    entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    with pytest.raises(GraphError, match=str(path)):
        model_artifact(path)


def test_weights_in_a_subgraph_and_in_a_folder_below_are_found(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "m.onnx", 1.0, "m.data")
    model = onnx.load(path, load_external_data=False)
    (weight,) = model.graph.initializer
    constant = helper.make_node("Constant", [], ["v"], value=weight)
    body = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)])
    truth = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(True)))
    branch = helper.make_node("If", ["c"], ["w"], then_branch=body, else_branch=body)
    del model.graph.initializer[:]
    nodes = [truth, branch, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())
    (tmp_path / "below").mkdir()
    assert [part.path.name for part in model_artifact(path).parts] == ["m.data"]
    (tmp_path / "m.data").unlink()
    with pytest.raises(GraphError, match="missing"):
        model_artifact(path)


def test_an_openvino_file_without_its_weights_or_with_too_few_is_named(tmp_path: Path) -> None:
    source = model_artifact(write_plain(tmp_path / "m.onnx", 1.0))
    made = get_engine("openvino").compile(source, Build(precision=None), tmp_path / "c.xml")
    whole = model_artifact(made.path)
    assert whole.digests == (made.sha256, made.parts[0].sha256)
    weights = tmp_path / "c.bin"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(GraphError, match="cut off"):
        model_artifact(made.path)
    weights.unlink()
    with pytest.raises(GraphError, match="missing") as caught:
        model_artifact(made.path)
    assert str(made.path) in caught.value.found


def test_an_error_about_the_copy_in_the_cache_names_the_users_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelport.core.errors import EngineError

    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path / "cache"))
    path = write_plain(tmp_path / "a" / "m.onnx", 1.0)
    engine = get_engine("onnxruntime")
    made = built(engine, model_artifact(path), Build(precision=None)).artifact
    with pytest.raises(EngineError) as caught, opened(engine, made, Build(precision="int8")):
        pass
    assert str(path) in caught.value.found and "cache" not in str(caught.value)
