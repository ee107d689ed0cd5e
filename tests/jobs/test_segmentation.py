"""A segmentation network from files to a verdict: drawn images, fitted weights, two engines, int8."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Call
from modelport.core import trust
from modelport.data.drawn.masks import draw_masks
from modelport.data.sets.table import open_dataset
from modelport.recipes.load import load_recipe
from saved_outputs import save
from segmenter import NET, RECIPE


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks") / "set"
    draw_masks(folder, count=100, train=12, seed=2)
    return folder


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the user's network and its recipe."""
    (tmp_path / "zoo.py").write_text(NET)
    (tmp_path / "seg.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    trust.trust_nothing()
    sys.modules.pop("zoo", None)


def result(folder: str) -> Any:
    return json.loads((Path(folder) / "result.json").read_text())


@pytest.mark.slow
def test_it_comes_to_a_verdict_on_two_engines_and_in_int8(zoo: Path, call: Call, drawn: Path) -> None:
    made = call("samples", "weights", "seg.toml", "--data", drawn, "--out", "w.pth", "--trust-code")
    assert made.code == 0, made
    given = ("seg.toml", "--weights", "w.pth", "--trust-code", "--data", drawn)
    for out, engine, precision in (
        ("one", "onnxruntime", "fp32"),
        ("two", "openvino", "fp32"),
        ("three", "onnxruntime", "int8"),
    ):
        calibration = ("--calibration", drawn) if precision == "int8" else ()
        # Where no image differs, a hundred show that at most 3 % of all could.
        how = ("--engine", engine, "--precision", precision, "--max-drop", 5)
        answer = call("run", *given, *how, "--out", out, *calibration)
        assert answer.code == 0, answer
        told = result(out)
        assert told["n"] == 100 and told["metrics"]["miou"]["value"] > 75
        assert told["metrics"]["source_agreement"]["value"] > (98 if precision == "int8" else 99.99)
        lines = [json.loads(line) for line in (Path(out) / "predictions.jsonl").read_text().splitlines()]
        assert len(lines) == 100 and all(len(json.dumps(line)) < 1000 for line in lines)
    call("run", *given, "--engine", "onnxruntime", "--out", "soon", "--until-decided", "--max-drop", 20)
    soon = result("soon")
    assert soon["statistics"]["stopped_at"] == soon["n"] < 100
    assert any("a surrogate of each image" in note for note in soon["notes"])
    blind = call("run", *given[:-2], "--images", drawn / "val" / "images", "--predict", "--limit", 9, "--out", "blind")
    assert blind.code == 3, blind
    assert set(result("blind")["metrics"]) == {"source_agreement"}
    lies = ("--images", drawn / "val" / "images", "--labels", drawn / "val" / "masks")
    call("run", *given[:-2], *lies, "--limit", 9, "--out", "four", "--engine", "onnxruntime")
    assert result("four")["metrics"]["miou"]["n"] == 9


def test_saved_outputs_are_scored_and_what_is_wrong_is_one_message(zoo: Path, call: Call, drawn: Path) -> None:
    """The answers are the masks themselves at the output's own size, given as sure scores."""
    samples = open_dataset(load_recipe("seg.toml"), drawn)[:5]
    for sample in samples:
        truth = sample.target.read()
        sides = zip((12, 16), truth.shape, strict=True)
        rows, columns = ((2 * np.arange(side) + 1) * size // (2 * side) for side, size in sides)
        coarse = truth[rows][:, columns] % 255
        save(zoo / "saved", sample.id, [np.eye(5, dtype=np.float32)[coarse].transpose(2, 0, 1)[None]], "npy")
    words = ("evaluate", "seg.toml", "--results", "saved", "--limit", 5, "--order", "data", "--data")
    answer = call(*words, drawn, "--json")
    assert answer.code == 3, answer
    assert answer.json["metrics"]["pixel_accuracy"]["value"] > 95
    shutil.copytree(drawn, "spoiled")
    mask = sorted(Path("spoiled/val/masks").iterdir())[0]
    with Image.open(mask) as image:
        image.point(lambda value: 9 if value else 0).save(mask)
    call(*words, "spoiled").refused("masks/0001.png: the pixel in column", "is 9, which is no class (0 to 4)")


def test_init_knows_such_a_network(zoo: Path, call: Call, drawn: Path) -> None:
    answer = call("init", "zoo:Net", "--shape", "input:1,3,64,96", "--trust-code", "--data", drawn, "--out", "new.toml")
    assert answer.code == 0, answer
    recipe = load_recipe("new.toml")
    assert recipe.task == "segmentation" and recipe.dataset.kind == "masks" and recipe.dataset.classes == 5
    assert recipe.tensors.outputs[0].shape == ["batch", 5, 16, 24]
    call("init", "zoo:Net", "--shape", "input:1,3,64,96", "--trust-code", "--out", "bare.toml")
    assert load_recipe("bare.toml").dataset.kind == "masks"
