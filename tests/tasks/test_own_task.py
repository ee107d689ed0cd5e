"""A task is a class and a line: one that lies in this folder alone goes every road, and no room asks a task's name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelport
from modelport.core.errors import RecipeError
from modelport.data.prepare.transforms import Preprocess
from modelport.data.sets.table import open_dataset
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names
from modelport.tasks.base import Task
from modelport.tasks.table import TASKS, task_class, task_of
from saved_outputs import save

Call = Callable[..., Any]
SOURCE = Path(modelport.__file__).parent


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task's one line."""
    monkeypatch.setitem(TASKS, "ordinal", "ordinal:Ordinal")


@pytest.fixture
def text(tiny_path: Path) -> str:
    """A recipe of the task, of a network that the null engine runs."""
    text = tiny_path.read_text(encoding="utf-8")
    text = re.sub(r"\[\[(published|speeds)\]\].*?(?=\n\[)", "", text, flags=re.S)
    for old, new in {
        'name = "tiny"': 'name = "aged"',
        'task = "classification"': 'task = "ordinal"',
        'metrics = ["top1", "top2", "top3", "top4", "top5"]': 'metrics = ["within_half", "mae"]\npublished = []',
        'architecture = "resnet18"': 'architecture = "null"',
        '["batch", 10]': '["batch", 1]',
    }.items():
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
def recipe_path(line: None, text: str, tmp_path: Path) -> Path:
    path = tmp_path / "aged.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def weights(recipe_path: Path, tiny_data: Path, tmp_path: Path) -> Path:
    """The linear map of the null engine's 64 means that fits the images' classes best."""
    recipe = load_recipe(str(recipe_path))
    host = Preprocess(recipe.preprocess)
    samples = open_dataset(recipe, tiny_data)
    rows = np.stack([host.tensor(sample.read(), sample.id) for sample in samples]).astype(np.float64)
    means = rows.reshape(len(rows), 64, -1).mean(axis=2)
    features = np.concatenate([means, np.ones((len(rows), 1))], axis=1)
    labels = np.array([[sample.target] for sample in samples], np.float64)
    path = tmp_path / "aged.npz"
    np.savez(path, output1=np.linalg.lstsq(features, labels, rcond=None)[0])
    return path


@pytest.mark.slow
def test_run_judges_it(call: Call, recipe_path: Path, weights: Path, tiny_data: Path, tmp_path: Path) -> None:
    given = ["--weights", weights, "--data", tiny_data, "--out", tmp_path / "out", "--engine", "null"]
    answer = call("run", recipe_path, *given, "--json")
    assert answer.code == 0, answer
    result = answer.json
    assert result["verdict"] == "pass" and result["metrics"]["source_agreement"]["value"] == 100
    assert {check["name"]: check["verdict"] for check in result["checks"]}["within_half_above_chance"] == "pass"
    lines = [json.loads(one) for one in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    away = np.array([abs(one["number"] - one["target"]) for one in lines])
    assert len(away) == 310
    assert result["metrics"]["mae"] == {
        "value": pytest.approx(away.mean()),
        "unit": "classes",
        "n": 310,
        "stderr": None,
    }
    assert result["metrics"]["within_half"]["value"] == pytest.approx(100 * (away < 0.5).mean())
    assert "within_half" in (tmp_path / "out" / "report.md").read_text()


def test_bench_measures_it(call: Call, recipe_path: Path, weights: Path) -> None:
    answer = call("bench", recipe_path, "--weights", weights, "--engine", "null", "--duration", 0.02, "--json")
    assert answer.code == 0 and answer.json["recipe"] == "aged" and answer.json["points"], answer


def test_evaluate_scores_saved_outputs(call: Call, recipe_path: Path, tiny_data: Path, tmp_path: Path) -> None:
    """Every third number is a whole class too large, the others are a quarter off."""
    for number, sample in enumerate(open_dataset(load_recipe(str(recipe_path)), tiny_data)):
        value = sample.target + (1.0 if number % 3 == 0 else 0.25)
        save(tmp_path / "r", sample.id, [np.array([[value]], np.float32)], "bin")
    words = ["evaluate", recipe_path, "--results", tmp_path / "r", "--data", tiny_data]
    found = call(*words, "--json").json["metrics"]
    assert found["within_half"]["value"] == pytest.approx(100 * 206 / 310)
    assert found["mae"]["value"] == pytest.approx((104 + 206 / 4) / 310)
    guide = call(*words, "--style", "guide", "--json").json["value"]
    assert [row["key"] for row in guide][:3] == ["Number of images", "within_half", "mae"]
    call(*words, "--draw", tmp_path / "pictures").refused("aged is no detector")


def test_nothing_fits_sample_weights_unless_the_task_names_it(
    call: Call, recipe_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    made = call("samples", "weights", recipe_path, "--data", tiny_data, "--out", tmp_path / "w.pth")
    made.refused("no sample weights are made for the task ordinal")


def test_a_recipe_that_is_none_of_the_task_is_refused_when_it_is_read(line: None, text: str) -> None:
    assert parse_recipe(text, "x.toml").task == "ordinal"
    for old, new, message in (
        ('["within_half", "mae"]', '["top1"]', "recipe: metrics: 'top1' is no metric of ordinal, .*known metrics: mae"),
        ('["within_half", "mae"]', '["mae", "mae"]', "recipe: metrics: one is named twice"),
        ('["batch", 1]', '["batch", 10]', r"recipe: the output 'output1' is \['batch', 10\]"),
        ('task = "ordinal"', 'task = "ordnal"', "task: 'ordnal' is none of .*, ordinal, did you mean 'ordinal'"),
    ):
        with pytest.raises(RecipeError, match=f"x.toml: {message}"):
            parse_recipe(text.replace(old, new), "x.toml")
    bad_variant = '\n[variants.wide]\nabout = "x"\nchanges = { metrics = ["top1"] }\n'
    with pytest.raises(RecipeError, match="'top1' is no metric of ordinal"):
        parse_recipe(text + bad_variant, "x.toml")


def test_a_name_without_a_line_is_told_with_the_nearest(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match=r"task: 'ordinal' is none of detection, .*classification, contrastive"):
        parse_recipe(text, "x.toml")
    with pytest.raises(RecipeError, match=r"no task 'detecton'\n.*did you mean 'detection'"):
        task_class("detecton")


# A row of yolov7-e6 has 8.7 million numbers; nas-fpn asks the same of its task.
@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "yolov7-e6"])
def test_each_task_says_all_that_is_asked_of_it(name: str) -> None:
    recipe = load_recipe(name)
    task = task_of(recipe, [(1, "thing")])
    assert isinstance(task, Task) and set(recipe.metrics) <= set(task.metrics)
    task.scorer(True)
    assert {"fp32", "fp16", "bf16", "int8"} == set(task.agreement_floors)
    # What judges a batch needs no more than the outputs: the source's own are at no distance from themselves.
    rng = np.random.default_rng(0)
    outputs = {
        spec.name: rng.uniform(0, 9, [int(axis) for axis in spec.shape]).astype(spec.dtype)
        for spec in recipe.signature.with_batch(3).outputs
    }
    assert task.difference(outputs, outputs) == task.distance([outputs], [outputs]) == 0


def test_every_task_is_told_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \| (.*)$", page, flags=re.MULTILINE))
    assert set(told) == set(TASKS)
    for name, row in told.items():
        metrics = {word for word in re.findall("`([^`]+)`", row) if not word.startswith("[")}
        assert metrics & set(task_class(name).metrics) and metrics <= set(task_class(name).metrics), name


def test_no_room_but_the_tasks_asks_for_a_tasks_name() -> None:
    asked = re.compile(
        r"\brecipe\.task\s*(==|!=|in\b|not in\b)|\.task\s*[!=]=|match \w*\.?recipe\.task|\btask\s*[!=]=\s*[\"']"
    )
    found = [
        f"{file.relative_to(SOURCE)}: {line.strip()}"
        for file in sorted(SOURCE.rglob("*.py"))
        if file.relative_to(SOURCE).parts[0] != "tasks"
        for line in file.read_text(encoding="utf-8").splitlines()
        if asked.search(line)
    ]
    assert found == []
