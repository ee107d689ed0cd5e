"""Masks of instances: COCO's figures as pycocotools gives them, read from outputs of every form that is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from coco_oracle import by_pycocotools
from modelport.core.errors import DataError, RecipeError
from modelport.core.placement import Placement
from modelport.core.values import Array, RowId, TensorSpec, Truth
from modelport.data.sets.table import open_dataset
from modelport.recipes.load import parse_recipe
from modelport.recipes.schema import Recipe
from modelport.tasks.scoring import Rows
from modelport.tasks.table import TASKS, task_class, task_of
from things import CATEGORIES, SIZES, drawn_things, hold_that_figures_are_counted_anew

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
RECIPE = """
schema = "modelport.recipe/1"
name = "things"
task = "instances"
metrics = ["mask_mAP", "mask_mAP_50", "mask_mAP_75", "mask_mAP_s", "mask_mAP_m", "mask_mAP_l"]
tensors.inputs = [{ name = "input", dtype = "float32", shape = ["batch", 3, 160, 160] }]
tensors.outputs = [
    { name = "dets", dtype = "float32", shape = ["batch", 12, 5] },
    { name = "labels", dtype = "int64", shape = ["batch", 12] },
    { name = "masks", dtype = "float32", shape = ["batch", 12, 28, 28] },
]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 160, height = 160, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.0], std = [1.0] },
]
dataset.kind = "coco"
dataset.classes = 3
"""
WHOLE = RECIPE.replace("12, 28, 28]", "12, 160, 160]")
INDEX = {number: place for place, (number, _) in enumerate(sorted(CATEGORIES))}


def written(folder: Path, content: dict[str, Any], name: str = "instances") -> Path:
    (folder / "val2017").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for image in content["images"]:
        Image.new("RGB", (image["width"], image["height"])).save(folder / "val2017" / image["file_name"])
    (folder / "annotations" / f"{name}_val2017.json").write_text(json.dumps(content))
    return folder


def opened(text: str, folder: Path) -> tuple[Recipe, dict[int, Truth], tuple[tuple[int, str], ...]]:
    recipe = parse_recipe(text, "x.toml")
    found = open_dataset(recipe, folder)
    return recipe, {sample.target.image_id: sample.target for sample in found}, found.categories


def places() -> list[Placement]:
    """As if images lay in the upper left corner of the input as they are: 160 × 160 holds each."""
    return [Placement(width, height, 1.0, 1.0, 0, 0) for height, width in SIZES]


def answers(content: dict[str, Any], seed: int, frame: int) -> dict[str, Array]:
    """Return outputs that move and reshape what is annotated; masks of the box, or of the input of 160 × 160."""
    rng = np.random.default_rng(seed)
    dets, labels = np.zeros((len(SIZES), 12, 5), np.float32), np.full((len(SIZES), 12), -1, np.int64)
    masks = np.zeros((len(SIZES), 12, frame, frame), np.float32)
    y, x = np.mgrid[0:160, 0:160] + 0.5
    for place, image in enumerate(content["images"]):
        own = [row for row in content["annotations"] if row["image_id"] == image["id"]]
        for slot, row in enumerate(own):
            left, top, wide, high = np.array(row["bbox"]) + rng.normal(0, 1.5, 4)
            wide, high = max(wide, 3), max(high, 3)
            dets[place, slot] = (left, top, left + wide, top + high, rng.uniform(0.1, 1))
            labels[place, slot] = INDEX[row["category_id"]] if rng.random() < 0.9 else 0
            if frame == 160:
                masks[place, slot] = np.hypot((x - left) / wide - 0.5, (y - top) / high - 0.5) < 0.5
            else:
                masks[place, slot] = 1.4 - np.hypot(*np.mgrid[-1 : 1 : frame * 1j, -1 : 1 : frame * 1j])
    return {"dets": dets, "labels": labels, "masks": masks}


def rows(content: dict[str, Any], truths: dict[int, Truth], outputs: dict[str, Array], source: Any = None) -> Rows:
    ids = [image["id"] for image in content["images"]]
    return Rows([RowId(str(one)) for one in ids], [truths[one] for one in ids], outputs, source, places())


@pytest.mark.parametrize("seed", range(3))
def test_masks_of_the_input_equal_pycocotools(seed: int, tmp_path: Path) -> None:
    content = drawn_things(seed)
    for row in content["annotations"][::3]:
        size = next((one["height"], one["width"]) for one in content["images"] if one["id"] == row["image_id"])
        encoded = coco_mask.merge(coco_mask.frPyObjects(row["segmentation"], *size))
        row["segmentation"] = {"size": list(size), "counts": encoded["counts"].decode()}
    recipe, truths, categories = opened(WHOLE, written(tmp_path / "set", content))
    outputs = answers(content, seed, 160)
    results = []
    for place, image in enumerate(content["images"]):
        for slot in np.flatnonzero(outputs["labels"][place] >= 0):
            mask = outputs["masks"][place, slot, : image["height"], : image["width"]] >= 0.5
            encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
            number = categories[outputs["labels"][place, slot]][0]
            score, counts = float(outputs["dets"][place, slot, 4]), encoded["counts"].decode()
            segmentation = {"size": list(mask.shape), "counts": counts}
            results.append(
                {"image_id": image["id"], "category_id": number, "score": score, "segmentation": segmentation}
            )
    want = dict(zip(recipe.metrics, by_pycocotools(content, results, "segm"), strict=True))
    scorer = task_of(recipe, categories).scorer(True)
    lines = scorer.take(rows(content, truths, outputs, outputs))
    figures = scorer.figures()
    assert {name: score.value for name, score in figures.metrics.items()} == pytest.approx(
        {name: value for name, value in want.items() if value > -1}, abs=1e-6
    )
    assert 0.02 < want["mask_mAP"] < 0.9
    assert figures.source == figures.metrics and figures.flips.met == figures.flips.of
    assert figures.flips.of == sum(row["score"] >= 0.25 for row in results)
    assert sum(row["mask_mAP"] for row in figures.per_class) / len(figures.per_class) == pytest.approx(want["mask_mAP"])
    assert len(lines[0]["boxes"]) == (outputs["labels"][0] >= 0).sum()


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_counted_anew_from_the_lines(seed: int, tmp_path: Path) -> None:
    content = drawn_things(seed)
    recipe, truths, categories = opened(RECIPE, written(tmp_path / "set", content))
    source, mine = answers(content, seed, 28), answers(content, seed + 100, 28)
    mine["dets"][0, 0, 4] = np.nan
    task = task_of(recipe, categories)
    figures, samples = hold_that_figures_are_counted_anew(task, rows(content, truths, mine, source))
    assert {"mask_mAP", "mask_mAP_50", "mask_mAP_75"} <= figures.metrics.keys()
    assert not any(sample["agrees"] for sample in samples)
    same = task.scorer(True).take(rows(content, truths, source, source))
    assert all(task.judged(line, truths[line["target"]]).agrees for line in same)


def test_masks_of_boxes_are_pasted_and_their_outputs_told_apart(tmp_path: Path) -> None:
    """Against the same masks, written out at the size of the input."""
    content = drawn_things(5)
    folder = written(tmp_path / "set", content)
    recipe, truths, categories = opened(RECIPE, folder)
    outputs = answers(content, 5, 28)
    scorer = task_of(recipe, categories).scorer(False)
    scorer.take(rows(content, truths, outputs))
    figures = scorer.figures()
    assert any("a mask covers its box, by its size" in note for note in figures.notes)
    split = RECIPE.replace(
        '{ name = "dets", dtype = "float32", shape = ["batch", 12, 5] }',
        '{ name = "scores", dtype = "float32", shape = ["batch", 12] },'
        '{ name = "boxes", dtype = "float32", shape = ["batch", 12, 4] }',
    ).replace('dtype = "int64"', 'dtype = "float32"')
    other = parse_recipe(split + "dataset.label_offset = 0", "x.toml")
    again = task_of(other, categories).scorer(False)
    apart = {
        "boxes": outputs["dets"][..., :4],
        "scores": outputs["dets"][..., 4],
        "labels": outputs["labels"].astype(np.float32),
        "masks": outputs["masks"],
    }
    again.take(rows(content, truths, apart))
    assert again.figures().metrics == figures.metrics and figures.metrics["mask_mAP_50"].value > 0.1


def test_what_is_not_the_sources_is_a_flip(tmp_path: Path) -> None:
    content = drawn_things(6)
    recipe, truths, categories = opened(WHOLE, written(tmp_path / "set", content))
    source = answers(content, 6, 160)
    source["dets"][..., 4] = np.where(source["labels"] >= 0, 0.5, 0)
    mine = {name: array.copy() for name, array in source.items()}
    mine["labels"][0, 0] = (mine["labels"][0, 0] + 1) % 3
    mine["masks"][1, 0] = 0
    scorer = task_of(recipe, categories).scorer(True)
    scorer.take(rows(content, truths, mine, source))
    flips = scorer.figures().flips
    assert flips.of - flips.met == 2 and flips.count == 2
    task = task_of(recipe, categories)
    assert task.difference(mine, source) == pytest.approx(2 / flips.of)
    assert task.difference(source, source) == task.distance([source], [source]) == 0
    blind = task.unlabelled_scorer(True)
    lines = blind.take(rows(content, dict.fromkeys(truths, None), mine, source))  # type: ignore[arg-type]
    assert blind.figures().flips.met == flips.met and not blind.figures().metrics
    assert all(line["target"] is None for line in lines)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"batch", 12, 28, 28', '"batch", 12, 40, 40', "does a mask cover its box, or the whole input"),
        ('"batch", 12, 28, 28', '"batch", 12, 28', "the outputs are .*wanted are dets"),
        ('"batch", 12, 5]', '"batch", 12, 6]', "the outputs are .*wanted are dets"),
        ("dataset.classes = 3\n", "", "dataset.classes is missing"),
        ("3, 160, 160]", '3, "h", "w"]', "give height and width"),
        ("dataset.classes", 'instances.frame = "bx"\ndataset.classes', "frame"),
        ("dataset.classes", "keypoints.sigmas = [0.1]\ndataset.classes", "the table keypoints belongs to the task"),
        ('kind = "coco"', 'kind = "imagenet"', "its labels are class or identity, instances takes outlines"),
    ],
)
def test_a_recipe_that_is_none_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError, match=message):
        parse_recipe(RECIPE.replace(old, new), "x.toml")
    told = RECIPE.replace("12, 28, 28]", "12, 40, 40]") + 'instances.frame = "box"'
    assert parse_recipe(told, "x.toml").tables


@pytest.mark.parametrize("task", ["instances", "keypoints"])
def test_the_number_of_classes_must_be_told_of_images_without_labels_too(task: str) -> None:
    text = RECIPE.replace("dataset.classes = 3\n", "").replace('kind = "coco"', 'kind = "images"')
    text = (
        text
        if task == "instances"
        else text.replace("instances", task).replace("mask_", "oks_").replace('"oks_mAP_s", ', "")
    )
    with pytest.raises(RecipeError, match="a thing has one of so many"):
        parse_recipe(text, "x.toml")


def segmentation(value: Any) -> dict[str, Any]:
    return {"segmentation": value}


HUGE = {"size": [100_000, 100_000], "counts": [10**10]}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "none": (segmentation([]), "there is no segmentation"),
    "a text": (segmentation("x"), "segmentation 'x' is no outline"),
    "two points": (segmentation([[1, 2, 3, 4]]), "polygon 0 of its segmentation is no list of x and y of three points"),
    "an odd number": (segmentation([[1, 2, 3, 4, 5, 6, 7]]), "polygon 0"),
    "a second one": (segmentation([[1, 2, 3, 4, 5, 6], [1, "x", 3, 4, 5, 6]]), "polygon 1 of its segmentation"),
    "far away": (segmentation([[1, 2, 3, 1e9, 5, 6]]), "polygon 0 .*within ±100000 pixels"),
    "endless": (segmentation([[0, 0, 99_999, 0] * 20]), "its segmentation is more than 1e.06 pixels long"),
    "endless in parts": (segmentation([[0, 0, 99_999, 0, 0, 9]] * 6), "its segmentation is more than 1e.06 pixels"),
    "no size": (segmentation({"counts": [1]}), r"the size \(none\) of its segmentation"),
    "a huge size": (segmentation(HUGE), "100000 × 100000 pixels, beyond the limit"),
    "too few runs": (segmentation({"size": [4, 5], "counts": [3, 4]}), "are 7 pixels, its size says 5 × 4"),
    "runs below 0": (segmentation({"size": [4, 5], "counts": [21, -1]}), "are no runs of pixels"),
    "no encoding": (segmentation({"size": [4, 5], "counts": "\u00e4\u00f6"}), "are no runs of pixels"),
    "an encoding cut off": (segmentation({"size": [4, 5], "counts": "P"}), "are no runs of pixels"),
    "a number without end": (segmentation({"size": [4, 5], "counts": "o" * 99 + "0"}), "are no runs of pixels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_outlines_that_are_none_are_named(name: str, tmp_path: Path) -> None:
    content = drawn_things(0)
    content["annotations"][4] |= WRONG[name][0]
    folder = written(tmp_path / "set", content)
    with pytest.raises(DataError, match=rf"instances_val2017.json: annotation 5: .*{WRONG[name][1]}"):
        opened(RECIPE, folder)


def test_boxes_alone_do_not_ask_for_outlines(tmp_path: Path) -> None:
    content = drawn_things(0)
    content["annotations"][4] |= segmentation("x")
    boxes = RECIPE.replace('"instances"', '"detection"').replace("mask_mAP", "mAP")
    boxes = boxes.replace('    { name = "masks", dtype = "float32", shape = ["batch", 12, 28, 28] },\n', "")
    _, truths, _ = opened(boxes, written(tmp_path / "set", content))
    assert all(truth.outlines == () for truth in truths.values())


def test_a_mask_for_another_size_is_named(tmp_path: Path) -> None:
    content = drawn_things(0)
    content["annotations"][0]["segmentation"] = {"size": [5, 6], "counts": [30]}
    recipe, truths, categories = opened(RECIPE, written(tmp_path / "set", content))
    with pytest.raises(DataError, match="image 10: a mask is encoded for 6 × 5 pixels, the image is 160 × 120"):
        task_of(recipe, categories).scorer(False).take(rows(content, truths, answers(content, 0, 28)))


def test_an_image_that_lies_nobody_knows_where_is_refused(tmp_path: Path) -> None:
    content = drawn_things(0)
    recipe, truths, categories = opened(RECIPE, written(tmp_path / "set", content))
    lost = replace(rows(content, truths, answers(content, 0, 28)), placements=[None] * len(SIZES))
    with pytest.raises(RecipeError, match="a resize follows a crop"):
        task_of(recipe, categories).scorer(False).take(lost)


def test_a_data_set_without_categories_is_refused() -> None:
    with pytest.raises(DataError, match="names no categories"):
        task_of(parse_recipe(RECIPE, "x.toml")).scorer(False)


def drafted(*shapes: tuple[int, ...], named: str | None = None) -> str | None:
    """Return the first task that takes outputs of these shapes; labels are those of one axis, scores come before."""
    ones = iter(["labels", "scores"] if sum(len(shape) == 1 for shape in shapes) > 1 else ["labels"])
    specs = []
    for place, shape in enumerate(shapes):
        name = next(ones) if len(shape) == 1 else f"output{place}"
        specs.append(TensorSpec(name, "int64" if name == "labels" else "float32", ("batch", *shape)))
    names = list(TASKS) if named is None else [named]
    return next((name for name in names if task_class(name).draft(specs, alone=named is None)), None)


def test_a_draft_is_the_task_that_the_outputs_tell() -> None:
    assert drafted((100, 5), (100,), (100, 28, 28)) == "instances"
    assert drafted((100, 4), (100,), (100,), (100, 160, 160)) == "instances"
    assert drafted((100, 5), (100,), (100, 17, 3)) == "keypoints"
    assert drafted((100, 5), (100, 17, 2)) == "keypoints"
    assert drafted((100, 5), (100,), (100, 5, 3)) == "outputs"
    assert drafted((100, 5), (100,), (100, 5, 3), named="keypoints") == "keypoints"
    assert drafted((100, 5), (100,)) == "detection"
    assert drafted((1000,)) == "outputs" and drafted((21, 65, 65)) == "segmentation"
    assert drafted((116, 8400), (32, 160, 160)) == "outputs"  # boxes beside prototypes of masks
