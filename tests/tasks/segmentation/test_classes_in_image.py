"""Scores brought to the image's size are what PyTorch's interpolation makes of them, padding cut off in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from modelport.core.placement import Placement
from modelport.core.values import Array
from modelport.tasks.segmentation import pixels
from modelport.tasks.segmentation.pixels import NO_CLASS, classes_in_image

CANVAS = (32, 48)
# The size of the image, the size that it is fitted to, and where that lies.
PLACES = {
    "squashed": ((90, 61), (48, 32), (0, 0)),
    "letterboxed": ((90, 50), (48, 27), (0, 2)),
    "upright": ((20, 90), (7, 32), (20, 0)),
    "as it is": ((48, 32), (48, 32), (0, 0)),
    "cropped": ((100, 80), (60, 48), (-6, -8)),
}


def place(name: str) -> Placement:
    size, fitted, corner = PLACES[name]
    return Placement(*size, fitted[0] / size[0], fitted[1] / size[1], *corner)


def by_torch(scores: Array, placement: Placement) -> Array:
    """Return scores (C, H, W) as mmsegmentation makes them: to the input, padding cut, to the image.

    What a crop has cut off is filled with the nearest that is left, so that all else lies where it was.
    """
    whole = interpolate(torch.from_numpy(scores)[None], CANVAS, mode="bilinear", align_corners=False)[0].numpy()
    size = (placement.image_height, placement.image_width)
    fitted = [round(side * scale) for side, scale in zip(size, (placement.scale_y, placement.scale_x), strict=True)]
    for axis, pad in ((1, placement.pad_top), (2, placement.pad_left)):
        if pad < 0:
            more = (fitted[axis - 1] - CANVAS[axis - 1] + pad, 0)[::-1]
            widths = [(0, 0), (0, 0), (0, 0)]
            widths[axis] = (-pad, more[1])
            whole = np.pad(whole, widths, mode="edge")
        else:
            whole = whole.take(range(pad, pad + fitted[axis - 1]), axis=axis)
    return interpolate(torch.from_numpy(whole)[None], size, mode="bilinear", align_corners=False)[0].numpy()


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("coarse", [(4, 6), (32, 48), (9, 7), (64, 96)])
@pytest.mark.parametrize("strip", [1, 10**9])
def test_classes_are_those_of_interpolated_scores(
    name: str, coarse: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "STRIP_ELEMENTS", strip)
    scores = np.random.default_rng(len(name)).normal(size=(5, *coarse)).astype(np.float32)
    placement = place(name)
    want = by_torch(scores, placement)
    found = classes_in_image(scores, placement, CANVAS)
    whole = np.zeros((placement.image_height, placement.image_width), bool)
    found.cut(whole)[:] = True
    rows, columns = (np.flatnonzero(whole.any(axis=axis)) for axis in (1, 0))
    for places, scale, pad, side, count in (
        (rows, placement.scale_y, placement.pad_top, CANVAS[0], placement.image_height),
        (columns, placement.scale_x, placement.pad_left, CANVAS[1], placement.image_width),
    ):
        middles = (np.arange(count) + 0.5) * scale + pad
        np.testing.assert_array_equal(places, np.flatnonzero((middles >= 0) & (middles < side)))
    shown = found.cut(want.transpose(1, 2, 0)).transpose(2, 0, 1)
    best = np.sort(shown, axis=0)
    clear = best[-1] - best[-2] > 1e-5
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(found.classes[clear], shown.argmax(axis=0)[clear])
    if name != "cropped":
        assert whole.all()


@pytest.mark.parametrize("coarse", [(32, 48), (16, 24), (64, 96)])
def test_numbers_of_classes_are_the_nearest(coarse: tuple[int, int]) -> None:
    numbers = np.random.default_rng(1).integers(0, 9, coarse)
    placement = place("squashed")
    want = interpolate(torch.from_numpy(numbers)[None, None].double(), (61, 90), mode="nearest-exact")[0, 0]
    np.testing.assert_array_equal(classes_in_image(numbers, placement, CANVAS).classes, want.numpy())


def test_an_image_as_it_is_keeps_every_number() -> None:
    numbers = np.random.default_rng(2).integers(0, 9, CANVAS)
    np.testing.assert_array_equal(classes_in_image(numbers, place("as it is"), CANVAS).classes, numbers)


def test_a_pixel_whose_scores_hold_nan_has_no_class() -> None:
    scores = np.random.default_rng(3).normal(size=(4, *CANVAS)).astype(np.float16)
    scores[2, 5, 7] = np.nan
    found = classes_in_image(scores, place("as it is"), CANVAS).classes
    assert found[5, 7] == NO_CLASS and (found == NO_CLASS).sum() == 1
