"""Every change is another recipe of the same input, no two are the same, and each can be undone by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors import recipe_of
from modelport.core.values import RowId
from modelport.diagnose.changes.chains import effect
from modelport.diagnose.changes.labels import permutation_change
from modelport.diagnose.changes.table import changed_recipes, changes_for
from modelport.diagnose.changes.weights import weight_changes
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of

BUILT_IN = ("moco-v2", "vit-b-16", "yolov7-e6", "nas-fpn", "simclr", "deeplab-v3", "inception-v3")


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_change_is_another_sound_recipe_of_the_same_input(name: str) -> None:
    recipe = load_recipe(name)
    found = changed_recipes(recipe, task_of(recipe))
    assert len(found) > 5
    seen = {effect(recipe)}
    for changed in found:
        if changed.change.recipe is not None:
            again = Recipe.model_validate(changed.recipe.to_json())
            assert again.signature == recipe.signature, changed.change
            assert effect(changed.recipe) not in seen, changed.change
            seen.add(effect(changed.recipe))
        assert changed.change.sentence and changed.change.value
        parts = (changed.change.recipe, changed.change.inputs, changed.change.outputs, changed.change.target)
        assert sum(part is not None for part in (*parts, changed.change.placement)) == 1
    pairs = [(changed.change.kind, changed.change.value) for changed in found]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("name", ["moco-v2", "yolov7-e6"])
def test_what_a_change_plants_a_change_mends(name: str) -> None:
    recipe = load_recipe(name)
    kinds = set()
    for planted in changed_recipes(recipe, task_of(recipe)):
        if planted.change.recipe is None or planted.recipe == recipe:
            continue
        back = {effect(changed.recipe) for changed in changed_recipes(planted.recipe, task_of(planted.recipe))}
        if effect(recipe) in back:
            kinds.add(planted.change.kind)
        else:
            # A crop or a letterbox that no published setting has is not among the changes.
            assert planted.change.kind in ("crop_ratio", "resize", "letterbox", "label_offset"), planted.change
    wanted = {"channel_order", "exif_rotation", "divide", "mean_std", "interpolation"}
    letterbox = {"letterbox_colour", "letterbox_place", "letterbox_enlarge", "boxes", "normalised"}
    assert wanted | (letterbox if name == "yolov7-e6" else {"crop_ratio"}) <= kinds


def test_a_change_says_nothing_to_a_recipe_without_such_a_step(tmp_path: Path) -> None:
    arrays = load_recipe("moco-v2").to_json()
    arrays["preprocess"] = [
        {"step": "decode_array", "channels": 3},
        {"step": "resize", "width": 224, "height": 224, "interpolation": "bilinear"},
        {"step": "normalize", "divide": 255.0, "mean": [0.5], "std": [0.5]},
    ]
    recipe = Recipe.model_validate(arrays)
    kinds = {change.kind for change in changes_for(recipe, task_of(recipe))}
    assert not kinds & {"channel_order", "exif_rotation", "letterbox", "crop_ratio"}
    assert {"divide", "mean_std", "interpolation"} <= kinds


def test_mean_and_std_follow_the_order_of_the_channels() -> None:
    recipe = load_recipe("moco-v2")
    steps = [step.model_dump() for step in recipe.preprocess]
    blue = recipe.to_json() | {"preprocess": [steps[0] | {"color": "BGR"}, *steps[1:]]}
    found = changed_recipes(Recipe.model_validate(blue), task_of(recipe))
    clip = next(changed for changed in found if (changed.change.kind, changed.change.value) == ("mean_std", "clip"))
    assert clip.recipe.preprocess[-1].model_dump()["mean"] == (0.40821073, 0.4578275, 0.48145466)


def test_labels_in_another_order_become_what_sorting_says() -> None:
    recipe = load_recipe("moco-v2")
    labels = recipe.dataset.classes or 0
    for changed in changed_recipes(recipe, task_of(recipe)):
        change = changed.change
        if change.target is None or change.kind != "class_order":
            continue
        moved = [change.target(label) for label in range(labels)]
        assert sorted(moved) == list(range(labels))
        if change.value == "as text":
            words = sorted(map(str, range(labels)))
            assert [words[to] for to in moved] == [str(label) for label in range(labels)]
        if change.value == "as numbers from 1":
            words = sorted(str(label + 1) for label in range(labels))
            assert [int(words[label]) - 1 for label in range(labels)] == moved


def test_a_permutation_is_learned_from_answers() -> None:
    truth = np.random.default_rng(0).integers(0, 5, 200)
    order = np.array([1, 2, 0, 3, 4])
    ids = [RowId(str(row)) for row in range(200)]
    change = permutation_change(ids, truth.tolist(), order[truth], 0)
    assert change is not None and change.target is not None
    assert [change.target(label) for label in range(5)] == order.tolist()
    assert permutation_change(ids, truth.tolist(), truth, 0) is None


@pytest.mark.parametrize("size", [(2, 8, 8), (3, 5, 7)])
def test_bytes_in_the_other_layout_are_the_same_bytes(size: tuple[int, int, int]) -> None:
    recipe = load_recipe("moco-v2")
    change = next(one for one in changes_for(recipe, task_of(recipe)) if one.value == "NHWC bytes")
    assert change.inputs is not None
    rows = np.arange(2 * np.prod(size), dtype=np.float32).reshape(2, *size)
    moved = change.inputs(rows)
    assert moved.shape == rows.shape
    channels, height, width = size
    assert (moved.reshape(2, height, width, channels).transpose(0, 3, 1, 2) == rows).all()


def test_a_softmax_that_was_applied_twice_is_taken_back() -> None:
    logits = np.random.default_rng(0).normal(0, 4, (40, 10))
    once = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    twice = np.exp(once) / np.exp(once).sum(axis=1, keepdims=True)
    recipe = load_recipe("moco-v2")
    change = next(one for one in changes_for(recipe, task_of(recipe)) if one.kind == "softmax")
    assert change.outputs is not None
    name = recipe.tensors.outputs[0].name
    assert np.allclose(change.outputs({name: twice})[name], once, atol=1e-6)


def test_boxes_of_an_end_to_end_detector_become_corners() -> None:
    recipe = recipe_of([("dets", "float32", ["batch", 5, 6])], detection='form = "end_to_end"')
    found = {one.value: one for one in changes_for(recipe, task_of(recipe)) if one.kind == "boxes"}
    corners = np.array([[[10.0, 20.0, 30.0, 60.0, 0.9, 1.0]]])
    spelled = {"yxyx": [20, 10, 60, 30], "cxcywh": [20, 40, 20, 40], "xywh": [10, 20, 20, 40]}
    for value, numbers in spelled.items():
        given = corners.copy()
        given[0, 0, :4] = numbers
        change = found[value]
        assert change.outputs is not None and np.allclose(change.outputs({"dets": given})["dets"], corners)


def test_a_class_lies_one_later_in_every_form() -> None:
    forms: dict[str, tuple[list[tuple[str, str, Any]], str]] = {
        "dets": ([("dets", "float32", ["batch", 4, 5]), ("labels", "int64", ["batch", 4])], ""),
        "yolov8": ([("out", "float32", ["batch", 7, 21])], 'form = "yolov8"'),
        "yolov5": ([("out", "float32", ["batch", 63, 8])], 'form = "yolov5"'),
        "end_to_end": ([("out", "float32", ["batch", 4, 6])], 'form = "end_to_end"'),
    }
    rng = np.random.default_rng(0)
    for form, (outputs, detection) in forms.items():
        recipe = recipe_of(outputs, detection=detection)
        change = next(
            one for one in changes_for(recipe, task_of(recipe)) if (one.kind, one.value) == ("label_offset", "-1")
        )
        given = {name: rng.random((1, *shape[1:])).astype(np.float32) for name, _, shape in outputs}
        if form == "dets":
            given["labels"] = np.array([[0, 1, 2, -1]])
        if form == "end_to_end":
            given["out"][0, :, 5] = [0, 1, 2, 1]
        assert change.outputs is not None
        moved = change.outputs(given)
        decoder = task_of(recipe)._decoder  # type: ignore[attr-defined]
        before, after = (decoder.found(answers, 0) for answers in (given, moved))
        kept = sorted(zip(before.classes.tolist(), before.scores.tolist(), strict=True))
        wanted = sorted((kind + 1, score) for kind, score in kept if kind < 2)
        assert sorted(zip(after.classes.tolist(), after.scores.tolist(), strict=True)) == wanted, form


def test_a_sigmoid_too_few_is_added_and_one_too_many_taken_back() -> None:
    rng, sides = np.random.default_rng(0), (slice(None), slice(4, None))  # behind a YOLOv8's boxes
    logits = rng.normal(0, 3, (1, 7, 21)).astype(np.float32)
    recipe = recipe_of([("out", "float32", ["batch", 7, 21])], detection='form = "yolov8"')
    found = {one.value: one.outputs for one in changes_for(recipe, task_of(recipe)) if one.kind == "sigmoid"}
    applied, once = found["applied"], found["once"]
    assert applied is not None and once is not None
    rated = applied({"out": logits})
    assert np.allclose(rated["out"][sides], 1 / (1 + np.exp(-logits[sides])), atol=1e-6)
    assert (rated["out"][:, :4] == logits[:, :4]).all()
    assert np.allclose(once(applied(rated))["out"], rated["out"], atol=1e-5)


def test_the_other_weights_of_a_file_are_changes(tiny: Recipe, tmp_path: Path) -> None:
    import torch

    path = tmp_path / "both.pth"
    torch.save({"model": {"a": torch.ones(2)}, "model_ema": {"a": torch.zeros(2)}, "epoch": 3}, path)
    found = list(weight_changes(tiny, path))
    assert [change.value for change in found] == ["model", "model_ema"]
    assert "averaged" in found[1].sentence and found[1].mend == "--checkpoint-key model_ema"
    assert found[1].recipe is not None
    changed = found[1].recipe(tiny)
    assert changed is not None and changed.checkpoint.unwrap == ["model_ema"]
    torch.save({"state_dict": {"a": torch.ones(2)}}, path)
    assert not list(weight_changes(tiny, path))
    assert not list(weight_changes(tiny, tmp_path / "missing.pth"))
