"""The scorer of masks: figures over images of all sizes, labels as the recipe reads them, agreement by pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from modelport.core.errors import DataError, RecipeError
from modelport.core.placement import Placement
from modelport.core.values import Array, RowId, TensorSpec
from modelport.recipes.load import parse_recipe
from modelport.tasks.scoring import Flips, Rows
from modelport.tasks.segmentation.task import ALIKE, UNLABELLED, PixelFlips, Segmentation
from modelport.tasks.table import TASKS, task_class, task_of
from modelport.verdict.soundness import Soundness
from oracles import torchmetrics
from segmenter import RECIPE, Held

SIZES = [(60, 90), (48, 64), (31, 17)]


def rows(
    scores: Array, masks: list[Array], source: Array | None = None, placements: list[Placement | None] | None = None
) -> Rows:
    """Return rows of images that were squashed into the input."""
    places = placements or [
        Placement(mask.shape[1], mask.shape[0], 64 / mask.shape[1], 48 / mask.shape[0], 0, 0) for mask in masks
    ]
    ids = [RowId(str(number)) for number in range(len(masks))]
    outputs = {"scores": scores}
    return Rows(ids, [Held(mask) for mask in masks], outputs, None if source is None else {"scores": source}, places)


def seeded(seed: int, classes: int = 5) -> tuple[Array, list[Array]]:
    """Return scores that are mostly right, and masks with pixels that are not counted."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (len(SIZES), 12, 16))
    scores = rng.normal(size=(len(SIZES), classes, 12, 16)) + 2.5 * np.eye(classes)[coarse].transpose(0, 3, 1, 2)
    masks = []
    for one, (height, width) in zip(coarse, SIZES, strict=True):
        mask = one[np.arange(height) * 12 // height][:, np.arange(width) * 16 // width]
        masks.append(np.where(rng.random(mask.shape) < 0.1, 255, mask))
    return scores.astype(np.float32), masks


def answers(scores: Array, sizes: list[tuple[int, int]]) -> list[torch.Tensor]:
    """Return the classes at the images' sizes, by PyTorch."""
    whole = interpolate(torch.from_numpy(scores), (48, 64), mode="bilinear", align_corners=False)
    return [
        interpolate(one[None], size, mode="bilinear", align_corners=False)[0].argmax(0)
        for one, size in zip(whole, sizes, strict=True)
    ]


def test_figures_are_those_of_the_library_on_interpolated_scores() -> None:
    scores, masks = seeded(0)
    scorer = task_of(parse_recipe(RECIPE, "x.toml")).scorer(False)
    lines = scorer.take(rows(scores, masks))
    given = torch.cat([one.ravel() for one in answers(scores, SIZES)])
    wanted = torch.cat([torch.from_numpy(mask).ravel() for mask in masks])
    library, words = torchmetrics().classification, {"num_classes": 5, "ignore_index": 255}
    figures = scorer.figures()
    miou = 100 * library.multiclass_jaccard_index(given, wanted, average="macro", **words).item()
    assert 40 < miou < 99
    assert figures.metrics["miou"].value == pytest.approx(miou, abs=1e-4)
    accuracy = 100 * library.multiclass_accuracy(given, wanted, average="micro", **words).item()
    assert figures.metrics["pixel_accuracy"].value == pytest.approx(accuracy, abs=1e-4)
    assert figures.metrics["miou"].n == 3 and figures.source is None
    assert [row["name"] for row in figures.per_class] == ["background", "car", "stop sign", "umbrella", "banana"]
    assert figures.per_class[1]["source"] is None
    assert any("10" in note and "their masks say 255" in note for note in figures.notes)
    first = library.multiclass_accuracy(answers(scores, SIZES)[0], torch.from_numpy(masks[0]), average="micro", **words)
    assert lines[0]["pixel_accuracy"] == pytest.approx(100 * first.item(), abs=1e-4)
    assert sum(share for _, share in lines[0]["classes"]) == pytest.approx(100)


def test_the_source_is_scored_on_the_same_images_and_pixels_agree() -> None:
    scores, masks = seeded(1)
    source = scores.copy()
    source[1] = -source[1]
    scorer = task_of(parse_recipe(RECIPE, "x.toml")).scorer(True)
    lines = scorer.take(rows(scores, masks, source))
    figures = scorer.figures()
    pairs = zip(answers(scores, SIZES), answers(source, SIZES), strict=True)
    shares = [float((mine == theirs).double().mean()) for mine, theirs in pairs]
    assert shares[0] == shares[2] == 1.0 and shares[1] < 0.5
    assert figures.flips.met == pytest.approx(sum(shares)) and figures.flips.of == 3
    assert figures.flips.count == 1 and figures.flips.first[0]["id"] == "1"
    assert [line["source_same"] for line in lines] == pytest.approx(shares)
    assert figures.source is not None and figures.source["miou"].value < figures.metrics["miou"].value
    assert figures.per_class[0]["source"] < figures.per_class[0]["iou"]
    checks = {check.name: check.verdict for check in Soundness(Segmentation).checks(figures, "fp32")}
    assert checks["miou_above_chance"] == "inconclusive"  # three images tell nothing


def test_labels_are_not_looked_at_where_there_are_none() -> None:
    scores, masks = seeded(2)
    task = task_of(parse_recipe(RECIPE, "x.toml"))
    assert task.placeholder == UNLABELLED
    blind, seeing = task.unlabelled_scorer(True), task.scorer(True)
    lines = blind.take(replace(rows(scores, masks, -scores), targets=(None,) * 3))
    assert all(line["target"] is None and "miou" not in line for line in lines)
    seeing.take(rows(scores, masks, -scores))
    found = blind.figures()
    assert (found.metrics, found.source) == ({}, {})
    assert found.flips.met == seeing.figures().flips.met


def test_the_lowest_agreement_is_listed() -> None:
    flips, shares = PixelFlips(), np.random.default_rng(0).uniform(0.9, 1, 400)
    for place, share in enumerate(shares):
        flips.add(float(share), 1, {"id": str(place)})
    low = np.argsort(shares)[: Flips.LISTED]
    assert [flip["id"] for flip in flips.first] == [str(place) for place in low]
    assert flips.count == (shares < ALIKE).sum() and flips.met == pytest.approx(shares.sum())


def figures_of(text: str, mask: list[list[int]]) -> float:
    """Return the accuracy of naming class 1 everywhere."""
    recipe = parse_recipe(text, "x.toml")
    scores = np.zeros((1, 5, 12, 16), np.float32)
    scores[:, 1] = 1
    scorer = task_of(recipe).scorer(False)
    scorer.take(rows(scores, [np.array(mask)]))
    figures = scorer.figures()
    assert {row["name"] for row in figures.per_class if row["class"] == 1} == {"car"}
    return figures.metrics["pixel_accuracy"].value


def test_values_are_read_as_the_recipe_says() -> None:
    mask = [[1, 1, 2, 255], [0, 2, 2, 2]]
    offset = RECIPE.replace("dataset.classes = 5", "dataset.classes = 5\ndataset.label_offset = 1")
    offset = offset.replace('"background", ', "")
    assert figures_of(RECIPE, mask) == pytest.approx(100 * 2 / 7)
    assert figures_of(RECIPE + "segmentation.ignore_index = 0", [[1, 1], [0, 2]]) == pytest.approx(100 * 2 / 3)
    assert figures_of(RECIPE + "segmentation.reduce_zero_label = true", mask) == pytest.approx(100 * 4 / 6)
    assert figures_of(offset, [[0, 0], [1, 2]]) == pytest.approx(50)
    many = RECIPE.replace("dataset.classes = 5", "dataset.classes = 256").replace('"batch", 5, 12', '"batch", 256, 12')
    recipe = parse_recipe(many.replace("dataset.names", "# "), "x.toml")
    scorer = task_of(recipe).scorer(False)
    scores = np.zeros((1, 256, 12, 16), np.float32)
    scores[:, 255] = 1
    scorer.take(rows(scores, [np.full((4, 4), 255)]))
    assert scorer.figures().metrics["miou"].value == 100, "255 is a class where there are 256"


@pytest.mark.parametrize(
    ("text", "mask", "message"),
    [
        (RECIPE, [[0, 1], [7, 1]], r"one.png: the pixel in column 0, row 1 is 7, which is no class \(0 to 4\) and not"),
        (RECIPE + "segmentation.ignore_index = 7", [[0, 255]], r"row 0 is 255, which is no class \(0 to 4\).*\(7\)"),
        (
            RECIPE + "segmentation.reduce_zero_label = true",
            [[6]],
            r"is 6, which is no class \(1 to 5\) and not ignored \(0 or 255\)",
        ),
        (RECIPE, [[255, 255]], "no pixel was scored: every one has the value 255"),
    ],
)
def test_a_value_that_is_no_class_is_named(text: str, mask: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        figures_of(text, mask)


def test_a_mask_of_another_size_than_the_decoded_image_is_named() -> None:
    scores, masks = seeded(3)
    scorer = task_of(parse_recipe(RECIPE, "x.toml")).scorer(False)
    one = rows(scores[:1], masks[:1])
    for size, message in (((90, 61), "is 90 × 60, its image 90 × 61"), ((60, 90), "turned by its EXIF")):
        with pytest.raises(DataError, match=message):
            scorer.take(replace(one, placements=[Placement(*size, 1.0, 1.0, 0, 0)]))
    with pytest.raises(RecipeError, match="a resize follows a crop"):
        scorer.take(replace(one, placements=[None]))


def test_what_is_odd_is_said() -> None:
    recipe, scores = parse_recipe(RECIPE, "x.toml"), seeded(4)[0][:1]
    scorer = task_of(recipe).scorer(False)
    scores[0, :, 2, 3] = np.nan
    one = rows(scores, [np.ones((48, 128), int)])
    scorer.take(replace(one, placements=[Placement(128, 48, 1.0, 1.0, -32, 0)]))
    notes = " ".join(scorer.figures().notes)
    assert "50 % of the images' pixels are cut off" in notes
    assert "pixels got no class (NaN" in notes
    assert "the masks know class 1 alone; do they hold classes, or shades?" in notes
    blank = task_of(recipe).scorer(False)
    blank.take(rows(np.ones_like(scores), [np.where(np.arange(64) < 9, 255, np.zeros((48, 64)))]))
    assert "shades?; 255 is not counted: is it a class?" in " ".join(blank.figures().notes)


def test_numbers_of_classes_are_scored() -> None:
    for shape in ('["batch", 48, 64]', '["batch", 1, 48, 64]'):
        text = RECIPE.replace('dtype = "float32", shape = ["batch", 5, 12, 16]', f'dtype = "int64", shape = {shape}')
        task = task_of(parse_recipe(text, "x.toml"))
        mask = np.random.default_rng(0).integers(0, 5, (48, 64))
        answer = np.where(np.arange(64) < 16, 9, mask)
        given = answer[None] if shape.count(",") == 2 else answer[None, None]
        scorer = task.scorer(True)
        scorer.take(rows(given, [mask], given))
        figures = scorer.figures()
        assert figures.metrics["pixel_accuracy"].value == 75 and figures.flips.met == 1
        assert any(note.startswith("768 pixels got no class") for note in figures.notes)
        outputs, other = {"scores": given}, {"scores": np.where(given == 9, 8, given)}
        assert task.difference(outputs, outputs) == task.distance([outputs], [outputs]) == 0
        assert task.difference(other, outputs) == task.distance([other], [outputs]) == 0.25


def test_the_number_of_classes_must_be_told_of_images_without_labels_too() -> None:
    text = RECIPE.replace("dataset.classes = 5\n", "").replace('kind = "masks"', 'kind = "images"')
    with pytest.raises(RecipeError, match="a pixel has one of so many"):
        parse_recipe(text, "x.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"batch", 5, 12, 16', '"batch", 4, 12, 16', r"scores are \['batch', 5, h, w\] \(dataset.classes is 5\)"),
        ('"batch", 5, 12, 16', '"batch", 5', "scores are"),
        ('dtype = "float32", shape = ["batch", 5', 'dtype = "int64", shape = ["batch", 5', "numbers of classes are"),
        ("dataset.classes = 5\n", "", "dataset.classes is missing"),
        ("3, 48, 64]", '3, "h", "w"]', "give height and width"),
        ('["miou", "pixel_accuracy"]', '["top1"]', "'top1' is no metric of segmentation"),
        ('kind = "masks"', 'kind = "imagenet"', "its labels are class or identity, segmentation takes mask"),
        ("dataset.names", "segmentation.ignore = 3\ndataset.names", "segmentation.ignore"),
        ("dataset.names", "segmentation.ignore_index = -1\ndataset.names", "ignore_index"),
    ],
)
def test_a_recipe_that_is_none_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError, match=message):
        parse_recipe(RECIPE.replace(old, new), "x.toml")


def test_its_table_is_no_other_tasks(tiny_path: Path) -> None:
    text = tiny_path.read_text(encoding="utf-8") + "\n[segmentation]\nignore_index = 3\n"
    with pytest.raises(RecipeError, match="the table segmentation belongs to the task segmentation"):
        parse_recipe(text, "x.toml")


def spec(*shape: int | str, dtype: str = "float32", name: str = "out") -> TensorSpec:
    return TensorSpec(name, dtype, ("batch", *shape))


def test_a_draft_takes_what_tells_itself() -> None:
    taken = Segmentation.draft([spec(21, 65, 65)])
    assert taken is not None and taken.classes == 21 and list(taken.metrics) == ["miou", "pixel_accuracy"]
    two = [spec(21, 65, 65), spec(10, name="other")]
    assert Segmentation.draft(two) is None
    named = Segmentation.draft(two, alone=False)
    assert named is not None and list(named.outputs) == two[:1]
    for others in [(1000,), (512, 1, 1), (1, 64, 64), (65, 65), (255, 7, 7), (3, 64, 64), (512, 64, 64)]:
        assert Segmentation.draft([spec(*others)]) is None
    assert task_class("classification").draft([spec(1000)]) is not None
    assert list(TASKS).index("segmentation") < list(TASKS).index("outputs")
