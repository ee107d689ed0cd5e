"""Every form of a detector's outputs: its boxes equal those of plain loops, its figures pycocotools'."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detectors import SIDE, Row, corners, random_raw, recipe_of, slow_rows, slow_suppression
from modelport.core.errors import RecipeError, UsageError
from modelport.core.placement import Placement
from modelport.core.values import Array, RowId, TensorSpec, Truth
from modelport.tasks.detection import decode
from modelport.tasks.detection.decode import Decoder
from modelport.tasks.detection.forms import possible_forms
from modelport.tasks.detection.task import Detection
from modelport.tasks.scoring import Rows

CLASSES, COUNT = 3, 120
CATEGORIES = ((4, "cup"), (7, "dog"), (9, "kite"))
Outputs = dict[str, Array]
Made = tuple[Any, Outputs, list[Row]]


def yolov8(seed: int) -> Made:
    boxes, _, scores = random_raw(seed, COUNT, CLASSES)
    recipe = recipe_of([("output0", "float32", ["batch", 4 + CLASSES, COUNT])])
    wanted = slow_suppression(slow_rows(boxes, scores, 0.001), 0.7, 300)
    return recipe, {"output0": np.concatenate([boxes, scores], axis=1).T[None]}, wanted


def yolov5(seed: int) -> Made:
    boxes, sure, scores = random_raw(seed, COUNT, CLASSES)
    recipe = recipe_of([("output", "float32", ["batch", COUNT, 5 + CLASSES])])
    wanted = slow_suppression(slow_rows(boxes, scores * sure[:, None], 0.001), 0.6, 300)
    return recipe, {"output": np.concatenate([boxes, sure[:, None], scores], axis=1)[None]}, wanted


def candidates(seed: int) -> Made:
    boxes, _, scores = random_raw(seed, COUNT, CLASSES)
    outputs = [("rated", "float32", ["batch", COUNT, CLASSES]), ("places", "float32", ["batch", COUNT, 4])]
    recipe = recipe_of(outputs, detection='boxes = "cxcywh"\niou_threshold = 0.45\nmax_detections = 20')
    wanted = slow_suppression(slow_rows(boxes, scores, 0.001), 0.45, 20)
    return recipe, {"places": boxes[None], "rated": scores[None]}, wanted


def final(seed: int, count: int = 40) -> tuple[list[Row], Array, Array, Array]:
    boxes, sure, scores = random_raw(seed, count, CLASSES)
    kinds = scores.argmax(axis=1)
    rows = [(float(sure[n]), int(kinds[n]), corners(boxes[n])) for n in range(count) if float(sure[n]) > 0.001]
    return sorted(rows, key=lambda row: -row[0]), boxes, sure, kinds


def end_to_end(seed: int) -> Made:
    wanted, boxes, sure, kinds = final(seed)
    places = np.array([corners(box) for box in boxes])
    dets = np.concatenate([places, sure[:, None], kinds[:, None]], axis=1).astype(np.float32)
    return (
        recipe_of([("output0", "float32", ["batch", 40, 6])], detection='form = "end_to_end"'),
        {"output0": dets[None]},
        wanted,
    )


def torchvision_like(seed: int) -> Made:
    wanted, boxes, sure, kinds = final(seed)
    places = np.array([corners(box) for box in boxes], np.float32)
    outputs = [("b", "float32", ["batch", 40, 4]), ("l", "int64", ["batch", 40]), ("s", "float32", ["batch", 40])]
    recipe = recipe_of(outputs, classes=CLASSES + 1, more="dataset.label_offset = 1")
    return recipe, {"b": places[None], "s": sure[None], "l": kinds[None] + 1}, wanted


def tensorflow_like(seed: int) -> Made:
    """y1 x1 y2 x2 in shares, floating classes from 1, and a count: rows beyond it are rubbish."""
    wanted, boxes, sure, kinds = final(seed)
    places = np.array([corners(box) for box in boxes], np.float64)[:, [1, 0, 3, 2]] / SIDE
    rubbish = np.tile([0.1, 0.1, 0.9, 0.9], (10, 1))
    outputs = [
        ("num_detections", "float32", ["batch"]),
        ("detection_boxes", "float32", ["batch", 50, 4]),
        ("detection_classes", "float32", ["batch", 50]),
        ("detection_scores", "float32", ["batch", 50]),
    ]
    detection = 'boxes = "yxyx"\nnormalised = true\ncount = "num_detections"'
    recipe = recipe_of(outputs, CLASSES + 1, detection, "dataset.label_offset = 1")
    values = {
        "detection_boxes": np.concatenate([places, rubbish])[None].astype(np.float32),
        "detection_scores": np.concatenate([sure, np.ones(10)])[None].astype(np.float32),
        "detection_classes": np.concatenate([kinds + 1, np.full(10, 2)])[None].astype(np.float32),
        "num_detections": np.array([40], np.float32),
    }
    return recipe, values, wanted


FORMS: dict[str, Callable[[int], Made]] = {
    "yolov8": yolov8,
    "yolov5": yolov5,
    "candidates": candidates,
    "end_to_end": end_to_end,
    "boxes": torchvision_like,
    "boxes, tensorflow": tensorflow_like,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_boxes_are_those_of_plain_loops(form: str) -> None:
    for seed in range(4):
        recipe, outputs, wanted = FORMS[form](seed)
        decoder = Decoder(recipe)
        assert decoder.form == form.partition(",")[0]
        found = decoder.found(outputs, 0)
        order = np.argsort(-found.scores, kind="stable")
        np.testing.assert_allclose(found.scores[order], [row[0] for row in wanted], rtol=1e-6)
        assert found.classes[order].tolist() == [row[1] for row in wanted]
        np.testing.assert_allclose(found.boxes[order], [row[2] for row in wanted], atol=1e-4)


def truths(seed: int, wanted: list[Row]) -> Truth:
    """Return annotations near some of the boxes that are found, one of them a crowd."""
    rng = np.random.default_rng(seed)
    chosen = [wanted[place] for place in sorted(rng.choice(len(wanted), min(8, len(wanted)), replace=False))]
    boxes = np.array([row[2] for row in chosen]) + rng.normal(0, 1, (len(chosen), 4))
    boxes[:, 2:] -= boxes[:, :2]
    numbers = np.array([CATEGORIES[row[1]][0] for row in chosen])
    return Truth(seed + 1, boxes, numbers, np.arange(len(chosen)) == 0, boxes[:, 2] * boxes[:, 3])


def by_pycocotools(truth: list[Truth], results: list[dict[str, Any]]) -> Array:
    """Return pycocotools' precision (IoU, recall, category, area, detections)."""
    rows = [
        {"image_id": one.image_id, "category_id": int(kind), "bbox": box, "iscrowd": int(crowd), "area": area}
        for one in truth
        for box, kind, crowd, area in zip(
            one.boxes.tolist(), one.category_ids, one.iscrowd, one.areas.tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": one.image_id} for one in truth],
            "categories": [{"id": number, "name": name} for number, name in CATEGORIES],
            "annotations": [row | {"id": place} for place, row in enumerate(rows, start=1)],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), "bbox")
        evaluation.params.maxDets = [100, 300, 1000]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])


@pytest.mark.parametrize("form", FORMS)
def test_the_figures_are_pycocotools(form: str) -> None:
    place = Placement(SIDE * 2, SIDE * 2, 0.5, 0.5, 0, 0)
    all_truth, results, scorer = [], [], None
    for seed in range(4):
        recipe, outputs, wanted = FORMS[form](seed)
        truth = truths(seed, wanted)
        truth = Truth(truth.image_id, truth.boxes * 2, truth.category_ids, truth.iscrowd, truth.areas * 4)
        all_truth.append(truth)
        for score, kind, box in wanted:
            left, top, right, bottom = (float(np.clip(2 * value, 0, 2 * SIDE)) for value in box)
            row = {"image_id": truth.image_id, "category_id": CATEGORIES[kind][0], "score": score}
            results.append(row | {"bbox": [left, top, right - left, bottom - top]})
        scorer = scorer or Detection(recipe, CATEGORIES).scorer(True)
        scorer.take(Rows([RowId(str(seed))], [truth], outputs, outputs, [place]))
    assert scorer is not None
    precision, figures = by_pycocotools(all_truth, results), scorer.figures()
    cells = {"mAP": precision[:, :, :, 0, 2], "mAP_50": precision[0, :, :, 0, 2]}
    for name, cell in cells.items():
        assert figures.metrics[name].value == pytest.approx(cell[cell > -1].mean(), abs=1e-6)
    assert figures.source == figures.metrics
    assert 0.05 < figures.metrics["mAP"].value < 0.95
    for line in figures.per_class:
        cell = precision[:, :, line["class"], 0, 2]
        assert line["mAP"] == line["source"] == pytest.approx(cell[cell > -1].mean(), abs=1e-6)
        number, name = CATEGORIES[line["class"]]
        assert line["name"] == name
        assert line["n"] == sum(int(((one.category_ids == number) & ~one.iscrowd).sum()) for one in all_truth)
    assert [line["class"] for line in figures.per_class] == [0, 1, 2]
    assert any(f"read as {form.partition(',')[0]} (" in note for note in figures.notes)


def test_a_quarter_is_worth_meeting_and_all_where_there_is_none() -> None:
    recipe = recipe_of([("output0", "float32", ["batch", 2, 6])], detection='form = "end_to_end"')
    task = Detection(recipe, CATEGORIES)
    source = np.array([[[0, 0, 20, 20, 0.9, 0], [30, 30, 50, 50, 0.2, 1]]], np.float32)
    engine = source.copy()
    engine[0, 1, :4] += 15
    assert task.difference({"output0": engine}, {"output0": source}) == 0.0
    source[0, 0, 4] = 0.24
    assert task.difference({"output0": engine}, {"output0": source}) == 0.5
    assert task.difference({"output0": engine}, {"output0": engine * 0}) == 1.0
    assert task.difference({"output0": engine * 0}, {"output0": engine * 0}) == 0.0


@pytest.mark.parametrize("form", FORMS)
def test_low_scores_go_before_anything_is_counted(form: str) -> None:
    recipe, outputs, wanted = FORMS[form](0)
    before = {name: array.copy() for name, array in outputs.items()}
    task = Detection(recipe)
    cut, dropped = task.without_low(outputs, 0.3)
    found = Decoder(recipe).found(cut, 0)
    assert sorted(found.scores.tolist()) == pytest.approx(sorted(row[0] for row in wanted if row[0] >= 0.3), rel=1e-6)
    assert dropped == sum(row[0] < 0.3 for row in wanted)
    assert all((before[name] == outputs[name]).all() for name in before)


def test_boxes_in_shares_that_were_not_told_are_suspected() -> None:
    recipe, outputs, _ = tensorflow_like(0)
    shares = recipe.model_copy(
        update={"tables": {"detection": recipe.tables["detection"].model_copy(update={"normalised": None})}}
    )
    place = Placement(SIDE, SIDE, 1.0, 1.0, 0, 0)
    for one, said in ((recipe, False), (shares, True)):
        scorer = Detection(one, CATEGORIES).unlabelled_scorer(True)
        scorer.take(Rows([RowId("a")], [None], outputs, outputs, [place]))
        assert any("detection.normalised" in note for note in scorer.figures().notes) == said


def test_boxes_of_an_image_that_lies_nobody_knows_where_are_refused() -> None:
    recipe, outputs, _ = yolov8(0)
    scorer = Detection(recipe, CATEGORIES).unlabelled_scorer(True)
    with pytest.raises(RecipeError, match="where an image lies in the network's input is not known"):
        scorer.take(Rows([RowId("a")], [None], outputs, outputs, [None]))


def test_labels_that_are_no_numbers_are_no_boxes_and_rounding_is_forgiven() -> None:
    recipe = recipe_of([("o", "float32", ["batch", 4, 6])], detection='form = "end_to_end"')
    rows = np.array(
        [[1, 1, 9, 9, 0.9, np.nan], [1, 1, 9, 9, 0.8, np.inf], [1, 1, 9, 9, 0.7, 1.999], [1, 1, 9, 9, np.nan, 1]]
    )
    found = Decoder(recipe).found({"o": rows[None].astype(np.float32)}, 0)
    assert (found.classes.tolist(), found.scores.tolist()) == ([2], [np.float32(0.7)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_is_none_and_hides_no_other(form: str, value: float) -> None:
    recipe, outputs, _ = FORMS[form](1)
    decoder, how = Decoder(recipe), Decoder(recipe).outputs
    broken = outputs[how.boxes].copy()
    place = (0, 0, 3) if how.form == "yolov8" else (0, 3, 0)
    broken[place] = value
    without = outputs[how.scores or how.boxes].copy()
    if how.form in ("yolov8", "yolov5"):
        without[(0, slice(4, None), 3) if how.form == "yolov8" else (0, 3, slice(4, None))] = 0
    else:
        without[(0, 3, 4) if how.form == "end_to_end" else (0, 3)] = 0
    found = decoder.found(outputs | {how.boxes: broken}, 0)
    wanted = decoder.found(outputs | {how.scores or how.boxes: without}, 0)
    assert all(np.array_equal(one, two) for one, two in zip(found, wanted, strict=True))


def test_of_too_many_candidates_the_best_are_suppressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MOST_CANDIDATES", 25)
    boxes, _, scores = random_raw(5, COUNT, CLASSES)
    scores = np.round(scores * 8) / 8  # ties
    recipe = recipe_of([("o", "float32", ["batch", 4 + CLASSES, COUNT])])
    found = Decoder(recipe).found({"o": np.concatenate([boxes, scores], axis=1).T[None]}, 0)
    wanted = slow_suppression(sorted(slow_rows(boxes, scores, 0.001), key=lambda row: -row[0])[:25], 0.7, 300)
    assert found.classes.tolist() == [row[1] for row in wanted]
    np.testing.assert_allclose(found.boxes, [row[2] for row in wanted], atol=1e-4)


def test_a_yolo_of_coco_is_decoded_in_milliseconds() -> None:
    rng = np.random.default_rng(0)
    recipe = recipe_of([("output0", "float32", ["batch", 84, 8400])], classes=80)
    scores = rng.uniform(0, 1, (80, 8400)) ** 1500  # some 3,000 above a thousandth
    boxes = np.concatenate([rng.uniform(0, 640, (2, 8400)), rng.uniform(20, 200, (2, 8400))])
    outputs = {"output0": np.concatenate([boxes, scores]).astype(np.float32)[None]}
    decoder = Decoder(recipe)
    times = []
    for _ in range(3):
        begun = time.process_time()
        assert len(decoder.found(outputs, 0).scores) == 300
        times.append(time.process_time() - begun)
    assert min(times) < 0.1  # about 8 ms; a loop over boxes would take seconds


SPEC = {
    "dets": [("d", "float32", ["batch", 100, 5]), ("l", "int64", ["batch", 100])],
    "mixed": [("d", "float32", ["batch", 100, 7]), ("l", "int64", ["batch", 100])],
    "v8": [("o", "float32", ["batch", 7, 100])],
    "one": [("o", "float32", ["batch", 100, 6])],
    "square": [("o", "float32", ["batch", 7, 8])],
    "five": [("o", "float32", ["batch", 1, 4, 4, 4])],
    "boxes": [("b", "float32", ["batch", 9, 4]), ("s", "float32", ["batch", 9]), ("l", "int32", ["batch", 9])],
}
WRONG = [
    ("mixed", 3, "", r"are no detector's of 3 classes \(dataset.classes\): dets is boxes with"),
    ("v8", 4, "", "are no detector's of 4 classes"),
    ("five", 3, "", "are no detector's"),
    ("one", 1, "", "may be yolov5 or end_to_end: tell it by detection.form"),
    ("square", 3, "", "may be yolov5 or yolov8: tell it by detection.form"),
    ("dets", 3, 'form = "yolov8"', "are not of the form yolov8"),
    ("boxes", 3, 'count = "n"', "detection.count: there is no output 'n', but b, s, l"),
    ("v8", 3, 'count = "o"', "are no detector's"),
    ("boxes", 3, "iou_threshold = 0.5", "of the form boxes nothing is suppressed here"),
    ("one", 1, 'form = "end_to_end"\nboxes = "xyxy"', "the form end_to_end has corners"),
    ("v8", 3, "score_threshold = 1.5", "detection.score_threshold"),
    ("v8", 3, "max_detections = 0", "detection.max_detections"),
    ("v8", 3, 'boxes = "xywy"', "detection.boxes.*did you mean"),
    ("v8", 3, "iou = 0.5", "detection.iou: unknown key"),
]


@pytest.mark.parametrize(("outputs", "classes", "detection", "found"), WRONG, ids=[row[3][:45] for row in WRONG])
def test_what_no_form_fits_is_refused(outputs: str, classes: int, detection: str, found: str) -> None:
    with pytest.raises(RecipeError, match=found):
        recipe_of(SPEC[outputs], classes, detection)


def test_a_label_offset_leaves_a_class() -> None:
    with pytest.raises(RecipeError, match="no label fits 3 classes"):
        recipe_of(SPEC["boxes"], 3, more="dataset.label_offset = 3")


def test_shares_of_a_free_size_are_refused_and_order_is_said() -> None:
    outputs = [("b", "float32", ["batch", 9, 4]), ("x", "float32", ["batch", 9]), ("y", "float32", ["batch", 9])]
    recipe = recipe_of(outputs, 3, "normalised = true")
    assert "which output is which is told by their order alone: 'b', 'x', 'y'" in Decoder(recipe).notes()
    free = recipe.to_json()
    free["tensors"]["inputs"][0]["shape"] = ["batch", 3, "h", "w"]
    with pytest.raises(RecipeError, match="whose size is free"):
        Decoder(type(recipe).model_validate(free))


def test_the_table_belongs_to_detectors() -> None:
    from modelport.recipes.load import load_recipe

    content = load_recipe("moco-v2").to_json() | {"detection": {"normalised": True}}
    with pytest.raises(ValueError, match="the table detection belongs to the task detection"):
        type(load_recipe("moco-v2")).model_validate(content)


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, dtype, ("batch", *shape))


@pytest.mark.parametrize(
    ("outputs", "form", "classes"),
    [
        ([spec("output0", 22, 2100)], "yolov8", 18),
        ([spec("output0", 84, 8400)], "yolov8", 80),
        ([spec("output", 25200, 85)], "yolov5", 80),
        ([spec("output", 25200, 6)], "yolov5", 1),
        ([spec("output0", 300, 6)], "end_to_end", None),
        ([spec("dets", 100, 5), spec("labels", 100, dtype="int64")], "dets", None),
        ([spec("b", 100, 4), spec("s", 100), spec("l", 100, dtype="int64")], "boxes", None),
        ([spec("places", 3000, 4), spec("rated", 3000, 21)], "candidates", 21),
        ([spec("output", 25200, 85), spec("head", 3, 80, 80, 85)], "yolov5", 80),
        ([spec("tokens", 197, 768)], None, None),
        ([spec("proto", 32, 160, 160), spec("output0", 116, 8400)], None, None),
        ([spec("scores", 1000)], None, None),
    ],
)
def test_a_draft_recognises_the_forms(outputs: list[TensorSpec], form: str | None, classes: int | None) -> None:
    draft = Detection.draft(outputs)
    assert (None if draft is None else draft.why.split(":")[0]) == (form and f"the outputs are {form}")
    assert draft is None or (list(draft.outputs), draft.classes) == (
        [one for one in outputs if len(one.shape) < 5],
        classes,
    )


def test_a_draft_of_tensorflow_s_outputs_tells_how_boxes_are_given() -> None:
    outputs = [
        spec("num_detections"),
        spec("detection_boxes:0", 100, 4),
        spec("detection_scores:0", 100),
        spec("detection_classes:0", 100),
    ]
    draft = Detection.draft(outputs)
    assert draft is not None and list(draft.outputs) == outputs[1:] and draft.why.startswith("the outputs are boxes")
    lines = {line.key: line.value for line in Detection.draft_lines(outputs[1:], {})}
    assert lines == {"detection.boxes": "yxyx", "detection.normalised": True}
    assert Detection.draft_lines([spec("output0", 84, 8400)], {"task": "detect"}) == ()


def test_a_file_that_says_it_poses_is_not_drafted_as_a_detector() -> None:
    with pytest.raises(UsageError, match="its task is 'pose', not to detect"):
        Detection.draft_lines([spec("output0", 56, 8400)], {"task": "pose"})


def test_named_by_the_user_any_width_will_do() -> None:
    draft = Detection.draft([spec("o", 9, 100)], alone=False)
    assert draft is not None and draft.classes == 5
    assert Detection.draft([spec("o", 9)], alone=False) is None
    assert possible_forms([("batch", 6, 300)], 2) == ["yolov8"]


def test_a_recipe_that_tells_no_tolerance_does_not_tolerate_everything() -> None:
    tolerated = recipe_of(SPEC["dets"]).tolerance
    assert (tolerated.value, tolerated.unit) == (1.0, "percent_of_reference")
