"""The host's suppression of doubles against a slow one written out, and the boxes against figures made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector_in_numpy import delta2bbox, level_anchors
from modelport.core.errors import SignatureError
from modelport.core.values import Array
from modelport.tasks.detection.boxes import best_detections, overlaps

Row = tuple[int, float, tuple[float, ...]]


def _slow(boxes: Array, scores: Array, least: float, most_overlap: float, best: int) -> list[Row]:
    """One image's detections by the definition: every class on its own, then the best of all."""
    found: list[Row] = []
    for kind in range(scores.shape[1]):
        queue = sorted((-float(scores[i, kind]), i) for i in range(len(boxes)) if scores[i, kind] > least)
        kept: list[int] = []
        for _, i in queue:
            if all(_overlap(boxes[i], boxes[j]) <= most_overlap for j in kept):
                kept.append(i)
        found += [(kind, float(scores[i, kind]), tuple(map(float, boxes[i]))) for i in kept]
    return sorted(found, key=lambda row: -row[1])[:best]


def _overlap(a: Array, b: Array) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - wide * high
    return float(wide * high / union) if union > 0 else 1.0


def _random(seed: int, rows: int, classes: int) -> tuple[Array, Array]:
    """Boxes on a coarse grid, so that equal boxes, lines and exact halves occur; scores all different."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, 7, (1, rows, 2, 2)), axis=2).reshape(1, rows, 4) * 16
    scores = rng.permutation(np.linspace(0, 1, rows * classes)).reshape(1, rows, classes)
    return corners.astype(np.float32), scores.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 60), classes=st.integers(1, 4), best=st.integers(1, 120))
def test_what_stays_is_what_the_definition_keeps(seed: int, rows: int, classes: int, best: int) -> None:
    boxes, scores = _random(seed, rows, classes)
    dets, labels = best_detections(boxes, scores, best=best)
    wanted = _slow(boxes[0], scores[0], 0.05, 0.5, best)
    got = [(int(k), float(d[4]), tuple(map(float, d[:4]))) for d, k in zip(dets[0], labels[0], strict=True) if k >= 0]
    assert got == wanted
    assert (labels[0, len(wanted) :] == -1).all()
    assert not dets[0, len(wanted) :].any()


def test_an_images_detections_do_not_depend_on_its_batch() -> None:
    pairs = [_random(seed, 50, 3) for seed in range(3)]
    dets, labels = best_detections(*(np.concatenate(parts) for parts in zip(*pairs, strict=True)))
    for row, pair in enumerate(pairs):
        alone = best_detections(*pair)
        np.testing.assert_array_equal(dets[row], alone[0][0])
        np.testing.assert_array_equal(labels[row], alone[1][0])


def test_shapes_and_dtypes_where_nothing_is_found() -> None:
    dets, labels = best_detections(np.zeros((2, 7, 4), np.float32), np.zeros((2, 7, 80), np.float32))
    assert (dets.shape, str(dets.dtype)) == ((2, 100, 5), "float32")
    assert (labels.shape, str(labels.dtype)) == ((2, 100), "int64")
    assert not dets.any()
    assert (labels == -1).all()


def test_thresholds_must_be_exceeded() -> None:
    boxes = np.array([[[0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]]], np.float32)
    scores = np.array([[[0.9], [0.8], [0.05]]], np.float32)
    # The second overlaps the first by exactly one half and stays; the third has exactly 0.05 and goes.
    dets, _ = best_detections(boxes, scores, score_threshold=float(np.float32(0.05)))
    np.testing.assert_array_equal(dets[0, :3, 4], np.array([0.9, 0.8, 0], np.float32))


def test_equal_scores_stay_in_order_box_by_box() -> None:
    boxes = np.array([[[0, 0, 10, 10], [20, 0, 30, 10]]], np.float32)
    dets, labels = best_detections(boxes, np.full((1, 2, 2), 0.5, np.float32), best=4)
    assert labels[0].tolist() == [0, 1, 0, 1]
    assert dets[0, :, 0].tolist() == [0, 0, 20, 20]


def test_lines_are_doubles_of_each_other_within_a_class_only() -> None:
    boxes = np.array([[[0, 0, 640, 0], [0, 0, 9, 0], [0, 0, 640, 0]]], np.float32)
    scores = np.array([[[0.9, 0], [0.8, 0], [0, 0.7]]], np.float32)
    dets, labels = best_detections(boxes, scores)
    assert labels[0, :3].tolist() == [0, 1, -1]
    assert dets[0, 0, 2] == 640


def test_overlaps_by_hand() -> None:
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [3, 3, 3, 9]], np.float32)
    np.testing.assert_allclose(overlaps(others[0], others), [1, 1 / 3, 0, 0], rtol=1e-6)


@pytest.mark.parametrize("bad", ["boxes", "scores"])
def test_nan_is_refused(bad: str) -> None:
    made = dict(zip(("boxes", "scores"), _random(0, 5, 2), strict=True))
    made[bad][0, 0, 0] = np.nan
    with pytest.raises(SignatureError, match="NaN"):
        best_detections(made["boxes"], made["scores"])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SignatureError, match="belong together"):
        best_detections(np.zeros((1, 4, 4), np.float32), np.zeros((1, 5, 2), np.float32))


def test_anchors_by_hand() -> None:
    anchors = level_anchors(2, 3, 8)
    assert anchors.shape == (54, 4)
    np.testing.assert_allclose(anchors[3], [-16, -16, 16, 16])  # ratio 1, scale 1, on the corner
    np.testing.assert_allclose(anchors[9 + 3], [-8, -16, 24, 16])  # one place to the right
    np.testing.assert_allclose(anchors[27 + 3], [-16, -8, 16, 24])  # one place down
    wide, tall = 32 * 2**0.5, 32 / 2**0.5
    np.testing.assert_allclose(anchors[0], [-wide / 2, -tall / 2, wide / 2, tall / 2], rtol=1e-6)  # ratio one half
    assert (anchors[:, 2] - anchors[:, 0])[4] == pytest.approx(32 * 2 ** (1 / 3))


def test_deltas_shift_stretch_and_are_clipped() -> None:
    anchor = np.array([100, 100, 110, 120], np.float32)
    deltas = np.array([[0, 0, 0, 0], [0.5, -0.5, np.log(2), 0], [0, 0, 50, -50]], np.float32)
    boxes = delta2bbox(np.tile(anchor, (3, 1)), deltas, (200, 300))
    np.testing.assert_allclose(boxes[0], anchor)
    np.testing.assert_allclose(boxes[1], [100, 90, 120, 110], rtol=1e-6)
    # At most 62.5 times as wide, at least 0.016 times as high; then cut to the image, 300 wide and 200 high.
    np.testing.assert_allclose(boxes[2], [0, 110 - 0.16, 300, 110 + 0.16], rtol=1e-6)
