"""Numbers per image: errors and R² against torchmetrics and the formulas, agreement, and what is no recipe of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelport.core.errors import DataError, RecipeError
from modelport.core.values import RowId, TensorSpec
from modelport.recipes.load import parse_recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.regression.task import NEAR, Regression
from modelport.tasks.scoring import Figures, Rows
from modelport.tasks.table import task_of
from modelport.verdict.rules import Evidence, judge, limit_of
from modelport.verdict.soundness import Soundness
from modelport.verdict.words import FAIL, PASS
from oracles import torchmetrics

TEXT = """
schema = "modelport.recipe/1"
name = "place"
task = "regression"
metrics = ["mae", "rmse", "r2"]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 32, height = 32, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.5], std = [0.5] },
]
tensors.inputs = [{ name = "image", dtype = "float32", shape = ["batch", 3, 32, 32] }]
tensors.outputs = [
    { name = "where", dtype = "float32", shape = ["batch", 2] },
    { name = "size", dtype = "float32", shape = ["batch"] },
]
dataset.kind = "table"
"""
NAMES = ["where[0]", "where[1]", "size"]


def _figures(answers: Any, targets: Any, source: Any = None, text: str = TEXT, step: int = 7) -> Figures:
    """Score numbers (N, 3), the last of which is an output of its own, some rows at a time."""
    scorer = task_of(parse_recipe(text, "x.toml")).scorer(source is not None)

    def outputs(rows: Any) -> dict[str, Any]:
        return {"where": rows[:, :2], "size": rows[:, 2]}

    for start in range(0, len(answers), step):
        part = slice(start, start + step)
        labels = [tuple(map(float, row)) for row in targets[part]]
        theirs = None if source is None else outputs(source[part])
        scorer.take(
            Rows([RowId(f"i{start + row}") for row in range(len(labels))], labels, outputs(answers[part]), theirs)
        )
    return scorer.figures()


def _seeded(n: int = 120) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    targets = rng.normal(size=(n, 3)) * (1.0, 20.0, 0.1) + (0.0, 300.0, -1.0)
    noise = rng.normal(size=(n, 3)) * (0.3, 9.0, 0.08)
    return (targets + noise).astype(np.float32), targets


def test_figures_are_torchmetrics() -> None:
    import torch

    oracle = torchmetrics()
    answers, targets = _seeded()
    found = _figures(answers, targets).metrics
    mine, wanted = torch.from_numpy(answers.astype(np.float64)), torch.from_numpy(targets)
    each = oracle.r2_score(mine, wanted, multioutput="raw_values").tolist()
    want = {
        "mae": oracle.mean_absolute_error(mine, wanted).item(),
        "rmse": oracle.mean_squared_error(mine, wanted, squared=False).item(),
        "r2": oracle.r2_score(mine, wanted).item(),
    }
    for place, name in enumerate(NAMES):
        want[f"mae/{name}"] = oracle.mean_absolute_error(mine[:, place], wanted[:, place]).item()
        want[f"rmse/{name}"] = oracle.mean_squared_error(mine[:, place], wanted[:, place], squared=False).item()
        want[f"r2/{name}"] = each[place]
    assert {name: score.value for name, score in found.items()} == pytest.approx(want, abs=1e-9)
    assert found["mae"].rise_is_loss and found["rmse"].rise_is_loss and not found["r2"].rise_is_loss
    assert found["mae"].stderr == pytest.approx(np.abs(answers - targets).mean(axis=1).std(ddof=1) / np.sqrt(120))


def test_one_percent_is_of_the_error_of_always_answering_the_mean() -> None:
    """Of a figure near zero its own value is no scale: what is tolerated must not shrink with the error."""
    _, targets = _seeded()
    answers = (targets + 1e-4).astype(np.float32)
    recipe = parse_recipe(TEXT, "x.toml")
    found = _figures(answers, targets)
    away = targets - targets.mean(axis=0)
    mae, rmse, r2 = (found.metrics[name] for name in ("mae", "rmse", "r2"))
    assert limit_of(mae, recipe.tolerance) == pytest.approx(mae.value + 0.01 * np.abs(away).mean())
    assert limit_of(rmse, recipe.tolerance) == pytest.approx(rmse.value + 0.01 * np.sqrt((away**2).mean()))
    assert limit_of(r2, recipe.tolerance) == pytest.approx(r2.value - 0.01)
    # A point of a fraction is a hundredth: a whole one would tolerate everything.
    assert limit_of(r2, Tolerance(value=2.0, unit="points")) == pytest.approx(r2.value - 0.02)


@pytest.mark.parametrize(("extra", "verdict"), [(0.0, PASS), (0.05, PASS), (0.4, FAIL), (-0.4, PASS)])
def test_a_rise_of_the_error_is_the_loss(extra: float, verdict: str) -> None:
    _, targets = _seeded()
    spread = np.abs(targets - targets.mean(axis=0)).mean()
    source, answers = targets + 0.5, targets + 0.5 + extra * 0.1 * spread
    figures = _figures(answers.astype(np.float32), targets, source.astype(np.float32))
    evidence = Evidence(figures.metrics, figures.source, False, len(targets), (), 1)
    check = judge(parse_recipe(TEXT, "x.toml"), evidence)[0]
    assert (check.name, check.verdict) == ("mae_vs_source", verdict)
    assert "1 percent of the error of always answering the labels' mean" in check.why


def test_whoever_answers_the_mean_is_not_above_chance() -> None:
    answers, targets = _seeded()
    for numbers, verdict in ((answers, "pass"), (np.tile(targets.mean(axis=0), (120, 1)), "inconclusive")):
        numbers = numbers.astype(np.float32)
        checks = Soundness(Regression).checks(_figures(numbers, targets, numbers), "fp32")
        assert {check.name: check.verdict for check in checks}["r2_above_chance"] == verdict


def test_answers_agree_within_a_share_of_the_sources_spread() -> None:
    _, targets = _seeded()
    source = targets.astype(np.float32)
    spread = source.astype(np.float64).std(axis=0)
    answers = source.copy()
    answers[4] += (0.9 * NEAR * spread).astype(np.float32)
    answers[5, 1] += np.float32(1.1 * NEAR * spread[1])
    answers[6, 2] = np.nan
    figures = _figures(answers, targets, source)
    assert (figures.flips.met, figures.flips.of) == (118, 120)
    assert [flip["id"] for flip in figures.flips.first] == ["i5", "i6"] and figures.flips.first[1]["engine"][2] is None
    assert figures.metrics["mae"].n == 119 and figures.source and figures.source["mae"].n == 120
    assert "1 rows hold NaN or infinity and are in no figure" in figures.notes


def test_a_constant_label_has_no_r2() -> None:
    answers, targets = _seeded()
    targets[:, 1] = 5.0
    figures = _figures(answers, targets)
    single = [figures.metrics[f"r2/{name}"].value for name in ("where[0]", "size")]
    assert figures.metrics["r2"].value == pytest.approx(np.mean(single)) and "r2/where[1]" not in figures.metrics
    assert figures.notes == ["R² is not defined where all labels are the same: where[1]"]
    one = _figures(answers[:1], targets[:1])
    assert set(one.metrics) == {"mae", "rmse", *(f"{m}/{n}" for m in ("mae", "rmse") for n in NAMES)} and not one.chance
    assert one.metrics["mae"].stderr is None


def test_without_labels_only_the_agreement_is_told() -> None:
    answers, _ = _seeded(9)
    scorer = task_of(parse_recipe(TEXT, "x.toml")).unlabelled_scorer(True)
    outputs = {"where": answers[:, :2], "size": answers[:, 2]}
    lines = scorer.take(Rows([RowId(str(row)) for row in range(9)], [None] * 9, outputs, outputs))
    figures = scorer.figures()
    assert figures.metrics == {} == figures.source and figures.flips.met == 9 and not figures.chance
    assert lines[0]["target"] is None and lines[0]["numbers"] == pytest.approx(answers[0].tolist())


def test_names_come_from_the_columns_else_the_recipe() -> None:
    for told in ('dataset.columns = { label = ["x", "y", "r"] }', 'dataset.names = ["x", "y", "r"]'):
        found = _figures(*_seeded(), text=TEXT + told).metrics
        assert {"mae/x", "mae/y", "r2/r"} <= set(found)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"float32", shape = ["batch", 2]', '"int64", shape = ["batch", 2]', "'where' is int64"),
        ('["batch", 2]', '["batch", 2, 2]', r"numbers are float \['batch'\]"),
        (
            'dataset.kind = "table"',
            'dataset.kind = "table"\ndataset.names = ["x", "y"]',
            "2 names .* the 3 numbers",
        ),
        ('["mae", "rmse", "r2"]', '["mape"]', "no metric of regression"),
        ('"table"', '"imagenet"', "its labels are class or identity, regression takes numbers"),
    ],
)
def test_what_is_no_recipe_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match=message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


def test_a_label_of_another_length_is_refused() -> None:
    answers, _ = _seeded(2)
    with pytest.raises(DataError, match=r"i0: the label has 2 numbers, the model answers 3"):
        _figures(answers, np.zeros((2, 2)))


def test_the_export_is_held_by_all_outputs() -> None:
    task = task_of(parse_recipe(TEXT, "x.toml"))
    want = {"where": np.array([[1.0, 2.0]]), "size": np.array([8.0])}
    assert task.difference(want, want) == 0 and task.distance([want], [want]) == 0
    assert task.difference(want | {"size": np.array([10.0])}, want) == 0.25
    assert np.isnan(task.difference(want | {"where": np.array([[np.nan, 2.0]])}, want))


def test_init_takes_it_where_it_is_named() -> None:
    outputs = [TensorSpec("age", "float32", ("batch", 1)), TensorSpec("map", "float32", ("batch", 3, 4, 4))]
    assert Regression.draft(outputs) is None
    draft = Regression.draft(outputs, alone=False)
    assert draft is not None and [spec.name for spec in draft.outputs] == ["age"] and draft.classes is None
