"""Distances of tensors: against NumPy in float64, and of values too large, too small, not finite or of other shapes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelport.core.magnitude import CHUNK, root_mean_square
from modelport.core.values import Array
from modelport.diagnose.distance import NOWHERE, distance, total_distance

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_measures_are_those_of_their_formulas(dtype: type) -> None:
    want: Array = RANDOM.standard_normal(2 * CHUNK + 7).astype(dtype)
    got: Array = (want + RANDOM.normal(0, 0.1, want.size)).astype(dtype)
    one, two = got.astype(np.float64), want.astype(np.float64)
    found = distance(got, want)
    assert found.cosine == pytest.approx(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
    assert found.rel_l2 == pytest.approx(np.linalg.norm(one - two) / np.linalg.norm(two))
    assert found.max_abs == np.abs(one - two).max() and found.nonfinite == 0


def test_several_tensors_are_one_long_vector() -> None:
    pairs = [(RANDOM.standard_normal(9), RANDOM.standard_normal(9)) for _ in range(3)]
    got, want = (np.concatenate(side) for side in zip(*pairs, strict=True))
    found, whole = total_distance(pairs), distance(got, want)
    assert found.rel_l2 == pytest.approx(whole.rel_l2) and found.cosine == pytest.approx(whole.cosine)


def test_another_shape_is_infinitely_far_and_says_nothing_of_values_that_are_not_finite() -> None:
    assert distance(np.ones(3), np.ones(4)) == NOWHERE and NOWHERE.nonfinite == 0


@pytest.mark.filterwarnings("error")
def test_squares_that_float64_cannot_hold() -> None:
    small, large = np.full(4, 1e-100), np.full(4, 1e200)
    assert distance(small, small).cosine == pytest.approx(1) and distance(small, small).rel_l2 == 0
    assert distance(large, large).rel_l2 == 0
    far = distance(2 * large, large)
    assert far.max_abs == 1e200 and math.isinf(far.rel_l2) and far.cosine is None


def test_values_that_are_not_finite_on_both_sides_alike_are_met() -> None:
    want = np.array([1, np.nan, np.inf, 2], np.float32)
    assert distance(want, want).rel_l2 == 0
    broken = np.array([np.nan, np.nan, np.inf, 2], np.float32)
    assert distance(broken, want).nonfinite == 1 and math.isinf(distance(broken, want).rel_l2)


@pytest.mark.filterwarnings("error")
def test_the_root_mean_square_is_added_up_in_float64() -> None:
    # In float32 the sum of so many equal squares is off by 4e-4.
    assert root_mean_square(np.full(1 << 22, 0.1, np.float32)) == pytest.approx(np.float32(0.1), rel=1e-12)
    assert root_mean_square(np.full((3, 5), 3e38, np.float32)) == pytest.approx(3e38)
    assert root_mean_square(np.full(3, 60000, np.float16)) == pytest.approx(60000)
    assert root_mean_square(np.zeros((0, 4))) == 0
    assert math.isinf(root_mean_square(np.full(3, 1e200))) and math.isnan(root_mean_square(np.array([1, np.nan])))
