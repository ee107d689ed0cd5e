"""``init``: what it writes is read by ``run`` as it stands, and what it could not read is marked."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from conftest import Call, Exported
from modelport.recipes.load import load_recipe

Make = Callable[..., Path]


@pytest.fixture
def network(tmp_path: Path) -> Make:
    """Return a function that writes a small graph: a mean over the pixels of each channel, and a matrix."""

    def write(shape: list[int | str], classes: int = 4, kind: int = TensorProto.FLOAT, **metadata: str) -> Path:
        channels_last = shape[-1] in (1, 3)
        channels = shape[-1] if channels_last else shape[1]
        weights = helper.make_tensor("w", TensorProto.FLOAT, [int(channels), classes], [0.1] * int(channels) * classes)
        nodes = [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["float"], ["means"], axes=[1, 2] if channels_last else [2, 3], keepdims=0),
            helper.make_node("MatMul", ["means", "w"], ["scores"]),
        ]
        inputs = [helper.make_tensor_value_info("image", kind, shape)]
        outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], classes])]
        model = helper.make_model(
            helper.make_graph(nodes, "g", inputs, outputs, [weights]),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        helper.set_model_props(model, metadata)
        path = tmp_path / "Some Net.onnx"
        onnx.save(model, str(path))
        return path

    return write


def _drafted(call: Call, model: object, folder: Path, *words: object) -> tuple[dict[str, Any], str, Any]:
    out = folder / "drafted.toml"
    answer = call("init", model, "--out", out, "--force", "--json", *words)
    assert answer.code == 0, answer.err
    return answer.json, out.read_text(), load_recipe(str(out))


@pytest.mark.slow
def test_a_file_goes_from_init_to_a_verdict_without_an_edit(
    exported_tiny: Exported, call: Call, tiny_data: Path, tmp_path: Path
) -> None:
    artifact, _ = exported_tiny()
    told, text, recipe = _drafted(call, artifact.path, tmp_path, "--data", tiny_data)
    assert (recipe.task, recipe.dataset.kind, recipe.dataset.classes) == ("classification", "imagenet", 10)
    assert len([line for line in text.splitlines() if line and not line.startswith("#")]) <= 12
    words = told["next"].split()
    assert words[:2] == ["modelport", "run"]
    words[words.index("report")] = str(tmp_path / "report")
    answer = call(*words[1:], "--engine", "openvino", "--json")
    # Resized instead of cropped, as was guessed: the engine's answers are the file's all the same.
    assert answer.json["metrics"]["source_agreement"]["value"] == 100.0
    assert answer.json["verdict"] in ("pass", "inconclusive")


@pytest.mark.parametrize(
    ("shape", "kind", "metadata", "preset", "steps", "guessed"),
    [
        (["n", 3, 224, 224], TensorProto.FLOAT, {}, "imagenet/resize256-crop224-bilinear", None, ["preprocess"]),
        ([1, 3, 48, 192], TensorProto.FLOAT, {}, None, ["decode", "resize", "normalize"], ["preprocess"]),
        (["n", 64, 64, 3], TensorProto.FLOAT, {}, None, ["decode", "resize", "normalize", "to_tensor"], ["preprocess"]),
        (["n", 32, 32, 3], TensorProto.UINT8, {}, None, ["decode", "resize", "to_tensor"], ["preprocess"]),
        (["n", 1, 28, 28], TensorProto.FLOAT, {}, None, ["decode", "resize", "normalize"], ["preprocess"]),
        (
            ["n", 3, "h", "w"],
            TensorProto.FLOAT,
            {},
            "imagenet/resize256-crop224-bilinear",
            None,
            ["preprocess", "tensors.inputs"],
        ),
        (
            ["n", 3, "h", "w"],
            TensorProto.FLOAT,
            {"author": "Ultralytics", "imgsz": "[320, 320]"},
            "yolo/letterbox320",
            None,
            [],
        ),
    ],
    ids=["square", "wide", "nhwc", "bytes", "grey", "free", "ultralytics"],
)
def test_steps_follow_the_input_and_guesses_are_marked(
    shape: list[int | str],
    kind: int,
    metadata: dict[str, str],
    preset: str | None,
    steps: list[str] | None,
    guessed: list[str],
    network: Make,
    call: Call,
    tmp_path: Path,
) -> None:
    path = network(shape, kind=kind, **metadata)
    told, text, recipe = _drafted(call, path, tmp_path)
    assert [entry["key"] for entry in told["guessed"]] == [*guessed, "dataset.kind"]
    # Comments apart, the file holds what the recipe says; steps are whole in it.
    assert text.count("GUESSED:") == len(told["guessed"])
    if preset is not None:
        assert tomllib.loads(text)["preprocess"] == preset
    else:
        assert [step.step for step in recipe.preprocess] == steps
    assert recipe.name == "some-net" and recipe.tensors.sample.shape[0] == "batch"


def test_shape_settles_what_is_free(network: Make, call: Call, tmp_path: Path) -> None:
    path = network(["n", 3, "h", "w"])
    told, _, recipe = _drafted(call, path, tmp_path, "--shape", "image:1,3,48,96")
    assert recipe.tensors.sample.shape == ["batch", 3, 48, 96]
    assert "tensors.inputs" not in [entry["key"] for entry in told["guessed"]]


def test_a_background_class_is_seen_in_the_data(network: Make, call: Call, tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "folders").mkdir()
    (tmp_path / "folders" / "val").symlink_to(tiny_data / "train")  # ten class folders
    told, _, recipe = _drafted(call, network(["n", 3, 32, 32], classes=11), tmp_path, "--data", tmp_path / "folders")
    assert (recipe.dataset.classes, recipe.dataset.label_offset) == (11, 1)
    assert "dataset.label_offset" in {entry["key"] for entry in told["guessed"]}


def _images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_kind_of_data_and_the_names_of_classes(network: Make, call: Call, tmp_path: Path) -> None:
    path, data = network(["n", 3, 32, 32], classes=3, names="{0: 'hen', 1: 'cat', 2: 'dog'}"), tmp_path / "data"
    _images(data, "a.jpg", "b.jpg")
    (data / "labels.csv").write_text("file,class\na.jpg,Dog\nb.jpg,hen\n")
    told, text, recipe = _drafted(call, path, tmp_path, "--data", data)
    assert (recipe.dataset.kind, recipe.dataset.names) == ("table", ["hen", "cat", "dog"])
    assert "2 labelled images" in text and "dataset.kind" not in [entry["key"] for entry in told["guessed"]]
    # The table is wrong, and that is told, not that other layouts are not there.
    (data / "labels.csv").write_text("file,class\na.jpg,bird\nb.jpg,hen\n")
    _, text, recipe = _drafted(call, path, tmp_path, "--data", data)
    assert recipe.dataset.kind == "images" and "line 2: no class is named 'bird'" in text


@pytest.mark.parametrize(
    "names", ["", "{0: 'a', 1: 'a', 2: 'b'}", "['a', 'b', 'c']", "{0: 'a', 2: 'b', 1: 'c'}", "{" * 9999]
)
def test_names_that_tell_nothing_are_left_out(network: Make, call: Call, tmp_path: Path, names: str) -> None:
    _, _, recipe = _drafted(call, network(["n", 3, 32, 32], classes=3, names=names), tmp_path)
    assert recipe.dataset.names is None


def test_arrays_are_not_decoded_as_images(network: Make, call: Call, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.savez(data / "val.npz", images=np.zeros((2, 32, 32, 3), np.uint8), labels=[0, 2])
    _, text, recipe = _drafted(call, network(["n", 3, 32, 32], classes=3), tmp_path, "--data", data)
    assert recipe.dataset.kind == "arrays" and "channels are taken to be RGB" in text
    assert recipe.preprocess[0].step == "decode_array" and recipe.preprocess[0].channels == 3


def test_an_order_of_class_folders_that_nobody_told_is_marked(network: Make, call: Call, tmp_path: Path) -> None:
    path = network(["n", 3, 32, 32], classes=3)
    data = _images(tmp_path / "data", "val/hen/a.jpg", "val/cat/b.jpg", "val/dog/c.jpg")
    told, _, recipe = _drafted(call, path, tmp_path, "--data", data)
    assert (recipe.dataset.kind, recipe.dataset.names) == ("imagenet", ["cat", "dog", "hen"])
    assert "dataset.names" in {entry["key"] for entry in told["guessed"]}
    data = _images(tmp_path / "words", "val/zero/a.jpg", "val/one/b.jpg", "val/two/c.jpg")
    _, text, recipe = _drafted(call, path, tmp_path, "--data", data)
    assert recipe.dataset.kind == "images" and "nothing tells which of the two is the order" in text


def test_what_tells_no_task_is_judged_by_its_outputs(network: Make, call: Call, tmp_path: Path) -> None:
    path = network(["n", 3, 32, 32])
    model = onnx.load(str(path))
    model.graph.output.append(helper.make_tensor_value_info("means", TensorProto.FLOAT, ["n", 3]))
    onnx.save(model, str(path))
    _, _, recipe = _drafted(call, path, tmp_path)
    assert recipe.task == "outputs" and [tensor.name for tensor in recipe.tensors.outputs] == ["scores", "means"]
    _, text, recipe = _drafted(call, path, tmp_path, "--task", "classification")
    assert recipe.task == "classification" and "not read: means" in text


def test_bad_input_is_one_message(network: Make, call: Call, tmp_path: Path) -> None:
    path, out = network(["n", 3, 32, 32]), tmp_path / "r.toml"
    call("init", "weights.pth", "--out", out).refused("weights.pth", "FILE.onnx")
    call("init", tmp_path / "none.onnx", "--out", out).refused("none.onnx")
    call("init", "no.such.module:net", "--out", out).refused("--trust-code")
    call("init", path, "--out", tmp_path / "r.txt").refused(".toml")
    call("init", path, "--out", out, "--task", "clasification").refused("classification")
    call("init", network(["n", 5, 32, 32]), "--out", out).refused("(batch, 5, 32, 32)")
    assert not out.exists()
    out.write_text("mine")
    call("init", path, "--out", out).refused("--force")
    assert out.read_text() == "mine"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
def test_a_librarys_name_is_enough(call: Call, tmp_path: Path) -> None:
    told, text, recipe = _drafted(call, "timm:resnet18.a1_in1k", tmp_path)
    assert [entry["key"] for entry in told["guessed"]] == ["dataset.kind"]
    assert [step.step for step in recipe.preprocess] == ["decode", "resize_shorter", "center_crop", "normalize"]
    assert recipe.network.architecture == "timm:resnet18.a1_in1k" and len(text.splitlines()) <= 30
    call("init", "timm:resnet19", "--out", tmp_path / "x.toml").refused("resnet19", "resnet18")
