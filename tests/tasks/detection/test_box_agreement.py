"""Met boxes: one to one, same class, enough overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelport.tasks.detection.boxes import ious, met

BOX = np.array([[10.0, 10.0, 30.0, 20.0]])


def boxes(rng: np.random.Generator, count: int, side: int = 12) -> NDArray[np.float64]:
    corners = rng.integers(0, side, (count, 2))
    return np.concatenate([corners, corners + rng.integers(1, side, (count, 2))], axis=1).astype(np.float64)


def counted(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Return the overlap of two boxes with whole corners by counting pixels."""
    grids = []
    for left, top, right, bottom in (one.astype(int).tolist(), two.astype(int).tolist()):
        grid = np.zeros((30, 30), bool)
        grid[top:bottom, left:right] = True
        grids.append(grid)
    return float((grids[0] & grids[1]).sum() / (grids[0] | grids[1]).sum())


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(0, 6))
def test_overlaps_equal_counted_pixels(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    one, two = boxes(rng, n), boxes(rng, m)
    want = np.array([[counted(a, b) for b in two] for a in one]).reshape(n, m)
    np.testing.assert_allclose(ious(one, two), want, atol=1e-12)


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(0, 12))
def test_a_model_meets_itself_in_any_order(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    own, labels = boxes(rng, n), rng.integers(0, 3, n)
    order = rng.permutation(n)
    assert met(own, labels, own[order], labels[order]) == (n, n)


@settings(max_examples=80)
@given(st.integers(0, 10_000), st.integers(0, 8), st.integers(0, 8), st.floats(0.1, 1.0))
def test_no_box_is_used_twice_and_none_is_left_that_fits(seed: int, n: int, m: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    one, two = boxes(rng, n), boxes(rng, m)
    labels, others = rng.integers(0, 2, n), rng.integers(0, 2, m)
    found, of = met(one, labels, two, others, least)
    assert of == n
    fits = (ious(one, two) >= least) & (labels[:, None] == others[None, :])
    # A greedy matching is no smaller than half of any other, and no larger than either side.
    assert found <= min(fits.any(axis=1).sum(), fits.any(axis=0).sum())
    assert found >= min(1, fits.sum())


def test_two_boxes_do_not_meet_one() -> None:
    assert met(np.repeat(BOX, 2, axis=0), np.array([4, 4]), BOX, np.array([4])) == (1, 2)
    assert met(BOX, np.array([4]), np.repeat(BOX, 2, axis=0), np.array([4, 4])) == (1, 1)


def test_another_class_does_not_meet() -> None:
    assert met(BOX, np.array([4]), BOX, np.array([5])) == (0, 1)


@pytest.mark.parametrize(("width", "want"), [(18.0, 1), (17.99, 0)])
def test_nine_tenths_are_enough(width: float, want: int) -> None:
    other = np.array([[10.0, 10.0, 10.0 + width, 20.0]])
    assert met(BOX, np.array([0]), other, np.array([0])) == (want, 1)


def strips(*lengths: float) -> NDArray[np.float64]:
    return np.array([[0, 0, length, 10] for length in lengths])


def test_the_best_overlap_is_taken_first() -> None:
    # The first source's box would also do with the second engine's, which the second source's cannot spare.
    labels = np.array([0, 0])
    assert met(strips(100, 84), labels, strips(92, 100), labels) == (2, 2)


def test_a_box_that_is_met_takes_no_second_one() -> None:
    labels = np.array([0, 0])
    assert met(strips(100, 91), labels, strips(100, 99), labels) == (2, 2)


def test_nothing_meets_nothing() -> None:
    none, no_labels = np.zeros((0, 4)), np.zeros(0, np.int64)
    assert met(none, no_labels, BOX, np.array([0])) == (0, 0)
    assert met(BOX, np.array([0]), none, no_labels) == (0, 1)


def test_boxes_without_area_meet_their_equals_and_nan_meets_nothing() -> None:
    line, nan = np.array([[5.0, 5, 5, 9]]), np.full((1, 4), np.nan)
    assert met(line, np.array([0]), line.copy(), np.array([0])) == (1, 1)
    assert met(line, np.array([0]), line + 1, np.array([0])) == (0, 1)
    assert met(BOX, np.array([0]), nan, np.array([0])) == (0, 1)
    assert met(nan, np.array([0]), nan.copy(), np.array([0])) == (0, 1)
