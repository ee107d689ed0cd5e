"""The streaming way and the way through files give the same figures and predictions.

Held for every recipe with a page of its own. The network plays no part in that, so a small graph with the recipe's
tensors stands in for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from conftest import Call
from modelport.ais_bench.__main__ import main as ais_bench
from modelport.data.drawn.cifar10 import draw_cifar10
from modelport.data.drawn.coco import draw_coco
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

POOL = 8  # cells along each side
# Those that have a page, each kind of task and data among them; the others differ in the network alone.
PAGES = sorted(page.stem for page in (Path(__file__).parents[1] / "docs" / "guides").glob("*.md"))


def _graph(recipe: Recipe, out: Path) -> Path:
    """Cell means of the image, times a random matrix, shaped as the recipe's outputs."""
    spec = recipe.signature.inputs[0]
    cell = int(spec.shape[2]) // POOL
    cells = 3 * (int(spec.shape[2]) // cell) ** 2
    wanted = recipe.signature.outputs
    width = 600 if recipe.task == "detection" else int(wanted[0].shape[1])
    matrix = np.random.default_rng(0).normal(0, 0.1, (cells, width)).astype(np.float32)
    constants = {"matrix": matrix}
    last = wanted[0].name if recipe.task != "detection" else "numbers"
    nodes = [
        helper.make_node("AveragePool", [spec.name], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["cells"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], [last]),
    ]
    if recipe.task == "detection":
        constants |= {
            "rows": np.array([0, 100, 6]),
            "scale": np.array([300, 300, 300, 300, 1], np.float32),
            "shift": np.array([0, 0, 320, 320, 0], np.float32),
            "parts": np.array([5, 1]),
            "classes": np.array(79.5, np.float32),
            "flat_rows": np.array([0, 100]),
        }
        nodes += [
            helper.make_node("Sigmoid", ["numbers"], ["shares"]),
            helper.make_node("Reshape", ["shares", "rows"], ["boxed"]),
            helper.make_node("Split", ["boxed", "parts"], ["box", "kind"], axis=2),
            helper.make_node("Mul", ["box", "scale"], ["scaled"]),
            helper.make_node("Add", ["scaled", "shift"], [wanted[0].name]),
            helper.make_node("Mul", ["kind", "classes"], ["kinds"]),
            helper.make_node("Cast", ["kinds"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["whole", "flat_rows"], [wanted[1].name]),
        ]
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    inputs, outputs = (
        [helper.make_tensor_value_info(one.name, kinds[one.dtype], list(one.shape)) for one in side]
        for side in (recipe.signature.inputs, wanted)
    )
    initialisers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
    return out


def _data(recipe: Recipe, out: Path) -> Path:
    match recipe.dataset.kind:
        case "imagenet":
            draw_imagenet(out, count=11, train_per_class=1, seed=1)
        case "cifar10":
            draw_cifar10(out, count=130, train=250, seed=1)
        case "coco":
            draw_coco(out, count=3, seed=1)
    return out


def _predictions(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def _numbers(value: Any) -> list[float]:
    """Every number of a prediction, in order."""
    if isinstance(value, dict | list):
        return [
            number for child in (value.values() if isinstance(value, dict) else value) for number in _numbers(child)
        ]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_both_ways_agree(name: str, tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load_recipe(name)
    model, data, files = _graph(recipe, tmp_path / "m.onnx"), _data(recipe, tmp_path / "data"), tmp_path / "files"
    words = ["--data", data, "--json"]
    streamed = call(
        "run", name, "--model", model, "--source", "none", "--engine", "onnxruntime", "--out", tmp_path / "run", *words
    ).json
    assert "error" not in streamed, streamed
    assert call("preprocess", name, "--out", files, *words).code == 0
    want = _predictions(tmp_path / "run")
    assert len(want) == streamed["n"]
    for format in ("BIN", "NPY", "TXT"):
        batch = ["--batchsize", str(recipe.run.batch), "--engine", "onnxruntime"]
        out = ["--output", str(tmp_path), "--output_dirname", format, "--outfmt", format]
        assert ais_bench(["--model", str(model), "--input", str(files), *out, *batch]) == 0
        scored = tmp_path / f"scored-{format}"
        saved = call("evaluate", name, "--results", tmp_path / format, "--out", scored, *words).json
        got = _predictions(scored)
        for figure, score in saved["metrics"].items():
            assert score["value"] == pytest.approx(
                streamed["metrics"][figure]["value"], abs=0 if format != "TXT" else 1
            )
        assert saved["metrics"].keys() == streamed["metrics"].keys() - {"knn_top1"}
        assert saved["dataset"] == streamed["dataset"]
        if format != "TXT":
            assert got == want
        elif recipe.task != "contrastive":
            for mine, theirs in zip(got, want, strict=True):
                np.testing.assert_allclose(_numbers(mine), _numbers(theirs), atol=2e-4, rtol=1e-6)
