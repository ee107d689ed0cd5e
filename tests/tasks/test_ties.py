"""Rows that a tie decides are counted, and said where the outputs were rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.core.errors import UsageError
from modelport.core.placement import GuidePlacement, Placement
from modelport.core.values import Array
from modelport.data.prepare.letterbox import LateBox
from modelport.recipes.load import load_recipe
from modelport.report.detections import DetectionFiles
from modelport.report.guide_json import guide_text
from modelport.tasks.classification.topk import TiedRows
from modelport.tasks.contrastive.pairs import TiedViews
from modelport.tasks.scoring import Score
from modelport.tasks.table import task_of


def test_small_probabilities_in_six_decimals_are_ties_that_decide() -> None:
    rng = np.random.default_rng(0)
    logits = 12 * rng.normal(size=(200, 50))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    printed = np.round(shares, 6).astype(np.float32)
    targets = rng.integers(0, 50, 200)
    tied = TiedRows("o", ("top1", "top5"))
    tied.take({"o": printed}, targets.tolist())
    want = {"top1": 0, "top5": 0}
    for row, target in zip(printed, targets, strict=True):
        for name, k in (("top1", 1), ("top5", 5)):
            best = sum(value > row[target] for value in row) < k
            worst = sum(value >= row[target] for value in row) <= k
            want[name] += best != worst
    assert tied.counts == want and want["top5"] > 0
    assert tied.too_many(["top5"])
    whole = TiedRows("o", ("top1", "top5"))
    whole.take({"o": shares}, targets.tolist())
    assert whole.affected(["top1", "top5"]) == {} and not whole.too_many(["top1", "top5"])


@pytest.mark.parametrize("value", [0.0, 0.02])
def test_rows_of_one_value_hang_on_ties_alone(value: float) -> None:
    tied = TiedRows("o", ("top1", "top5"))
    tied.take({"o": np.full((3, 50), value, np.float16)}, [0, 7, 49])
    assert tied.counts == {"top1": 3, "top5": 3}


@pytest.mark.parametrize(("width", "height"), [(500, 333), (640, 427), (333, 500), (640, 640)])
def test_the_guides_boxes_go_back_by_its_own_arithmetic(width: int, height: int) -> None:
    own, _ = LateBox((640, 640), (640, 640)).place(width, height, "x.jpg")
    boxes = np.array([[10.5, 120.25, 600, 500], [-5, -5, 700, 700], [650, 650, 660, 660]])
    scale = min(640 / width, 640 / height)
    left, top = (640 - width * scale) // 2, (640 - height * scale) // 2
    low = [(a - left) / scale for a in boxes[:, 0]], [(b - top) / scale for b in boxes[:, 1]]
    high = [(c - left) / scale for c in boxes[:, 2]], [(d - top) / scale for d in boxes[:, 3]]
    corners = zip(*low, *high, strict=True)
    want = [[max(a, 0), max(b, 0), min(c, width), min(d, height)] for a, b, c, d in corners]
    np.testing.assert_allclose(GuidePlacement.of(own, (640, 640)).to_image(boxes), want, rtol=1e-14)
    assert isinstance(own, Placement) and np.abs(own.to_image(boxes[:1]) - want[0]).max() < 1


def test_the_threshold_of_drawing_is_a_score() -> None:
    assert DetectionFiles(Path("d")).drawn_from == 0.5
    assert DetectionFiles(Path("d"), score_threshold=0.3).drawn_from == 0.3
    assert DetectionFiles(Path("d"), score_threshold=0.3, draw_threshold=0.7).drawn_from == 0.7
    for value, place in ((1.5, Path("d")), (-0.1, Path("d")), (float("nan"), Path("d")), (0.5, None)):
        with pytest.raises(UsageError, match="draw-threshold"):
            DetectionFiles(place, draw_threshold=value)


def test_the_detectors_text_file_has_the_scripts_lines() -> None:
    text = guide_text({"mAP": Score(0.4049, "mAP", 5, None), "mAP_50": Score(0.6, "mAP", 5, None)})
    assert text.splitlines()[:3] == ["bbox_mAP: 0.405", "bbox_mAP_50: 0.6", "bbox_mAP_75: -1.0"]
    assert text.splitlines()[-1] == "bbox_mAP_copypaste: 0.405 0.600 -1.000 -1.000 -1.000 -1.000"


def test_the_labels_offset_is_counted_in() -> None:
    # Ten classes behind a background class: the ties are those of class 4, not of class 3.
    logits = np.array([[0.0, 9, 8, 7, 5, 5, 5, 5, 0, 0, 0]])
    plain, moved = TiedRows("o", ("top5",)), TiedRows("o", ("top5",), offset=1)
    plain.take({"o": logits}, [3])
    moved.take({"o": logits}, [3])
    assert plain.counts == {"top5": 1 if _decides(logits[0], 3, 5) else 0}
    assert moved.counts == {"top5": 1 if _decides(logits[0], 4, 5) else 0} == {"top5": 1}
    assert plain.counts != moved.counts


def _decides(row: Array, target: int, k: int) -> bool:
    others = np.delete(row, target)
    best, worst = (others > row[target]).sum(), (others >= row[target]).sum()
    return bool(best < k <= worst)


def test_views_that_rounding_made_alike_are_counted() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(130, 2, 8)).astype(np.float32)
    features[:, 1] = features[:, 0]  # each view finds its other one
    features[3] = features[7]  # … but these four are one
    features[5, 1] = 0  # nothing is left of this one: neither view of 5 has another to find
    tied, healthy = TiedViews("o"), TiedViews("o")
    rows = features.reshape(-1, 8)
    for start in range(0, len(rows), 30):
        tied.take({"o": rows[start : start + 30]}, ())
    assert (tied.n, tied.counts) == (256, {"contrastive_top1": 4 + 2})
    assert tied.points(["contrastive_top1"]) == {"contrastive_top1": 600 / 256}
    healthy.take({"o": rng.normal(size=(256, 8))}, ())
    assert healthy.affected(["contrastive_top1"]) == {}


def test_a_row_of_nan_is_no_tie_of_views() -> None:
    rows = np.random.default_rng(2).normal(size=(256, 8))
    rows[10] = np.nan
    tied = TiedViews("o")
    tied.take({"o": rows}, ())
    assert tied.counts == {"contrastive_top1": 0}


@pytest.mark.parametrize(("recipe", "metrics"), [("moco-v2", 5), ("inception-v4", 2), ("simclr", 1), ("nas-fpn", 0)])
def test_every_task_has_its_ties(recipe: str, metrics: int) -> None:
    found = task_of(load_recipe(recipe)).ties()
    assert len(found.counts) >= min(metrics, 1) and (metrics > 0) == bool(found.counts)
