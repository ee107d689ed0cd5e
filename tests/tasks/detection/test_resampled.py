"""Figures over resamples of images: COCO's own, where an image that counts k times is there k times."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from coco_oracle import categories, drawn_boxes, truth
from modelport.core.values import Array, Truth
from modelport.tasks.detection.both import BothMaps, InImage
from modelport.tasks.detection.coco_map import CocoMap
from modelport.tasks.detection.matching import LEVELS, Matched, box_overlaps, own_precision
from modelport.tasks.scoring import Figures, Flips, Score

NAMES = (
    *("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"),
    *("AR_100", "AR_300", "AR_1000", "AR_s", "AR_m", "AR_l"),
)
Image = tuple[Truth, InImage, InImage]


def drawn(seed: int, images: int, grid: int | None = None, ties: bool = True) -> list[Image]:
    """Return images with two answers; ``grid`` puts all corners on multiples of it, where overlaps are levels."""
    content, results = drawn_boxes(seed, images, 3)
    rng = np.random.default_rng(seed)
    index = {number: place for place, (number, _) in enumerate(categories(content))}
    for row in [*content["annotations"], *results] if grid else []:
        row["bbox"] = [float(round(value / grid) * grid) for value in row["bbox"]]
    scores = rng.permutation(2 * len(results)) / (2 * len(results)) if not ties else None
    found = []
    for image in content["images"]:
        sides = []
        for side in range(2):
            own = [place for place, row in enumerate(results) if row["image_id"] == image["id"] and rng.random() < 0.9]
            boxes = np.array([results[place]["bbox"] for place in own]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            rated = [results[place]["score"] if scores is None else scores[2 * place + side] for place in own]
            kinds = [index[results[place]["category_id"]] for place in own]
            sides.append(InImage(boxes + side * rng.normal(0, 2, boxes.shape), np.array(rated), np.array(kinds, int)))
        rows = [row for row in content["annotations"] if row["image_id"] == image["id"]]
        found.append((truth(image["id"], rows), sides[0], sides[1]))
    rng.shuffle(found)
    return found


def figures(images: list[Image]) -> Figures:
    both = BothMaps(partial(CocoMap, [(2, "c2"), (5, "c5"), (11, "c11")]), True, NAMES)
    for image in images:
        both.add(*image)
    return both.figures(Flips())


def measured(found: dict[str, Any]) -> dict[str, float]:
    """Return numbers alone, without those that nothing bears on."""
    plain = {name: value.value if isinstance(value, Score) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if not np.isnan(value)}


@pytest.mark.parametrize("grid", [None, 8, 25])
@pytest.mark.parametrize("seed", range(6))
def test_each_image_once_gives_cocos_figures(seed: int, grid: int | None) -> None:
    images = drawn(seed, 3 + 5 * seed, grid)
    found = figures(images)
    assert found.resampled is not None and found.source and found.resampled.images == len(images)
    engine, source = found.resampled.figures(np.ones(len(images), np.int64))
    assert measured(dict(engine)) == pytest.approx(measured(found.metrics), abs=1e-9)
    assert measured(dict(source)) == pytest.approx(measured(found.source), abs=1e-9)
    assert list(engine) == list(NAMES) and measured(found.metrics) != measured(found.source)


@pytest.mark.parametrize("seed", range(8))
def test_an_image_that_counts_k_times_is_k_images(seed: int) -> None:
    images = drawn(seed, 12, ties=False)
    resampled = figures(images).resampled
    assert resampled is not None
    weights = np.random.default_rng(seed).multinomial(12, np.full(12, 1 / 12))
    again = [
        (truth_of_id(image[0], 1000 * copy + image[0].image_id), *image[1:])
        for image, count in zip(images, weights, strict=True)
        for copy in range(count)
    ]
    want = figures(again)
    assert want.source
    for got, figure in zip(resampled.figures(weights), (want.metrics, want.source), strict=True):
        assert measured(dict(got)) == pytest.approx(measured(figure), abs=1e-9)


def truth_of_id(one: Truth, number: int) -> Truth:
    return Truth(number, one.boxes, one.category_ids, one.iscrowd, one.areas)


def test_what_nothing_bears_on_is_nan_and_not_zero() -> None:
    nothing = InImage(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))
    box = {"bbox": [10.0, 10, 60, 60], "category_id": 5, "iscrowd": 0, "area": 3600.0}
    right = InImage(np.array([[10.0, 10, 70, 70]]), np.array([0.5]), np.array([1]))
    bad = InImage(np.array([[np.nan] * 4, [10, 10, 70, 70]]), np.array([0.9, np.nan]), np.array([1, 1]))
    found = figures([(truth(1, [box]), right, bad), (truth(2, []), right, nothing), (truth(3, [box]), nothing, right)])
    assert found.resampled is not None and found.resampled.differ == 3
    engine, source = found.resampled.figures(np.array([1, 0, 0]))
    assert [engine[name] for name in ("mAP", "mAP_m", "AR_100")] == pytest.approx([1.0] * 3)
    assert np.isnan(engine["mAP_s"])
    assert source["mAP"] == pytest.approx(0.5), "the box of NaN is the first and wrong, the right one the last"
    engine, source = found.resampled.figures(np.array([0, 5, 0]))
    assert all(np.isnan(value) for side in (engine, source) for value in side.values())
    engine, source = found.resampled.figures(np.array([0, 3, 1]))
    assert engine["mAP"] == 0.0 and source["mAP"] == pytest.approx(1.0)


def test_images_differ_where_the_figures_can_tell() -> None:
    images = drawn(3, 20, ties=False)
    same = [(true, mine, mine) for true, mine, _ in images]
    busy = [place for place, (_, mine, _) in enumerate(images) if len(mine.scores)]
    resampled = figures(same).resampled
    assert resampled is not None and resampled.differ == 0 and resampled.work > 0
    true, mine, _ = same[busy[0]]
    for change in (
        mine._replace(scores=mine.scores - 0.01),
        mine._replace(boxes=mine.boxes[1:], scores=mine.scores[1:], classes=mine.classes[1:]),
        mine._replace(classes=(mine.classes + 1) % 3),
    ):
        same[busy[0]] = true, mine, change
        resampled = figures(same).resampled
        assert resampled is not None and resampled.differ == 1
    same[busy[0]] = true, mine, mine._replace(scores=mine.scores + 1e-5, boxes=mine.boxes + 1e-7)
    resampled = figures(same).resampled
    assert resampled is not None and resampled.differ == 0


def test_without_a_source_there_is_nothing_to_pair() -> None:
    both = BothMaps(partial(CocoMap, [(2, "c2")]), False)
    row = {"bbox": [0.0, 0, 9, 9], "category_id": 2, "iscrowd": 0, "area": 81.0}
    line = both.add(truth(1, [row]), InImage(np.array([[0.0, 0, 9, 9]]), np.ones(1), np.zeros(1, int)), None)
    assert line == {"ap": 1.0}
    assert both.figures(Flips()).resampled is None and both.figures(Flips()).source is None


def test_overlaps_are_intersections_over_unions() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 5, 5], [0, 0, -5, 8], [0, 0, 0, 0]])
    truths = np.array([[0.0, 0, 10, 5], [0, 0, 20, 20], [0, 0, 0, 0]])
    plain = box_overlaps(boxes, truths, np.zeros(3, bool))
    assert plain.tolist() == [[0.5, 0.25, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    crowds = box_overlaps(boxes, truths, np.ones(3, bool))
    assert crowds.tolist() == [[0.5, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def by_hand(met: Array, ignored: Array, scores: Array, wanted: int) -> float:
    """Return an image's average precision, box by box."""
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    found = 0.0
    for level in range(len(LEVELS)):
        hits = counted = 0
        for place in order:
            if ignored[place] >> level & 1:
                continue
            counted += 1
            if met[place] >> level & 1:
                hits += 1
                found += hits / counted
    return found / wanted / len(LEVELS)


@pytest.mark.parametrize("seed", range(5))
def test_an_images_own_precision_is_that_of_its_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, wanted = 30, 9
    met = np.where(rng.random(count) < 0.3, (1 << rng.integers(0, 11, count)) - 1, 0)
    ignored = np.where(rng.random(count) < 0.2, 1023, 0) & ~met
    scores = np.sort(rng.random(count))[::-1]
    zeros = np.zeros(count, np.int32)
    bits = met[None].astype(np.uint16), ignored[None].astype(np.uint16)
    one = Matched(1, scores, zeros, zeros, *bits, np.zeros(wanted, np.int32), np.ones((1, wanted), bool))
    assert own_precision(one) == pytest.approx(by_hand(met, ignored, scores, wanted))
    nothing = Matched(1, scores, zeros, zeros, *bits, np.zeros(0, np.int32), np.zeros((1, 0), bool))
    assert own_precision(nothing) is None
