"""A raw YOLO goes from its file and a folder of images to a verdict: every road reads its boxes in the same way."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import Call
from made_detector import NAMES, draw_squares, write_detector
from modelport.recipes.load import load_recipe
from modelport.tasks.table import task_of

STEPS = """preprocess = [{ step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 64, height = 64, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.0], std = [1.0] }]"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    write_detector(folder / "squares.onnx")
    draw_squares(folder / "set", "val", 100, 0)
    draw_squares(folder / "set", "train", 40, 1)
    return folder


@pytest.fixture
def recipe(made: Path, call: Call, tmp_path: Path) -> Path:
    """The recipe that ``init`` drafts, with the steps that it could only guess."""
    out = tmp_path / "squares.toml"
    words = ("--task", "detection", "--data", made / "set", "--out", out)
    assert call("init", made / "squares.onnx", *words).code == 0
    text = out.read_text()
    assert re.search("^preprocess = .*GUESSED", text, re.MULTILINE | re.DOTALL)
    head, rest = text.split("preprocess = ")
    out.write_text(head + STEPS + "\ntensors.inputs" + rest.partition("tensors.inputs")[2])
    return out


def test_a_draft_tells_the_form_the_names_and_the_layout(recipe: Path) -> None:
    text = recipe.read_text()
    assert "the outputs are yolov8: (N, 4 + C, K)" in text
    assert 'dataset.kind = "yolo"  # 100 labelled images in' in text
    assert 'dataset.names = ["red", "green", "blue"]' in text


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "precision"), [("openvino", "fp32"), ("onnxruntime", "int8")])
def test_a_verdict_on_two_engines_and_in_int8(
    engine: str, precision: str, made: Path, recipe: Path, call: Call, tmp_path: Path
) -> None:
    words = ["--source", made / "squares.onnx", "--data", made / "set", "--out", tmp_path / "out", "--engine", engine]
    # Where no image differs, a hundred show that at most 3 % of all could.
    words += ["--calibration", made / "set"] if precision == "int8" else ["--max-drop", 8]
    answer = call("run", recipe, *words, "--precision", precision, "--draw", tmp_path / "drawn", "--json")
    assert answer.code in (0, 1), answer
    result = answer.json
    metrics = {name: figure["value"] for name, figure in result["metrics"].items()}
    assert 0.3 < metrics["mAP"] < 0.9
    assert [(row["class"], row["name"]) for row in result["per_class"]] == list(enumerate(NAMES))
    assert metrics["mAP"] == pytest.approx(np.mean([row["mAP"] for row in result["per_class"]]))
    if precision == "fp32":
        assert result["verdict"] == "pass"
        assert all(row["mAP"] == pytest.approx(row["source"], abs=1e-3) for row in result["per_class"])
    assert sum(row["n"] for row in result["per_class"]) > 100
    assert any("the outputs are read as yolov8 (told by their shapes)" in note for note in result["notes"])
    assert len(list((tmp_path / "drawn").iterdir())) == 100
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 100 and max(box[1] for line in lines for box in line["boxes"]) > 0.9
    samples = [json.loads(line) for line in (tmp_path / "out" / "samples.jsonl").read_text().splitlines()]
    again = task_of(load_recipe(str(recipe))).recount(zip(lines, samples, strict=True))
    assert again is not None and again.metrics == pytest.approx(
        {name: metrics[name] for name in again.metrics}, abs=1e-9
    )
    assert metrics.keys() - again.metrics.keys() <= {"source_agreement"}


@pytest.mark.slow
def test_saved_outputs_are_read_in_the_same_form(made: Path, recipe: Path, call: Call, tmp_path: Path) -> None:
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(str(made / "squares.onnx"))
    (tmp_path / "saved").mkdir()
    for path in sorted((made / "set" / "images" / "val").iterdir()):
        pixels = np.asarray(Image.open(path)).transpose(2, 0, 1)[None].astype(np.float32) / 255
        np.save(tmp_path / "saved" / f"{path.stem}_0.npy", session.run(None, {"images": pixels})[0])
    words = ("evaluate", recipe, "--results", tmp_path / "saved", "--data", made / "set", "--json")
    whole, cut = (call(*words, *more) for more in ((), ("--score-threshold", "0.5")))
    assert whole.code == cut.code == 3, whole  # nothing to hold the figures against
    assert 0.3 < whole.json["metrics"]["mAP"]["value"] < 0.9
    note = next(note for note in cut.json["notes"] if "boxes with a score below 0.5 do not count" in note)
    assert int(note.rpartition(": ")[2].split()[0]) > 100


def test_labels_beside_the_images_serve_as_the_layout_does(
    made: Path, recipe: Path, call: Call, tmp_path: Path
) -> None:
    text = recipe.read_text().replace('dataset.kind = "yolo"', 'dataset.kind = "coco"')
    other = tmp_path / "other.toml"
    other.write_text(text)
    words = ("--source", made / "squares.onnx", "--engine", "openvino", "--out", tmp_path / "out", "--force", "--json")
    images, labels = made / "set" / "images" / "val", made / "set" / "labels" / "val"
    answer = call("run", other, *words, "--images", images, "--labels", labels, "--max-drop", 8)
    assert answer.code == 0, answer
    assert 0.3 < answer.json["metrics"]["mAP"]["value"] < 0.9
    call("run", other, *words, "--images", images, "--labels", made / "squares.onnx").refused("holds no labels that")


@pytest.mark.slow
def test_boxes_of_permuted_classes_do_not_pass_and_the_reason_is_first(
    made: Path, recipe: Path, call: Call, tmp_path: Path
) -> None:
    shutil.copytree(made / "set", tmp_path / "set")
    for file in (tmp_path / "set").rglob("*.txt"):
        lines = [line.split() for line in file.read_text().splitlines()]
        file.write_text("".join(f"{(int(kind) + 1) % 3} {' '.join(box)}\n" for kind, *box in lines))
    data = ("--source", made / "squares.onnx", "--data", tmp_path / "set")
    answer = call("run", recipe, *data, "--out", tmp_path / "out", "--engine", "openvino", "--json")
    assert answer.code == 3, answer
    assert answer.json["verdict"] == "inconclusive"
    first = next(check for check in answer.json["checks"] if check["verdict"] != "pass")
    assert first["name"] == "mAP_above_chance"
