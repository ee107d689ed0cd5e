"""What lies between two arrays, held against formulas in float64 over the whole arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.tasks.outputs.nearness import MOST_PSNR, Nearness


def _near(got: Array, want: Array, parts: int = 1) -> Nearness:
    found = Nearness()
    for mine, theirs in zip(np.array_split(got, parts), np.array_split(want, parts), strict=True):
        found.take(mine, theirs)
    return found


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("parts", [1, 3])
def test_figures_are_those_of_the_whole_arrays_however_they_are_parted(dtype: type, parts: int) -> None:
    rng = np.random.default_rng(1)
    want: Array = rng.normal(3, 2, (7, 5, 11)).astype(dtype)
    got: Array = (want + rng.normal(0, 0.1, want.shape)).astype(dtype)
    a, b = got.astype(np.float64).ravel(), want.astype(np.float64).ravel()
    found = _near(got, want, parts).near()
    assert found.max_abs == np.max(np.abs(a - b)) and found.largest == np.max(np.abs(b)) and found.elements == a.size
    assert found.mean_abs == pytest.approx(np.mean(np.abs(a - b)), rel=1e-12)
    assert found.rel_l2 == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b), rel=1e-12)
    assert found.cosine == pytest.approx(np.corrcoef(np.r_[a, -a], np.r_[b, -b])[0, 1], rel=1e-12)
    assert found.psnr == pytest.approx(10 * np.log10(np.max(np.abs(b)) ** 2 / np.var(np.r_[a - b, b - a])), rel=1e-12)
    assert found.argmax == pytest.approx(
        100
        * np.mean(
            [np.argmax(x) == np.argmax(y) for x, y in zip(got.reshape(-1, 11), want.reshape(-1, 11), strict=True)]
        )
    )


def test_the_same_arrays_are_as_near_as_can_be() -> None:
    rows = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    found = _near(rows, rows).near()
    assert (found.max_abs, found.mean_abs, found.rel_l2, found.psnr, found.argmax) == (0, 0, 0, MOST_PSNR, 100)
    assert found.cosine == pytest.approx(1, abs=1e-15)
    zeros = _near(np.zeros(3), np.zeros(3)).near()
    assert (zeros.cosine, zeros.rel_l2, zeros.psnr) == (1, 0, MOST_PSNR)
    missed = _near(np.ones(3), np.zeros(3)).near()
    assert (missed.cosine, missed.rel_l2, missed.psnr) == (0, None, 0)


def test_what_is_not_finite_is_counted_and_left_out_of_the_figures() -> None:
    want = np.array([1.0, np.nan, np.inf, 2.0, 3.0, -np.inf])
    got = np.array([1.5, np.nan, np.inf, np.nan, 3.0, np.inf])
    found = _near(got, want)
    near = found.near()
    assert (near.nonfinite.got, near.nonfinite.want, near.nonfinite.differ) == (4, 3, 2)
    assert near.max_abs == 0.5 and near.mean_abs == 0.25 and found.beyond == math.inf
    alike = _near(np.array([1.5, np.nan]), np.array([1.0, np.nan]))
    assert alike.beyond == 0.5
    nothing = _near(np.array([np.nan]), np.array([np.nan]))
    assert nothing.near().max_abs is None and nothing.beyond == math.inf


def test_within_is_what_numpy_calls_close() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        want = rng.normal(size=20)
        got = want + rng.normal(0, 0.01, 20)
        atol, rtol = rng.uniform(0, 0.03), rng.choice([0.0, 0.02])
        found = Nearness(rtol)
        found.take(got, want)
        assert (found.beyond <= atol) == np.allclose(got, want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("rows", [np.zeros((3, 1)), np.zeros(4), np.zeros((2, 3, 4, 4)), np.zeros((2, 5), np.int64)])
def test_no_argmax_where_no_class_stands_on_the_last_axis(rows: Array) -> None:
    assert _near(rows, rows).near().argmax is None
