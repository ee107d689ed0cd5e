"""Keypoints: COCO's figures as pycocotools gives them, and which of the source's are met."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coco_oracle import by_pycocotools
from modelport.core.errors import DataError, RecipeError
from modelport.core.placement import Placement
from modelport.core.values import Array, RowId, Truth
from modelport.data.sets.table import open_dataset
from modelport.recipes.load import parse_recipe
from modelport.recipes.schema import Recipe
from modelport.tasks.keypoints.task import COCO_SIGMAS
from modelport.tasks.scoring import Rows
from modelport.tasks.table import task_of
from things import CATEGORIES, drawn_things, hold_that_figures_are_counted_anew

RECIPE = """
schema = "modelport.recipe/1"
name = "poses"
task = "keypoints"
metrics = ["oks_mAP", "oks_mAP_50", "oks_mAP_75", "oks_mAP_m", "oks_mAP_l"]
tensors.inputs = [{ name = "input", dtype = "float32", shape = ["batch", 3, 64, 96] }]
tensors.outputs = [
    { name = "dets", dtype = "float32", shape = ["batch", 12, 5] },
    { name = "labels", dtype = "int64", shape = ["batch", 12] },
    { name = "points", dtype = "float32", shape = ["batch", 12, 17, 3] },
]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 96, height = 64, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.0], std = [1.0] },
]
dataset.kind = "coco"
dataset.classes = 3
"""
FIVE = RECIPE.replace("12, 17, 3]", "12, 5, 3]") + "keypoints.sigmas = [0.05, 0.1, 0.08, 0.05, 0.2]"
INDEX = {number: place for place, (number, _) in enumerate(sorted(CATEGORIES))}


def written(folder: Path, content: dict[str, Any]) -> Path:
    (folder / "val2017").mkdir(parents=True)
    for image in content["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(folder / "val2017" / image["file_name"])
    (folder / "person_keypoints_val2017.json").write_text(json.dumps(content))
    return folder


def opened(text: str, folder: Path) -> tuple[Recipe, dict[int, Truth], tuple[tuple[int, str], ...]]:
    recipe = parse_recipe(text, "x.toml")
    found = open_dataset(recipe, folder)
    return recipe, {sample.target.image_id: sample.target for sample in found}, found.categories


def answers(content: dict[str, Any], seed: int, points: int) -> tuple[dict[str, Array], list[dict[str, Any]]]:
    """Return outputs in pixels of the input that nearly meet the annotations, and the same as COCO's result list."""
    rng = np.random.default_rng(seed)
    count = len(content["images"])
    dets, labels = np.zeros((count, 12, 5), np.float32), np.full((count, 12), -1, np.int64)
    places, results = np.zeros((count, 12, points, 3), np.float32), []
    for number, image in enumerate(content["images"]):
        scale = np.array([96 / image["width"], 64 / image["height"]])
        own = [row for row in content["annotations"] if row["image_id"] == image["id"]]
        for slot, row in enumerate(own):
            true = np.array(row["keypoints"]).reshape(-1, 3)[:, :2]
            found = true + rng.normal(0, rng.uniform(0, 6), true.shape)
            kind, score = row["category_id"], float(np.float32(rng.uniform(0.1, 1)))
            low, high = found.min(axis=0) * scale, found.max(axis=0) * scale
            dets[number, slot], labels[number, slot] = (*low, *high, score), INDEX[kind]
            places[number, slot, :, :2], places[number, slot, :, 2] = found * scale, 0.9
            # In the precision in which the network gives them.
            exact = places[number, slot, :, :2].astype(np.float64) / scale
            flat = np.concatenate([exact, np.ones((points, 1))], axis=1).ravel().tolist()
            results.append({"image_id": image["id"], "category_id": kind, "score": score, "keypoints": flat})
    return {"dets": dets, "labels": labels, "points": places}, results


def rows(content: dict[str, Any], truths: dict[int, Truth], outputs: dict[str, Array], source: Any = None) -> Rows:
    images = content["images"]
    lies = [Placement(one["width"], one["height"], 96 / one["width"], 64 / one["height"], 0, 0) for one in images]
    return Rows([RowId(str(one["id"])) for one in images], [truths[one["id"]] for one in images], outputs, source, lies)


@pytest.mark.parametrize("points", [17, 5])
@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_pycocotools(seed: int, points: int, tmp_path: Path) -> None:
    content = drawn_things(seed, points)
    recipe, truths, categories = opened(RECIPE if points == 17 else FIVE, written(tmp_path / "set", content))
    outputs, results = answers(content, seed, points)
    sigmas = list(COCO_SIGMAS) if points == 17 else [0.05, 0.1, 0.08, 0.05, 0.2]
    want = dict(zip(recipe.metrics, by_pycocotools(content, results, "keypoints", sigmas), strict=True))
    scorer = task_of(recipe, categories).scorer(True)
    scorer.take(rows(content, truths, outputs, outputs))
    figures = scorer.figures()
    assert {name: score.value for name, score in figures.metrics.items()} == pytest.approx(
        {name: value for name, value in want.items() if value > -1}, abs=1e-6
    )
    assert 0.05 < want["oks_mAP"] < 0.99
    assert figures.source == figures.metrics and figures.flips.met == figures.flips.of


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_counted_anew_from_the_lines(seed: int, tmp_path: Path) -> None:
    content = drawn_things(seed, 5)
    recipe, truths, categories = opened(FIVE, written(tmp_path / "set", content))
    source, mine = answers(content, seed, 5)[0], answers(content, seed + 100, 5)[0]
    truths[10] = replace(truths[10], keypoints=None)  # as where none of an image's annotations has keypoints
    mine["points"][0, 0, 1] = np.nan
    task = task_of(recipe, categories)
    figures, samples = hold_that_figures_are_counted_anew(task, rows(content, truths, mine, source))
    assert {"oks_mAP", "oks_mAP_50", "oks_mAP_75"} <= figures.metrics.keys()
    assert not any(samples[0]["target"]["num_keypoints"]) and len(samples[0]["target"]["num_keypoints"]) > 1


def test_what_is_not_the_sources_is_a_flip(tmp_path: Path) -> None:
    content = drawn_things(7, 17)
    recipe, truths, categories = opened(RECIPE, written(tmp_path / "set", content))
    source, _ = answers(content, 7, 17)
    source["dets"][..., 4] = np.where(source["labels"] >= 0, 0.6, 0)
    mine = {name: array.copy() for name, array in source.items()}
    mine["labels"][0, 0] = (mine["labels"][0, 0] + 1) % 3
    mine["points"][1, 0, :, 0] += 20
    mine["points"][2, 0, :, 1] += 0.01
    mine["points"][3, 0, 4:9] = np.nan
    task = task_of(recipe, categories)
    scorer = task.scorer(True)
    scorer.take(rows(content, truths, mine, source))
    flips = scorer.figures().flips
    assert (flips.of - flips.met, flips.count) == (3, 3)
    assert task.difference(source, source) == 0 == task.distance([source], [source])
    assert task.difference(mine, source) > 0


def test_one_class_needs_no_labels_and_scores_of_points_are_not_looked_at(tmp_path: Path) -> None:
    content = drawn_things(8, 17)
    content["categories"] = [{"id": 1, "name": "person"}]
    for row in content["annotations"]:
        row["category_id"] = 1
    folder = written(tmp_path / "set", content)
    label = '    { name = "labels", dtype = "int64", shape = ["batch", 12] },\n'
    alone = RECIPE.replace(label, "").replace("12, 17, 3]", "12, 17, 2]").replace("classes = 3", "classes = 1")
    recipe, truths, categories = opened(alone, folder)
    numbered = [{**row, "category_id": 1} for row in content["annotations"]]
    outputs, results = answers(content | {"annotations": numbered}, 8, 17)
    bare = {"dets": outputs["dets"], "points": outputs["points"][..., :2]}
    scorer = task_of(recipe, categories).scorer(False)
    scorer.take(rows(content, truths, bare))
    want = by_pycocotools(content, results, "keypoints")
    assert scorer.figures().metrics["oks_mAP"].value == pytest.approx(want[0], abs=1e-6)
    with pytest.raises(RecipeError, match=r"the outputs are .*wanted are dets"):
        parse_recipe(RECIPE.replace(label, ""), "x.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("12, 17, 3]", "12, 16, 3]", "keypoints.sigmas is missing: 'points' has 16 keypoints"),
        ("12, 17, 3]", "12, 17, 4]", "wanted are keypoints"),
        ("dataset.classes", "keypoints.sigmas = [0.1, 0.2]\ndataset.classes", "keypoints.sigmas has 2 numbers"),
        ("dataset.classes", "keypoints.sigmas = [0.0]\ndataset.classes", "sigmas"),
        ("dataset.classes = 3\n", "", "dataset.classes is missing"),
        ("3, 64, 96]", '3, "h", "w"]', "give height and width"),
    ],
)
def test_a_recipe_that_is_none_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError, match=message):
        parse_recipe(RECIPE.replace(old, new), "x.toml")


WRONG: dict[str, tuple[Any, str]] = {
    "two numbers a point": ([1, 2] * 17, r"annotation 5: keypoints \[1, 2, .* are no x, y and visibility"),
    "a text": ("x", "annotation 5: keypoints 'x' are no x, y"),
    "far away": ([1e9, 2, 2] * 17, "annotation 5: keypoints .* are no x, y"),
    "another visibility": ([1, 2, 3] * 17, "annotation 5: a keypoint's visibility is 3"),
    "none": ([], "annotation 5: keypoints .* are no x, y"),
}


@pytest.mark.parametrize("name", WRONG)
def test_keypoints_that_are_none_are_named(name: str, tmp_path: Path) -> None:
    content = drawn_things(0, 17)
    content["annotations"][4]["keypoints"] = WRONG[name][0]
    with pytest.raises(DataError, match=f"person_keypoints_val2017.json: {WRONG[name][1]}"):
        opened(RECIPE, written(tmp_path / "set", content))


def test_another_number_of_keypoints_is_named(tmp_path: Path) -> None:
    content = drawn_things(0, 17)
    recipe, truths, categories = opened(FIVE, written(tmp_path / "set", content))
    outputs, _ = answers(content, 0, 17)
    outputs["points"] = outputs["points"][:, :, :5]
    with pytest.raises(DataError, match="image 10: 17 keypoints are annotated, the network gives 5"):
        task_of(recipe, categories).scorer(False).take(rows(content, truths, outputs))
    content["annotations"][0]["keypoints"] = [1, 2, 2] * 5
    with pytest.raises(DataError, match="image 10: 5 and 17 keypoints"):
        opened(RECIPE, written(tmp_path / "two", content))


def test_things_without_keypoints_are_not_missed(tmp_path: Path) -> None:
    """A bicycle among people: what lies in it is neither found nor missed, as with none labelled."""
    content = drawn_things(9, 17)
    for row in content["annotations"][::2]:
        row |= {"keypoints": [0, 0, 0] * 17, "num_keypoints": 0}
    _, with_zeros, _ = opened(RECIPE, written(tmp_path / "zeros", content))
    for row in content["annotations"][::2]:
        del row["keypoints"]
    _, without, _ = opened(RECIPE, written(tmp_path / "none", content))
    for number, truth in without.items():
        assert truth.keypoints is not None
        np.testing.assert_array_equal(truth.keypoints, with_zeros[number].keypoints)


def test_an_image_that_lies_nobody_knows_where_is_refused(tmp_path: Path) -> None:
    content = drawn_things(0, 17)
    recipe, truths, categories = opened(RECIPE, written(tmp_path / "set", content))
    one = rows(content, truths, answers(content, 0, 17)[0])
    with pytest.raises(RecipeError, match="a resize follows a crop"):
        task_of(recipe, categories).scorer(False).take(replace(one, placements=[None] * len(one.ids)))
