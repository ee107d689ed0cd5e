"""Placements: what the letterbox did is undone, and nothing lies outside the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.core.placement import Placement

SIDES = st.integers(1, 4000)


@given(SIDES, SIDES, st.floats(0.01, 20), st.floats(0.01, 20), st.integers(0, 600), st.integers(0, 600), st.data())
def test_boxes_come_back_from_where_they_were_put(
    width: int, height: int, scale_x: float, scale_y: float, left: int, top: int, data: st.DataObject
) -> None:
    share = st.floats(0, 1)
    x, y = data.draw(share) * width, data.draw(share) * height
    placed = [x * scale_x + left, y * scale_y + top, width * scale_x + left, height * scale_y + top]
    placement = Placement(width, height, scale_x, scale_y, left, top)
    np.testing.assert_allclose(placement.to_image(np.array([placed])), [[x, y, width, height]], rtol=1e-9, atol=1e-7)


def test_what_lies_in_the_padding_is_clipped() -> None:
    placement = Placement(200, 100, 2.0, 2.0, pad_left=0, pad_top=100)
    boxes = np.array([[-5, 0, 500, 400], [10, 120, 30, 140], [0, 0, 400, 50], [0, 350, 400, 400]], np.float32)
    got = placement.to_image(boxes)
    assert got.tolist() == [[0, 0, 200, 100], [5, 10, 15, 20], [0, 0, 200, 0], [0, 100, 200, 100]]
    assert got.dtype == np.float64


def test_each_axis_has_its_own_scale_and_shift() -> None:
    placement = Placement(1000, 1000, 0.5, 0.25, pad_left=10, pad_top=20)
    assert placement.to_image(np.array([[11, 22, 13, 24]])).tolist() == [[2, 8, 6, 16]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_boxes_are_no_boxes(dtype: type) -> None:
    assert Placement(10, 10, 1.0, 1.0, 0, 0).to_image(np.zeros((0, 4), dtype)).shape == (0, 4)


def test_the_boxes_that_were_given_stay_as_they_are() -> None:
    boxes = np.array([[1.0, 2.0, 3.0, 4.0]])
    Placement(10, 10, 2.0, 2.0, 0, 0).to_image(boxes)
    assert boxes.tolist() == [[1.0, 2.0, 3.0, 4.0]]
