"""Sets of classes: mAP and F1 against torchmetrics and scikit-learn's formula, and what is no recipe of the task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelport.core.errors import DataError, RecipeError
from modelport.core.values import RowId, TensorSpec
from modelport.recipes.load import parse_recipe
from modelport.recipes.schema import Recipe
from modelport.tasks import kept
from modelport.tasks.curves import average_precision, chance_precision
from modelport.tasks.multilabel.figures import average_precisions, macro_f1
from modelport.tasks.multilabel.task import MultiLabel
from modelport.tasks.scoring import Figures, Rows
from modelport.tasks.table import task_of
from oracles import torchmetrics

TEXT = """
schema = "modelport.recipe/1"
name = "tags"
task = "multilabel"
metrics = ["multilabel_mAP", "multilabel_f1"]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 32, height = 32, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.5], std = [0.5] },
]
multilabel.activation = "sigmoid"
tensors.inputs = [{ name = "image", dtype = "float32", shape = ["batch", 3, 32, 32] }]
tensors.outputs = [{ name = "scores", dtype = "float32", shape = ["batch", 5] }]
dataset.kind = "table"
dataset.classes = 5
"""


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return parse_recipe(TEXT, "tags.toml")


@pytest.fixture(scope="module")
def oracle() -> Any:
    torchmetrics()
    from torchmetrics.functional import classification

    return classification


def _figures(recipe: Recipe, scores: Any, truth: Any, source: Any = None, step: int = 7) -> Figures:
    """Score logits against a matrix of bools, some rows at a time."""
    scorer = task_of(recipe).scorer(source is not None)
    for start in range(0, len(scores), step):
        part = slice(start, start + step)
        targets = [tuple(np.flatnonzero(row).tolist()) for row in truth[part]]
        ids = [RowId(str(start + row)) for row in range(len(targets))]
        theirs = None if source is None else {"scores": source[part]}
        lines = scorer.take(Rows(ids, targets, {"scores": scores[part]}, theirs))
        assert [line["id"] for line in lines] == ids
    return scorer.figures()


def _seeded(n: int = 200, decimals: int | None = None) -> tuple[Any, Any]:
    rng = np.random.default_rng(5)
    truth = rng.random((n, 5)) < np.linspace(0.1, 0.6, 5)
    scores = (rng.normal(size=(n, 5)) + 1.5 * truth - 0.5).astype(np.float32)
    return (scores if decimals is None else scores.round(decimals)), truth


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_figures_are_torchmetrics(recipe: Recipe, oracle: Any, decimals: int | None) -> None:
    """With one decimal, and with none, most scores are tied."""
    import torch

    scores, truth = _seeded(decimals=decimals)
    found = _figures(recipe, scores, truth).metrics
    # In float64: its own sigmoid makes no ties there.
    told, wanted = torch.from_numpy(scores.astype(np.float64)), torch.from_numpy(truth.astype(np.int64))
    precision = oracle.multilabel_average_precision(told, wanted, num_labels=5).item()
    f1 = oracle.multilabel_f1_score(told, wanted, num_labels=5).item()
    assert found["multilabel_mAP"].value == pytest.approx(100 * precision, abs=1e-5)
    assert found["multilabel_f1"].value == pytest.approx(100 * f1, abs=1e-5)
    assert found["multilabel_mAP"].n == 200 and found["multilabel_mAP"].unit == "percent"


def test_a_class_that_no_sample_has_is_left_out_and_that_is_said(recipe: Recipe, oracle: Any) -> None:
    import torch

    scores, truth = _seeded()
    truth[:, 2] = False
    figures = _figures(recipe, scores, truth)
    present = [0, 1, 3, 4]  # torchmetrics counts the other one as 0
    told, wanted = (torch.from_numpy(side[:, present].astype(kind)) for side, kind in ((scores, "f8"), (truth, "i8")))
    precision = oracle.multilabel_average_precision(told, wanted, num_labels=4).item()
    f1 = oracle.multilabel_f1_score(told, wanted, num_labels=4).item()
    assert figures.metrics["multilabel_mAP"].value == pytest.approx(100 * precision, abs=1e-5)
    assert figures.metrics["multilabel_f1"].value == pytest.approx(100 * f1, abs=1e-5)
    assert figures.notes == ["1 of 5 classes have no sample; mAP and F1 are means over the other 4"]


def test_each_class_has_its_average_precision(oracle: Any) -> None:
    import torch

    scores, truth = _seeded()
    truth[:, 2] = False
    recipe = parse_recipe(TEXT + 'dataset.names = ["a", "b", "c", "d", "e"]', "x.toml")
    told = _figures(recipe, scores, truth, scores).per_class
    assert [(row["class"], row["name"], row["n"]) for row in told] == [
        (place, "abcde"[place], int(truth[:, place].sum())) for place in (0, 1, 3, 4)
    ]
    for row in told:
        own = torch.from_numpy(scores[:, row["class"]].astype("f8"))
        want = oracle.binary_average_precision(own, torch.from_numpy(truth[:, row["class"]].astype("i8"))).item()
        assert row["AP"] == row["source"] == pytest.approx(100 * want, abs=1e-5)
    assert [row["source"] for row in _figures(recipe, scores, truth).per_class] == [None] * 4


def test_no_class_at_all_gives_no_figure(recipe: Recipe) -> None:
    scores, truth = _seeded(20)
    figures = _figures(recipe, scores, np.zeros_like(truth), scores)
    assert figures.metrics == {} == figures.source and figures.chance == {}
    assert "no sample has a class" in figures.notes[0] and (figures.flips.met, figures.flips.of) == (20, 20)


def test_average_precision_by_hand() -> None:
    scores, positive = np.array([0.9, 0.8, 0.8, 0.1]), np.array([True, True, False, False])
    # At 0.9 half of the recall with precision 1, at 0.8 the other half with 2 of 3.
    assert average_precision(scores, positive) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3, abs=1e-15)
    assert np.isnan(average_precision(scores, np.zeros(4, bool))) and average_precision(scores, np.ones(4, bool)) == 1
    assert average_precision(np.zeros(4), positive) == 0.5


def test_nan_ranks_last_and_is_not_answered(recipe: Recipe) -> None:
    scores, truth = _seeded(50)
    broken, lowest = scores.copy(), scores.copy()
    broken[3], lowest[3] = np.nan, -np.inf
    found, want = _figures(recipe, broken, truth, broken), _figures(recipe, lowest, truth)
    assert found.metrics == want.metrics
    assert (found.flips.met, found.flips.of) == (49, 50) and found.flips.first[0]["id"] == "3"


def test_chance_is_the_mean_of_random_orders() -> None:
    rng = np.random.default_rng(1)
    for positives, n in ((1, 5), (3, 10), (10, 10)):
        truth = np.arange(n) < positives
        drawn = [average_precision(rng.permutation(n).astype(float), truth) for _ in range(4000)]
        assert chance_precision(positives, n) == pytest.approx(np.mean(drawn), abs=0.01)


def test_answers_agree_where_the_sets_are_the_same(recipe: Recipe) -> None:
    scores = np.array([[2, -2, 0, -1, -1], [1, 1, -1, -1, -1]], np.float32)
    source = np.array([[1, -9, -0.1, -3, -5], [1, -1, -1, -1, -1]], np.float32)
    figures = _figures(recipe, scores, np.eye(5, dtype=bool)[:2], source)
    assert (figures.flips.met, figures.flips.of) == (1, 2)
    assert figures.flips.first == [{"id": "1", "target": [1], "source": [0], "engine": [0, 1]}]


@pytest.mark.parametrize(
    ("activation", "scale", "note"),
    [("sigmoid", 0.0, "may be probabilities already"), ("none", 4.0, "are no probabilities"), ("sigmoid", 4.0, None)],
)
def test_scores_that_do_not_look_like_what_the_recipe_says_are_noted(
    activation: str, scale: float, note: str | None
) -> None:
    recipe = parse_recipe(TEXT.replace('"sigmoid"', f'"{activation}"'), "x.toml")
    scores, truth = _seeded(30)
    notes = _figures(recipe, scores * np.float32(scale), truth).notes
    assert (note is None and not notes) or (note is not None and note in notes[0])


def test_the_threshold_is_the_recipes() -> None:
    recipe = parse_recipe(TEXT + "multilabel.threshold = 0.9\n", "x.toml")
    scorer = task_of(recipe).scorer(False)
    line = scorer.take(Rows([RowId("a")], [(0,)], {"scores": np.array([[2.0, 2.3, 0, 0, 0]], np.float32)}, None))[0]
    assert {key: line[key] for key in ("id", "target", "classes")} == {"id": "a", "target": [0], "classes": [1]}
    assert {line[key] for key in ("source_classes", "source_scores", "source_margin", "agrees")} == {None}
    assert line["top5"][0][0] == 1


def test_a_label_outside_the_output_is_refused(recipe: Recipe) -> None:
    for target in ((5,), (-1,)):
        with pytest.raises(DataError, match="asks for class"):
            task_of(recipe).scorer(False).take(Rows([RowId("a")], [target], {"scores": np.zeros((1, 5))}, None))


def test_what_is_kept_is_bounded(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_VALUES", 99)
    with pytest.raises(DataError, match="more than 99 numbers"):
        _figures(recipe, *_seeded(20))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('multilabel.activation = "sigmoid"\n', "", r"the task multilabel needs the table \[multilabel\]"),
        ('"sigmoid"', '"softmax"', "multilabel.activation"),
        ('activation = "sigmoid"', 'activation = "none"\nmultilabel.threshold = 1.5', "multilabel.threshold"),
        ('"batch", 5]', '"batch", 6]', "dataset.classes is 5, the width of the output 'scores' is 6"),
        ('"batch", 5]', '"batch", 5, 2]', "a score for each class"),
        ("dataset.classes = 5", "", "dataset.classes is missing"),
        ("dataset.classes = 5", "dataset.classes = 5\ndataset.label_offset = 5", "no label fits"),
        ('["multilabel_mAP", "multilabel_f1"]', '["top1"]', "no metric of multilabel"),
        ('"table"', '"cifar10"', "its labels are class, multilabel takes classes"),
    ],
)
def test_what_is_no_recipe_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match=message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


def test_init_takes_it_where_it_is_named() -> None:
    outputs = [TensorSpec("logits", "float32", ("batch", 20))]
    assert MultiLabel.draft(outputs) is None
    draft = MultiLabel.draft(outputs, alone=False)
    assert draft is not None and draft.classes == 20
    assert {line.key for line in MultiLabel.draft_lines(outputs, {}) if line.guessed} == {
        "multilabel.activation",
        "multilabel.threshold",
    }
    assert MultiLabel.draft([TensorSpec("x", "float32", ("batch", 20, 4))], alone=False) is None


def test_mean_and_f1_of_one_row() -> None:
    truth = np.array([[True, False]])
    each = average_precisions(np.array([[-3.0, 5.0]]), truth)
    assert each[0] == 100 and np.isnan(each[1])
    assert macro_f1(np.array([[False, True]]), truth) == 0 and np.isnan(macro_f1(truth, np.zeros((1, 2), bool)))
