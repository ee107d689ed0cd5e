"""Model files whose outputs are not the recipe's: refused naming the file, what it has and what is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from given_graphs import classifier

from conftest import Call
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.recipes.schema import Recipe

ENGINES = {"onnxruntime": ".onnx", "openvino": ".xml"}


def no_output(recipe: Recipe) -> Any:
    model = classifier(recipe, 10)
    del model.graph.output[:]
    return model


# What the file has of the wrong, as messages tell it.
WRONG: dict[str, tuple[Callable[[Recipe], Any], str]] = {
    "argmax": (lambda r: classifier(r, 10, "ArgMax", ["batch"], axis=1, keepdims=0), "int64 ("),
    "eleven": (lambda r: classifier(r, 11), ", 11)"),
    "one number, said to be rows": (lambda r: classifier(r, 10, "ReduceMean", ["batch", 10], keepdims=0), "float32 ()"),
    "none": (no_output, "outputs are "),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "data"
    draw_imagenet(folder, count=10, train_per_class=1, seed=0)
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", WRONG)
def test_outputs_of_another_kind_are_refused_with_both_sides(
    name: str, engine: str, tiny: Recipe, tiny_path: Path, data: Path, call: Call, tmp_path: Path
) -> None:
    make, found = WRONG[name]
    file = tmp_path / "given.onnx"
    onnx.save(make(tiny), file)
    out = tmp_path / f"compiled{ENGINES[engine]}"
    out.write_bytes(b"earlier")
    lines = [
        ["run", tiny_path, "--model", file, "--data", data, "--out", tmp_path / "r", "--engine", engine],
        ["compile", tiny_path, file, "--engine", engine, "--out", out],
        ["bench", tiny_path, "--model", file, "--engine", engine, "--duration", "0.01", "--batch", "2"],
    ]
    for line in lines:
        answer = call(*line)
        answer.refused(str(file), found)
        assert "wants output1: float32 (" in answer.err or "is free" in answer.err or "wants actual_input" in answer.err
        assert "None" not in answer.err
    assert out.read_bytes() == b"earlier" and sorted(file.name for file in tmp_path.glob("comp*")) == [out.name]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_that_ends_in_an_identity_is_served(
    engine: str, tiny: Recipe, tiny_path: Path, data: Path, call: Call, tmp_path: Path
) -> None:
    """OpenVINO drops the Identity, and its tensor then has two names."""
    file, out = tmp_path / "given.onnx", tmp_path / f"compiled{ENGINES[engine]}"
    onnx.save(classifier(tiny, 10), file)
    assert call("compile", tiny_path, file, "--engine", engine, "--out", out).code == 0
    found = []
    for number, model in enumerate((file, out)):
        folder = tmp_path / str(number)
        line = ["run", tiny_path, "--model", model, "--source", "none", "--data", data, "--out", folder]
        line += ["--engine", engine]
        assert call(*line).code == 3  # ten samples carry no verdict
        lines = (folder / "predictions.jsonl").read_text().splitlines()
        found.append([json.loads(line) for line in lines])
    assert found[0] == found[1] and len(found[0]) == 10


@pytest.mark.parametrize(("value", "column"), [(np.nan, 4), (np.inf, 4), (np.nan, 0)])
def test_boxes_that_are_not_finite_are_in_no_file_and_this_is_said(
    value: float, column: int, coco: Path, call: Call, tmp_path: Path
) -> None:
    dets = np.tile(np.array([10, 10, 100, 100, 0.9], np.float32), (1, 100, 1))
    dets[0, 7, column] = value
    labels = np.zeros((1, 100), np.int64)
    results = tmp_path / "results"
    results.mkdir()
    images = sorted((coco / "val2017").iterdir())
    for image in images:
        dets.tofile(results / f"{image.stem}_0.bin")
        labels.tofile(results / f"{image.stem}_1.bin")
    files = ["--coco-json", tmp_path / "x.json", "--detections", tmp_path / "t", "--draw", tmp_path / "d"]
    answer = call("evaluate", "nas-fpn", "--results", results, "--data", coco, "--out", tmp_path / "o", *files)
    assert answer.code in (1, 3), answer

    def no_json(word: str) -> None:
        raise AssertionError(word)

    rows = json.loads((tmp_path / "x.json").read_text(), parse_constant=no_json)
    assert len(rows) == 99 * len(images)
    assert all(len((tmp_path / "t" / f"{image.stem}.txt").read_text().splitlines()) == 99 for image in images)
    assert not any("nan" in file.read_text() or "inf" in file.read_text() for file in (tmp_path / "t").iterdir())
    notes = json.loads((tmp_path / "o" / "result.json").read_text(), parse_constant=no_json)["notes"]
    assert f"{len(images)} boxes whose score or corners are not finite are in no file and no picture" in notes
    for line in (tmp_path / "o" / "predictions.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=no_json)
