"""Where an image lies in the input: a mark drawn on the image is found where the placement says."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from modelport.core.placement import Placement
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.steps import Step

DECODE = {"step": "decode", "color": "RGB", "exif_rotation": "ignore"}
UNIT = {"step": "normalize", "divide": 255.0, "mean": [0.0], "std": [1.0]}
SHORTER = {"step": "resize_shorter", "size": 40, "interpolation": "bilinear"}
SQUASH = {"step": "resize", "width": 48, "height": 32, "interpolation": "bilinear"}
CROP = {"step": "center_crop", "size": 24, "rounding": "floor"}


def prepared(*steps: dict[str, Any], **words: Any) -> Preprocess:
    return Preprocess(TypeAdapter(list[Step]).validate_python([DECODE, *steps, UNIT]), **words)


@pytest.mark.parametrize(
    ("steps", "shape", "fast"),
    [
        ([], (60, 90), False),
        ([SQUASH], (32, 48), False),
        ([SHORTER], (40, 60), False),
        ([SHORTER, CROP], (24, 24), False),
        ([SHORTER, CROP], (24, 24), True),
        ([CROP], (24, 24), False),
        ([SQUASH, CROP, CROP | {"size": 15}], (15, 15), False),
    ],
)
def test_a_mark_is_where_the_placement_says(steps: list[dict[str, Any]], shape: tuple[int, int], fast: bool) -> None:
    pixels = np.zeros((60, 90, 3), np.uint8)
    left, top, right, bottom = 40, 27, 50, 33
    pixels[top:bottom, left:right] = 255
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    prepare, out = prepared(*steps, placed=True, fast=fast), np.empty((3, *shape), np.float32)
    placement = prepare.into(stream.getvalue(), "x", out)
    assert placement is not None and placement == prepare.place(stream.getvalue(), "x")
    rows, columns = (out[0].max(axis=axis) for axis in (1, 0))
    middle = [float((np.arange(len(line)) + 0.5) @ line / line.sum()) for line in (columns, rows)]
    box = placement.to_network(np.array([[left, top, right, bottom]]))[0]
    np.testing.assert_allclose([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], middle, atol=0.3)
    if not any(step["step"] == "center_crop" for step in steps):
        assert placement == Placement(90, 60, shape[1] / 90, shape[0] / 60, 0, 0)


def test_none_is_told_where_nobody_asks_or_none_can_be_told() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (90, 60)).save(stream, "PNG")
    assert prepared(SQUASH).place(stream.getvalue(), "x") is None
    assert prepared(CROP, SQUASH, placed=True).place(stream.getvalue(), "x") is None
