"""Masks in the image: pasted as PyTorch samples them, filled and encoded as pycocotools does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch.nn.functional import grid_sample

from modelport.core.errors import DataError
from modelport.core.placement import Placement
from modelport.core.values import Array, Outline
from modelport.data.sets.coco_shapes import shape_of
from modelport.tasks.instances.encoded import area_of, encoded_outline, laid_out, overlaps, pasted

HEIGHT, WIDTH = 60, 80
# pycocotools' own arrays are of an older kind than NumPy wants.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def by_torch(mask: Array, box: Array) -> Array:
    """Return mmdetection's ``_do_paste_mask`` of one mask, before its threshold."""
    x, y = torch.arange(WIDTH) + 0.5, torch.arange(HEIGHT) + 0.5
    x = (x - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (y - box[1]) / (box[3] - box[1]) * 2 - 1
    grid = torch.stack([x[None].expand(HEIGHT, WIDTH), y[:, None].expand(HEIGHT, WIDTH)], 2)[None].float()
    return grid_sample(torch.from_numpy(mask)[None, None], grid, align_corners=False)[0, 0].numpy()


def test_masks_of_boxes_are_pasted_as_by_pytorch() -> None:
    rng = np.random.default_rng(0)
    masks = rng.uniform(0, 1, (8, 14, 14)).astype(np.float32)
    masks = (masks + np.hypot(*np.mgrid[-1:1:14j, -1:1:14j]) < 1.4).astype(np.float32) * rng.uniform(
        0.4, 1, (8, 14, 14)
    )
    masks = masks.astype(np.float32)
    corners = rng.uniform(-10, [70, 50], (8, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(3, 60, (8, 2))], axis=1)
    for mask, box, found in zip(masks, boxes, pasted(masks, boxes, HEIGHT, WIDTH, 0.5), strict=True):
        want = by_torch(mask, box)
        clear = np.abs(want - 0.5) > 1e-4
        assert clear.mean() > 0.99 and (want >= 0.5).any()
        np.testing.assert_array_equal(coco_mask.decode(found)[clear], (want >= 0.5)[clear])
        assert area_of(found) == coco_mask.decode(found).sum()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 9, 5, 5), (-30, -30, -20, -20), (90, 0, 99, 9), (np.nan, 0, 9, 9)])
def test_a_box_of_nothing_has_no_pixels(box: tuple[float, ...]) -> None:
    found = list(pasted(np.ones((1, 4, 4), np.float32), np.array([box]), HEIGHT, WIDTH, 0.5))
    assert len(found) == 1 and (area_of(found[0]) == 0 or np.isnan(box[0]))


def test_masks_of_the_whole_input_lie_where_the_image_does() -> None:
    mask = np.zeros((1, 48, 64), np.float32)
    mask[0, 10:30, 5:20] = 1
    placed = Placement(WIDTH, HEIGHT, 0.5, 0.5, 12, 9)
    found = coco_mask.decode(next(laid_out(mask, placed, (48, 64), 0.5)))
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    # Rows 10 … 29 of the input are the image's 2 … 41, columns from 5 on are left of it, and up to 19 its 0 … 15.
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (2, 41, 0, 15)


def test_outlines_are_filled_as_by_cocos_tools() -> None:
    rng = np.random.default_rng(1)
    for count in (1, 3):
        polygons = [rng.uniform(-3, [WIDTH + 3, HEIGHT + 3], (7, 2)) for _ in range(count)]
        flat = [polygon.ravel().tolist() for polygon in polygons]
        read = shape_of("x", {"segmentation": flat}, "outlines")
        assert isinstance(read, Outline) and len(read.polygons) == count
        want = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, HEIGHT, WIDTH)))
        np.testing.assert_array_equal(coco_mask.decode(encoded_outline(read, HEIGHT, WIDTH, "x")), want)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_encoded_masks_are_read_compressed_or_not(share: float) -> None:
    mask = np.asfortranarray((np.random.default_rng(2).random((HEIGHT, WIDTH)) < share).astype(np.uint8))
    text = coco_mask.encode(mask)["counts"].decode()
    runs, inside = [0], 0
    for value in mask.ravel(order="F").tolist():
        if value != inside:
            runs.append(0)
            inside = value
        runs[-1] += 1
    for counts in (text, runs):
        read = shape_of("x", {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}}, "outlines")
        assert isinstance(read, Outline) and read.runs is not None and read.runs.tolist() == runs
        np.testing.assert_array_equal(coco_mask.decode(encoded_outline(read, HEIGHT, WIDTH, "x")), mask)
    assert isinstance(read, Outline)
    with pytest.raises(DataError, match="image 7: a mask is encoded for 80 × 60 pixels, the image is 60 × 80"):
        encoded_outline(read, WIDTH, HEIGHT, "image 7")


def test_long_runs_are_read() -> None:
    mask = np.zeros((3000, 2000), np.uint8, order="F")
    mask[2999, 1999] = 1
    counts = coco_mask.encode(mask)["counts"].decode()
    read = shape_of("x", {"segmentation": {"size": [3000, 2000], "counts": counts}}, "outlines")
    assert isinstance(read, Outline) and read.runs is not None and read.runs.tolist() == [5_999_999, 1]


def test_overlaps_are_cocos() -> None:
    rng = np.random.default_rng(3)
    masks = [coco_mask.encode(np.asfortranarray((rng.random((9, 9)) < 0.5).astype(np.uint8))) for _ in range(5)]
    np.testing.assert_allclose(overlaps(masks[:2], masks[2:]), coco_mask.iou(masks[:2], masks[2:], [0] * 3))
    assert overlaps([], masks).shape == (0, 5) and overlaps(masks, []).shape == (5, 0)
