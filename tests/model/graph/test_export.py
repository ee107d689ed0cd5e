"""What is exported is the source model: opset, names, outputs, and every tensor of the checkpoint."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from seeded_weights import seeded_input

from conftest import Exported
from modelport.core.errors import GraphError, UsageError
from modelport.core.progress import Silent
from modelport.engines.registry import get_engine, model_artifact
from modelport.model.architectures import build_random
from modelport.model.graph import export as exporting
from modelport.model.graph.export import check_graph, example_input
from modelport.model.graph.file import META_WEIGHTS, metadata_of, read_graph, signature_of
from modelport.model.graph.float16 import to_float16
from modelport.model.graph.modules import module_of
from modelport.model.graph.proof import prove_weights
from modelport.model.source import SourceModel, load_source
from modelport.recipes.load import load_recipe, parse_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.export import export_cached, export_checked, outputs_match

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture
def source(tiny: Recipe, tiny_weights: Path) -> SourceModel:
    return load_source(tiny, tiny_weights)


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 13, 18, 20])
@pytest.mark.parametrize("batch", [None, 2])
def test_opset_names_and_batch_are_as_asked(
    source: SourceModel, exported_tiny: Exported, opset: int, batch: int | None
) -> None:
    artifact, checks = exported_tiny(opset, batch)
    assert {check.name: check.verdict for check in checks} == {
        "onnx_checker": "pass",
        "opset": "pass",
        "weights_arrived": "pass",
        "outputs_match_source": "pass",
    }
    graph = read_graph(artifact.path)
    assert [entry.version for entry in graph.opset_import] == [opset]
    want = source.recipe.signature if batch is None else source.recipe.signature.with_batch(batch)
    assert signature_of(graph) == want
    assert metadata_of(graph)[META_WEIGHTS] == source.checkpoint.sha256
    assert artifact.made_from == (source.checkpoint.sha256,)
    assert artifact.sha256 == model_artifact(artifact.path).sha256


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 20])
def test_exporting_twice_gives_the_same_bytes_and_tells_nothing_of_this_machine(
    source: SourceModel, exported_tiny: Exported, tmp_path: Path, opset: int
) -> None:
    first, _ = exported_tiny(opset)
    second, _ = export_checked(source, tmp_path / "b.onnx", opset, None, Silent())
    assert first.sha256 == second.sha256
    assert str(Path(exporting.__file__).parents[3]).encode() not in first.path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 20])
@pytest.mark.parametrize(
    "key", ["conv1.weight", "layer2.0.bn1.running_mean", "layer4.1.bn2.bias", "fc.bias", "fc.weight"]
)
def test_a_graph_from_other_weights_is_caught(
    source: SourceModel, exported_tiny: Exported, opset: int, key: str
) -> None:
    graph, _ = exported_tiny(opset)
    with torch.no_grad():
        source.module.state_dict()[key].view(-1)[0] += 1e-3
    with pytest.raises(GraphError, match="did not arrive"):
        check_graph(source, graph.path, opset, None)


def test_weights_that_lie_in_the_file_unused_prove_nothing(source: SourceModel, exported_tiny: Exported) -> None:
    graph = read_graph(exported_tiny()[0].path)
    for tensor in list(graph.graph.initializer):
        if tensor.name == "fc.weight":
            spare = onnx.TensorProto()
            spare.CopyFrom(tensor)
            spare.name = "spare"
            graph.graph.initializer.append(spare)
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, "fc.weight"))
    assert prove_weights(source.module, graph, example_input(source, 1)).lost == ("fc.weight",)


def test_outputs_that_differ_are_refused(source: SourceModel, exported_tiny: Exported) -> None:
    artifact, _ = exported_tiny()
    with torch.no_grad():
        source.module.state_dict()["fc.bias"] += 0.1
    with pytest.raises(GraphError, match="differ from the source"):
        outputs_match(source, artifact, get_engine("onnxruntime"), (1,))


@pytest.mark.slow
def test_another_opset_than_asked_for_is_an_error(source: SourceModel, exported_tiny: Exported) -> None:
    graph, _ = exported_tiny(18)
    with pytest.raises(GraphError, match="opset 18 was written, 17 was asked for"):
        check_graph(source, graph.path, 17, None)


@pytest.mark.slow
def test_a_failed_check_leaves_the_old_file(
    source: SourceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.onnx").write_text("old")
    monkeypatch.setattr("modelport.tasks.classification.task.Classification.tolerated", -1.0)
    with pytest.raises(GraphError):
        export_checked(source, tmp_path / "x.onnx", 20, None, Silent())
    assert (tmp_path / "x.onnx").read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.onnx"]


@pytest.mark.parametrize("opset", [2, 99])
def test_an_opset_that_no_exporter_writes_is_refused(source: SourceModel, tmp_path: Path, opset: int) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        export_checked(source, tmp_path / "x.onnx", opset, None, Silent())


@pytest.mark.slow
def test_the_cache_is_used_and_a_changed_file_in_it_is_not(source: SourceModel) -> None:
    first, checks = export_cached(source, Silent())
    stamp = first.path.stat().st_mtime_ns
    second, again = export_cached(source, Silent())
    assert (second, again) == (first, checks)
    assert second.path.stat().st_mtime_ns == stamp
    first.path.write_bytes(b"damaged")
    assert export_cached(source, Silent())[0].sha256 == first.sha256


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x07\x12\x04none"])
def test_a_file_that_is_no_graph_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(GraphError, match=r"x\.onnx"):
        read_graph(tmp_path / "x.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("opset", [11, 20])
def test_moco_v2_exported_gives_the_reference_numbers(seeded_moco: Path, tmp_path: Path, opset: int) -> None:
    import onnxruntime

    source = load_source(load_recipe("moco-v2"), seeded_moco)
    artifact, _ = export_checked(source, tmp_path / "moco.onnx", opset, None, Silent())
    session = onnxruntime.InferenceSession(str(artifact.path), providers=["CPUExecutionProvider"])
    (got,) = session.run(["output1"], {"actual_input_1": seeded_input((2, 3, 224, 224))})
    want = np.load(GOLDEN / "moco_v2.npz")["output"]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


@pytest.mark.slow
def test_fused_attention_is_spelled_out_for_old_opsets(tmp_path: Path) -> None:
    text = (files("modelport.recipes") / "deit-s.toml").read_text(encoding="utf-8")
    small = "model.arguments = { depth = 1, img_size = 32, embed_dim = 24, num_heads = 2 }"
    steps = (
        '[{ step = "decode_array", channels = 3 }, { step = "normalize", divide = 255.0, mean = [0.5], std = [0.5] }]'
    )
    text = text.replace("3, 224, 224", "3, 32, 32").replace("checkpoint.unwrap", f"{small}\ncheckpoint.unwrap")
    text = text.replace('"imagenet/resize256-crop224-bilinear"', steps)
    recipe = parse_recipe(text, "x.toml")
    torch.save({"model": build_random(recipe.network, 0).state_dict()}, tmp_path / "w.pth")
    artifact, checks = export_checked(
        load_source(recipe, tmp_path / "w.pth"), tmp_path / "a.onnx", exporting.OLDEST_OPSET, None, Silent()
    )
    assert {check.verdict for check in checks} == {"pass"}
    assert "Softmax" in {node.op_type for node in read_graph(artifact.path).graph.node}


def test_an_exported_graph_tells_every_module(exported_tiny: Exported) -> None:
    model = read_graph(exported_tiny()[0].path)
    told = {node.op_type: module_of(node, model.graph) for node in model.graph.node[:3]}
    assert told == {"Conv": "conv1", "Relu": "relu", "MaxPool": "maxpool"}
    layers = {module_of(node, model.graph) for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    assert {"layer1.0.conv1", "layer2.0.downsample.0", "fc"} <= layers
    assert "/" not in "".join(entry.value for node in model.graph.node for entry in node.metadata_props)


def test_conversion_to_float16_keeps_the_names(exported_tiny: Exported) -> None:
    model = read_graph(exported_tiny()[0].path)
    half = to_float16(model).model
    assert {node.name for node in model.graph.node} <= {node.name for node in half.graph.node}
