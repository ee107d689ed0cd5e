"""COCO's figures: equal to the golden numbers and to pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coco_oracle import added, categories, drawn_boxes, truth
from modelport.core.errors import DataError, ModelportError
from modelport.tasks.detection import coco_map
from modelport.tasks.detection.coco_map import CocoMap, detection_text, to_results

GOLDEN = Path(__file__).parents[2] / "golden"
TRUTH = json.loads((GOLDEN / "coco_ground_truth.json").read_text())
FOUND = json.loads((GOLDEN / "coco_detections.json").read_text())
FIGURES = json.loads((GOLDEN / "metrics.json").read_text())
NAMES = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]


def values(metric: CocoMap) -> dict[str, float]:
    return {name: score.value for name, score in metric.compute().items()}


def by_pycocotools(
    content: dict[str, Any], results: list[dict[str, Any]], images: list[int], max_dets: tuple[int, int, int]
) -> dict[str, float]:
    """Return the twelve figures as pycocotools' own arrays give them, -1 left out."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(content))
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), "bbox")
        evaluation.params.imgIds = images
        evaluation.params.maxDets = list(max_dets)
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    cells = [precision[:, :, :, 0, 2], precision[0, :, :, 0, 2], precision[5, :, :, 0, 2]]
    cells += [precision[:, :, :, area, 2] for area in (1, 2, 3)]
    cells += [recall[:, :, 0, place] for place in range(3)] + [recall[:, :, area, 2] for area in (1, 2, 3)]
    names = [*NAMES, *(f"AR_{most}" for most in max_dets), "AR_s", "AR_m", "AR_l"]
    return {name: float(cell[cell > -1].mean()) for name, cell in zip(names, cells, strict=True) if (cell > -1).any()}


@pytest.mark.parametrize(
    ("max_dets", "key"), [((100, 300, 1000), "coco_bbox_maxDets_1000"), ((1, 10, 100), "coco_bbox_maxDets_100")]
)
def test_figures_equal_the_golden_ones(max_dets: tuple[int, ...], key: str) -> None:
    scores = added(CocoMap(categories(TRUTH), max_dets), TRUTH, FOUND).compute()
    assert list(scores) == [*NAMES, *(f"AR_{most}" for most in max_dets), "AR_s", "AR_m", "AR_l"]
    for got, want in zip(scores.values(), FIGURES[key].values(), strict=True):
        assert got.value == pytest.approx(want, abs=1e-9)
        assert (got.unit, got.n, got.stderr) == ("fraction", 40, None)


@pytest.mark.parametrize("at_once", [1, 3, 8, 100])
def test_how_many_categories_are_judged_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(coco_map, "_AT_ONCE", at_once)
    got = added(CocoMap(categories(TRUTH)), TRUTH, FOUND).compute()["mAP"].value
    assert got == pytest.approx(FIGURES["coco_bbox_maxDets_1000"]["mAP"], abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(1, 4), st.data())
def test_any_set_is_scored_as_pycocotools_does(seed: int, images: int, per_image: int, data: st.DataObject) -> None:
    content, results = drawn_boxes(seed, images, per_image)
    if not results:
        return
    ids = [row["id"] for row in content["images"]]
    seen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    order = data.draw(st.permutations(seen))
    max_dets = data.draw(st.sampled_from([(1, 2, 3), (1, 10, 100), (100, 300, 1000)]))
    got = values(added(CocoMap(categories(content), max_dets), content, results, order))
    want = by_pycocotools(content, results, sorted(seen), max_dets)
    assert got.keys() == want.keys()
    assert got == pytest.approx(want, abs=1e-9)


def test_more_boxes_than_a_hundred_count_up_to_a_thousand() -> None:
    content, results = drawn_boxes(3, 2, 60)
    row = next(row for row in content["annotations"] if not row["iscrowd"])
    # A hundred and fifty wrong boxes stand before the right one.
    wrong = [{**results[0], "image_id": row["image_id"], "category_id": row["category_id"], "bbox": [0, 0, 1, 1]}]
    right = {"image_id": row["image_id"], "category_id": row["category_id"], "bbox": row["bbox"], "score": 0.001}
    only = {**content, "annotations": [row]}
    got = values(added(CocoMap(categories(content)), only, [*wrong * 150, right]))
    assert (got["AR_100"], got["AR_300"], got["AR_1000"]) == (0.0, 1.0, 1.0)
    assert got["mAP"] > 0


def test_perfect_boxes_score_one_and_no_boxes_zero() -> None:
    content, _ = drawn_boxes(1, 6, 1)
    perfect = [{**row, "score": 0.5} for row in content["annotations"] if not row["iscrowd"]]
    assert set(values(added(CocoMap(categories(content)), content, perfect)).values()) == {1.0}
    assert set(values(added(CocoMap(categories(content)), content, [])).values()) == {0.0}


def test_a_figure_that_nothing_bears_on_is_missing() -> None:
    content, results = drawn_boxes(1, 6, 1)
    small = {**content, "annotations": [row for row in content["annotations"] if row["area"] < 1024]}
    assert small["annotations"]
    got = values(added(CocoMap(categories(content)), small, results))
    assert not {"mAP_m", "mAP_l", "AR_m", "AR_l"} & got.keys()
    assert {"mAP", "mAP_s", "AR_s"} <= got.keys()
    none = {**content, "annotations": []}
    assert values(added(CocoMap(categories(content)), none, results)) == {}


def test_only_the_images_that_were_scored_count() -> None:
    half = [row["id"] for row in TRUTH["images"]][::2]
    got = added(CocoMap(categories(TRUTH)), TRUTH, FOUND, half).compute()
    assert {score.n for score in got.values()} == {20}
    want = by_pycocotools(TRUTH, [row for row in FOUND if row["image_id"] in half], half, (100, 300, 1000))
    assert {name: score.value for name, score in got.items()} == pytest.approx(want, abs=1e-9)


def test_an_image_counts_once() -> None:
    metric = added(CocoMap(categories(TRUTH)), TRUTH, FOUND)
    with pytest.raises(DataError, match="scored twice"):
        added(metric, TRUTH, FOUND)


def test_it_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    added(CocoMap(categories(TRUTH)), TRUTH, FOUND).compute()
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelname != "DEBUG"] == []


def test_a_nan_is_the_worst_box_and_stops_nothing() -> None:
    own = truth(1, [{"bbox": [10, 10, 20, 20], "category_id": 1, "iscrowd": 0, "area": 400}])
    metric = CocoMap([(1, "c1")])
    boxes = np.array([[np.nan] * 4, [10, 10, 30, 30], [10, 10, 30, 30]])
    metric.add(own, boxes, np.array([0.9, 0.8, np.nan]), np.zeros(3, np.int64))
    # The box of NaN stands first and is wrong: half of what is found is right, at every recall.
    assert values(metric)["mAP"] == pytest.approx(0.5)


def test_wrong_use_is_told() -> None:
    metric, nothing = CocoMap([(1, "c1")]), truth(4, [])
    with pytest.raises(DataError, match="no image was scored"):
        metric.compute()
    metric.add(nothing, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="image 4 was scored twice"):
        metric.add(nothing, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    for kind in (1, -1):
        with pytest.raises(DataError, match="the data set has 1 categories"):
            metric.add(truth(5, []), np.zeros((1, 4)), np.zeros(1), np.array([kind]))


def test_a_missing_library_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ModelportError, match="faster-coco-eval is needed") as caught:
        added(CocoMap(categories(TRUTH)), TRUTH, FOUND).compute()
    assert "modelport[detection]" in caught.value.fix


BOXES = np.array([[1.5, 2, 11.5, 22], [0, 0, 4, 4]], np.float32)
SCORES = np.array([0.1, 0.9], np.float32)
PAIR = [(3, "car"), (10, "traffic light")]


def test_results_are_cocos_rows() -> None:
    rows = to_results(139, BOXES, SCORES, np.array([1, 0]), PAIR)
    assert rows == [
        {"image_id": 139, "category_id": 10, "bbox": [1.5, 2.0, 10.0, 20.0], "score": pytest.approx(0.1)},
        {"image_id": 139, "category_id": 3, "bbox": [0.0, 0.0, 4.0, 4.0], "score": pytest.approx(0.9)},
    ]
    assert json.loads(json.dumps(rows)) == rows
    assert to_results(139, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), PAIR) == []


def test_text_is_the_guides_lines() -> None:
    text = detection_text(BOXES, SCORES, np.array([1, 0]), PAIR)
    assert text == "traffic light 0.1 1.5 2.0 11.5 22.0\ncar 0.9 0.0 0.0 4.0 4.0\n"
    assert detection_text(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64), PAIR) == ""
    for line, box, score in zip(text.splitlines(), BOXES, SCORES, strict=True):
        assert [np.float32(word) for word in line.split()[-5:]] == [score, *box]


def test_a_classes_figure_is_its_own_whatever_the_order_of_the_ids() -> None:
    """The library goes by the sorted ids, and the model's classes need not."""
    metric = CocoMap([(7, "met"), (2, "missed"), (5, "half")])
    rows = [
        {"bbox": [20 * place, 0, 10, 10], "category_id": kind, "iscrowd": 0, "area": 100}
        for place, kind in enumerate((7, 2, 5, 5))
    ]
    metric.add(truth(1, rows), np.array([[0, 0, 10, 10], [40, 0, 50, 10]]), np.array([0.9, 0.8]), np.array([0, 2]))
    metric.compute()
    found = {row["name"]: row["mAP"] for row in metric.class_rows("mAP", None)}
    assert found == {"met": pytest.approx(1.0), "missed": 0.0, "half": pytest.approx(51 / 101)}
