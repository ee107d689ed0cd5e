"""What the lines of an image hold: enough to compute the figures anew, and whether source and engine answer alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coco_oracle import categories, drawn_boxes, truth
from detectors import recipe_of
from modelport.core.placement import Placement
from modelport.core.values import Array, RowId
from modelport.tasks.detection.lines import listed
from modelport.tasks.scoring import Figures, Rows, Score
from modelport.tasks.table import task_of

MOST = 60
RECIPE = recipe_of([("dets", "float32", ["batch", MOST, 5]), ("labels", "int64", ["batch", MOST])])
CATEGORIES = [(2, "c2"), (5, "c5"), (11, "c11")]
TASK = task_of(RECIPE, CATEGORIES)
Lines = list[tuple[dict[str, Any], dict[str, Any]]]


def drawn(seed: int, images: int = 12, grid: int = 0) -> Rows:
    """Return images, the engine's boxes and the source's, which are near them: crowds, ties, images without either."""
    content, results = drawn_boxes(seed, images, 3)
    rng = np.random.default_rng(seed)
    index = {number: place for place, (number, _) in enumerate(categories(content))}
    dets, labels = np.zeros((images, MOST, 5), np.float32), np.full((images, MOST), -1)
    for place, image in enumerate(content["images"]):
        own = [row for row in results if row["image_id"] == image["id"] and place % 5][:MOST]
        for slot, row in enumerate(own):
            x, y, wide, high = row["bbox"]
            dets[place, slot] = x, y, x + wide, y + high, row["score"]
            labels[place, slot] = index[row["category_id"]]
    if grid:
        dets[..., :4] = np.round(dets[..., :4] / grid) * grid
    theirs = dets + np.array([1, 1, 1, 1, 0], np.float32) * rng.normal(0, 2, dets.shape).astype(np.float32)
    truths = []
    for image in content["images"]:
        rows = [row for row in content["annotations"] if row["image_id"] == image["id"]]
        truths.append(truth(image["id"], rows if image["id"] % 4 else []))
    return Rows(
        [RowId(f"{image['id']}.jpg") for image in content["images"]],
        truths,
        {"dets": dets, "labels": labels},
        {"dets": theirs, "labels": labels},
        [Placement(400, 400, 1.0, 1.0, 0, 0)] * images,
    )


def told(rows: Rows, against_source: bool = True, task: Any = TASK) -> tuple[Figures, Lines]:
    """Return the figures, and each image's lines of predictions.jsonl and samples.jsonl as they are read again."""
    scorer = task.scorer(against_source)
    lines = [json.loads(json.dumps(line, allow_nan=False)) for line in scorer.take(rows)]
    judged = [task.judged(line, target).to_json("mAP") for line, target in zip(lines, rows.targets, strict=True)]
    samples = [json.loads(json.dumps(one, allow_nan=False)) for one in judged]
    for line, sample in zip(lines, samples, strict=True):
        assert json.loads(json.dumps(task.judged(line, sample["target"]).to_json("mAP"))) == sample
    return scorer.figures(), list(zip(lines, samples, strict=True))


def plain(scores: dict[str, Score] | None) -> dict[str, float]:
    return {name: score.value for name, score in (scores or {}).items()}


@pytest.mark.parametrize("grid", [0, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_figures_are_counted_anew_from_the_lines(seed: int, grid: int) -> None:
    rows = drawn(seed, 6 + 8 * seed, grid)
    dets = rows.outputs["dets"]
    dets[0, 0, 4] = dets[1, 1, 2] = np.nan
    dets[2, 0, 4] = dets[3, 1, 0] = np.inf
    figures, lines = told(rows)
    again = TASK.recount(lines)
    assert again is not None and len(figures.metrics) >= 9
    assert again.metrics == pytest.approx(plain(figures.metrics), abs=1e-9)
    assert again.source == pytest.approx(plain(figures.source), abs=1e-9)
    assert again.metrics["mAP"] != again.source["mAP"]
    assert figures.resampled is not None and again.resampled is not None
    weights = np.random.default_rng(seed).multinomial(len(lines), np.full(len(lines), 1 / len(lines)))
    assert again.resampled.figures(weights) == figures.resampled.figures(weights)
    for name in ("images", "differ", "work"):
        assert getattr(again.resampled, name) == getattr(figures.resampled, name)


def test_the_figure_that_a_recipe_judges_is_among_those_of_resamples() -> None:
    judged = task_of(RECIPE.model_copy(update={"metrics": ["AR_s", "mAP"]}), CATEGORIES)
    figures, lines = told(drawn(3, 20), task=judged)
    assert figures.resampled is not None
    engine, _ = figures.resampled.figures(np.ones(len(lines), np.int64))
    assert engine["AR_s"] == pytest.approx(figures.metrics["AR_s"].value, abs=1e-9)


def test_without_a_source_its_figures_are_none() -> None:
    figures, lines = told(drawn(1), against_source=False)
    again = TASK.recount(lines)
    assert again is not None and again.source == {} and figures.source is None and figures.resampled is None
    assert again.metrics == pytest.approx(plain(figures.metrics), abs=1e-9)
    assert all(sample["agrees"] is None for _, sample in lines)
    assert all(sample["values"]["surrogate"][1] is None for line, sample in lines if line["ap"] is not None)


def test_images_that_the_source_did_not_answer_are_in_no_resample() -> None:
    rows = drawn(5, 10)
    kept = [place < 6 for place in range(10)]
    sourced, alone = rows.where(kept), rows.where([not one for one in kept])
    scorer = TASK.scorer(True)
    lines = [*scorer.take(sourced), *scorer.take(replace(alone, source=None))]
    judged = [TASK.judged(line, target).to_json("mAP") for line, target in zip(lines, rows.targets, strict=True)]
    figures, again = scorer.figures(), TASK.recount(zip(lines, judged, strict=True))
    assert figures.resampled is not None and again is not None and figures.resampled.images == 6
    assert again.metrics == pytest.approx(plain(figures.metrics), abs=1e-9)
    assert again.source == pytest.approx(plain(figures.source), abs=1e-9)
    once = figures.resampled.figures(np.ones(6, np.int64))
    assert [side["mAP"] for side in once] == pytest.approx(
        [side["mAP"].value for side in (told(sourced)[0].metrics, figures.source or {})], abs=1e-9
    )


def test_what_was_annotated_and_how_it_was_answered_is_told() -> None:
    figures, lines = told(drawn(2))
    for line, sample in lines:
        target, shares = sample["target"], sample.get("values")
        assert target["image_id"] == line["target"] and sample["margin"] is None is sample["correct"]
        assert [CATEGORIES[kind][0] for kind in target["classes"]] == target["category_ids"]
        assert shares == (None if line["ap"] is None else {"surrogate": [line["ap"], line["source_ap"]]})
        assert (line["ap"] is None) == all(target["iscrowd"])
    rated = np.array([sample["values"]["surrogate"] for line, sample in lines if line["ap"] is not None])
    assert 0.1 < rated.mean() < 0.9 and (rated[:, 0] != rated[:, 1]).any() and (rated == rated.clip(0, 1)).all()
    assert any(not target["boxes"] for target in (sample["target"] for _, sample in lines))
    assert figures.flips.of > figures.flips.met


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        (lambda dets, labels: None, True),
        (lambda dets, labels: dets.__setitem__((1, 0, slice(0, 4)), (0, 0, 3, 3)), False),
        (lambda dets, labels: labels.__setitem__((1, 0), (labels[1, 0] + 1) % 3), False),
        (lambda dets, labels: labels.__setitem__((1, MOST - 1), 0), True),
        (lambda dets, labels: labels.__setitem__((1, 0), -1), False),
    ],
)
def test_the_engine_agrees_where_each_box_of_the_sources_is_met(
    change: Callable[[Array, Array], None], agrees: bool
) -> None:
    rows = drawn(3)
    assert rows.source is not None and rows.source["labels"][1, 0] >= 0
    mine = {name: array.copy() for name, array in rows.source.items()}
    change(mine["dets"], mine["labels"])
    figures, lines = told(Rows(rows.ids, rows.targets, mine, rows.source, rows.placements))
    assert [sample["agrees"] for _, sample in lines] == [place != 1 or agrees for place in range(len(lines))]
    assert figures.flips.count == (not agrees)


def test_where_labels_are_not_looked_at_the_agreement_is_told_alone() -> None:
    rows = drawn(4)
    scorer = TASK.unlabelled_scorer(True)
    lines = scorer.take(rows)
    judged = [TASK.judged(line, target) for line, target in zip(lines, rows.targets, strict=True)]
    assert all(one.target is None and not one.values and one.agrees is not None for one in judged)
    again = TASK.recount([(line, one.to_json("mAP")) for line, one in zip(lines, judged, strict=True)])
    assert again is not None and again.metrics == again.source == {}


def test_boxes_of_any_size_stop_nothing() -> None:
    true = {"image_id": 1, "boxes": [[1, 2, 3, 4], [0, 0, 1e300, 1e300]], "classes": [0, 0], "iscrowd": [0, 1]}
    line = {"boxes": [[0, 0.5, 1, 2, 4, 6], [0, 0.9, -1e300, -1e300, 1e300, 1e300], [0, -1e300, 5, 5, 2, 9]]}
    again = TASK.recount([(line, {"target": true | {"areas": [12.0, 1e300]}})])
    assert again is not None and again.metrics["mAP"] == pytest.approx(1.0)


def test_listed_boxes_have_all_digits_and_no_word_that_json_lacks() -> None:
    boxes = np.array([[0.1, 1 / 3, np.nan, 4], [np.inf, 0, 1, 2]], np.float32)
    rows = listed(boxes, np.array([0.7, np.nan], np.float32), np.array([3, 0]))
    assert rows == [[3, float(np.float32(0.7)), *map(float, boxes[0, :2]), None, 4.0], [0, None, None, 0.0, 1.0, 2.0]]
    assert [type(value) for value in rows[0][:2]] == [int, float]
    assert listed(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)) == []


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ({"boxes": [[0, 0.5, 1, 2, 3]]}, {}),
        ({"boxes": [[0.5, 0.5, 1, 2, 3, 4]]}, {}),
        ({"boxes": [[None, 0.5, 1, 2, 3, 4]]}, {}),
        ({"boxes": [[0, 0.5, 1, 2, 3, 10**400]]}, {}),
        ({"boxes": {"a": 1}}, {}),
        ({"boxes": None}, {}),
        ({"source_boxes": "x"}, {}),
        ({}, {"areas": [1.0, 2.0]}),
        ({}, {"areas": [None]}),
        ({"boxes": [0, 0.5, 1, 2, 3, 4]}, {}),
        ({}, {"boxes": [[1, 2, 3]]}),
        ({}, {"classes": [[0], [1]]}),
        ({}, {"iscrowd": [None]}),
        ({"overlaps": [[0, 0, 0.4]], "areas": [1.0]}, {}),
        ({"overlaps": [[0, 0, None]], "areas": [1.0]}, {}),
        ({"overlaps": [[1, 0, 0.7]], "areas": [1.0]}, {}),
        ({"overlaps": [[0, -1, 0.7]], "areas": [1.0]}, {}),
        ({"overlaps": [[0, 0, 0.7]], "areas": []}, {}),
        ({"overlaps": [[0, 0, 0.7]]}, {}),
        ({"overlaps": [[0, 0, 0.7]], "areas": [1.0], "boxes": [[1, 0.5, 1, 2, 3, 4]]}, {}),
    ],
)
def test_lines_of_another_form_are_refused(line: dict[str, Any], target: dict[str, Any]) -> None:
    good = {"boxes": [[0, 0.5, 1, 2, 3, 4]], "source_boxes": []}
    true = {"image_id": 1, "boxes": [[1, 2, 3, 4]], "classes": [0], "iscrowd": [0], "areas": [12.0]}
    assert TASK.recount([(good, {"target": true})]) is not None
    with pytest.raises((KeyError, TypeError, ValueError)):
        TASK.recount([(good | line, {"target": true | target})])
