"""The task ``outputs``: figures against formulas in float64, and the verdict that rests on them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelport.core.errors import RecipeError
from modelport.core.values import RowId
from modelport.recipes.load import load_recipe, parse_recipe
from modelport.tasks.outputs.task import NearnessScorer, Outputs
from modelport.tasks.scoring import Rows
from modelport.tasks.table import task_of

Call = Callable[..., Any]


def _text(source: Path, network: str) -> str:
    """Return the tiny recipe as one of the task, that names no tolerance and publishes nothing."""
    text = source.read_text(encoding="utf-8")
    text = re.sub(r"\[\[?(published|speeds|tolerance|checkpoint)[^\]]*\]\]?.*?(?=\n\[)", "", text, flags=re.S)
    for old, new in {
        'task = "classification"': 'task = "outputs"',
        'metrics = ["top1", "top2", "top3", "top4", "top5"]': 'metrics = ["max_abs", "cosine", "psnr", "mean_abs"]',
        'architecture = "resnet18"': f'architecture = "{network}"',
    }.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def recipe_path(tiny_path: Path, tmp_path: Path) -> Path:
    path = tmp_path / "near.toml"
    path.write_text(_text(tiny_path, "null"), encoding="utf-8")
    return path


def _rows(rng: np.random.Generator, n: int, noise: float) -> tuple[dict[str, Any], dict[str, Any]]:
    want = {"a": rng.normal(size=(n, 3, 4)).astype(np.float32), "b": 40 * rng.normal(size=(n, 5)).astype(np.float32)}
    return {name: array + np.float32(noise) * rng.random(array.shape, np.float32) for name, array in want.items()}, want


def test_figures_are_the_formulas_over_all_rows_and_the_worst_outputs() -> None:
    got, want = _rows(np.random.default_rng(2), 9, 0.01)
    scorer, ids = NearnessScorer(["a", "b"], True), [RowId(f"i{row}") for row in range(9)]
    lines = []
    for part in (slice(0, 4), slice(4, 9)):
        mine, theirs = ({name: array[part] for name, array in side.items()} for side in (got, want))
        lines += scorer.take(Rows(ids[part], [None] * 9, mine, theirs))
    figures = scorer.figures()
    for name in ("a", "b"):
        x, y = got[name].astype(np.float64), want[name].astype(np.float64)
        value = {metric: figures.metrics[f"{metric}/{name}"].value for metric in Outputs.metrics}
        assert value["max_abs"] == np.abs(x - y).max()
        assert value["mean_abs"] == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
        assert value["cosine"] == pytest.approx((x * y).sum() / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-12)
        assert value["psnr"] == pytest.approx(20 * np.log10(np.abs(y).max() / np.sqrt(((x - y) ** 2).mean())))
        assert figures.metrics[f"max_abs/{name}"].scale == np.abs(y).max()
        assert lines[3]["outputs"][name]["max_abs"] == np.abs(x[3] - y[3]).max()
        row = int(np.abs(x - y).reshape(9, -1).max(axis=1).argmax())
        assert any(f"'{name}'" in note and note.endswith(f"in i{row}") for note in figures.notes)
    # Of values up to 3 a difference of 0.01 is more than of values up to 100.
    assert figures.metrics["max_abs"] == figures.metrics["max_abs/a"]
    assert figures.metrics["cosine"] == figures.metrics["cosine/a"] and figures.source is not None
    assert {figures.source[name].value for name in ("max_abs", "mean_abs")} == {0} and figures.source[
        "cosine"
    ].value == 1


def test_rows_that_one_side_cannot_answer_are_left_out_of_the_figures() -> None:
    got, want = _rows(np.random.default_rng(2), 3, 0.01)
    got["a"][1, 0, 0] = np.nan
    scorer = NearnessScorer(["a", "b"], True)
    scorer.take(Rows([RowId(str(row)) for row in range(3)], [None] * 3, got, want))
    assert {score.n for score in scorer.figures().metrics.values()} == {2}
    alone = NearnessScorer(["a", "b"], True)
    assert alone.take(Rows([RowId("0")], [None], got, None))[0]["outputs"] is None
    assert alone.figures().metrics == {} and NearnessScorer(["a"], False).figures().source is None


def _run(call: Call, recipe: Path, weights: Path, data: Path, out: Path, *words: object) -> Any:
    given = ("--weights", weights, "--data", data, "--out", out, "--engine", "null", "--json", "--force")
    answer = call("run", recipe, *given, *words)
    assert answer.out, answer
    return answer


def test_eight_samples_without_a_label_are_judged(
    call: Call, recipe_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    answer = _run(call, recipe_path, null_weights, tiny_data, tmp_path / "out", "--limit", 8)
    assert answer.code == 0, answer
    metrics = {name: score["value"] for name, score in answer.json["metrics"].items()}
    assert metrics == {"max_abs": 0, "mean_abs": 0, "cosine": pytest.approx(1), "psnr": 200}
    assert answer.json["metrics"]["max_abs"]["rise_is_loss"]
    checks = {check["name"]: check for check in answer.json["checks"]}
    assert checks["max_abs_vs_source"]["verdict"] == "pass" and checks["max_abs_vs_source"]["want"] > 0
    assert "0.01 percent of the largest output" in checks["max_abs_vs_source"]["why"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 8 and lines[0]["outputs"]["output1"]["max_abs"] == 0
    assert "max_abs" in (tmp_path / "out" / "report.md").read_text()
    assert _run(call, recipe_path, null_weights, tiny_data, tmp_path / "out", "--limit", 7).json["verdict"] == (
        "inconclusive"
    )


def test_another_precision_needs_a_tolerance_of_its_own(
    call: Call, recipe_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    words = (tiny_data, tmp_path / "out", "--limit", 8, "--precision", "fp16")
    assert _run(call, recipe_path, null_weights, *words).json["verdict"] == "fail"
    told = '\n[tolerance]\nvalue = 0.2\nunit = "percent_of_reference"\n'
    recipe_path.write_text(recipe_path.read_text() + told)
    assert _run(call, recipe_path, null_weights, *words).json["verdict"] == "pass"


def _mean_and_matrix(path: Path, shift: float = 0.0) -> Path:
    """Write the tiny recipe's tensors: means of the channels and a matrix, one weight of it shifted."""
    weights = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    weights[0, 0] += shift
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["actual_input_1"], ["m"]),
            helper.make_node("Flatten", ["m"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["output1"]),
        ],
        "means",
        [helper.make_tensor_value_info("actual_input_1", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("output1", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_healthy_port_passes_and_one_weight_that_is_another_fails(
    call: Call, recipe_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    right, wrong = _mean_and_matrix(tmp_path / "right.onnx"), _mean_and_matrix(tmp_path / "wrong.onnx", 0.01)
    words = ("--data", tiny_data, "--engine", "openvino", "--limit", 8, "--json", "--force", "--out", tmp_path / "out")
    good = call("run", recipe_path, "--model", right, *words)
    assert good.code == 0 and good.json["metrics"]["max_abs"]["value"] < 1e-5, good
    bad = call("run", recipe_path, "--model", wrong, "--source", right, *words)
    assert bad.code == 1, bad
    failed = [check["name"] for check in bad.json["checks"] if check["verdict"] == "fail"]
    assert failed == ["max_abs_vs_source"] and bad.json["metrics"]["cosine"]["value"] > 0.999


def test_the_recipe_says_what_is_tolerated(tiny_path: Path) -> None:
    text = _text(tiny_path, "null")
    recipe = parse_recipe(text, "x.toml")
    assert recipe.to_json()["tolerance"] == {"value": 0.01, "unit": "percent_of_reference"}
    assert load_recipe(str(tiny_path)).tolerance.value == 2.5
    with pytest.raises(RecipeError, match="the first decides"):
        parse_recipe(text.replace('["max_abs", "cosine", "psnr"', '["psnr", "cosine", "max_abs"'), "x.toml")


def test_the_export_is_held_by_all_outputs(tiny_path: Path) -> None:
    task = task_of(parse_recipe(_text(tiny_path, "null"), "x.toml"))
    want = {"a": np.array([[1.0, 2.0]], np.float32), "b": np.array([[8, 1]])}
    assert task.difference(want, want) == 0
    assert task.difference(want | {"b": np.array([[8, 3]])}, want) == 0.25
    assert np.isnan(task.difference(want | {"a": np.array([[np.nan, 2.0]])}, want))
