"""What is told of an image beside its label: its size as decoded, and how bright it is."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelport.core.values import Sample, TensorSpec
from modelport.data.prepare.transforms import Preprocess
from modelport.data.stream.batches import stream_batches
from modelport.recipes.steps import CenterCrop, Decode, DecodeArray, Normalize, ResizeShorter, Step

UNIT = Normalize(step="normalize", divide=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
CROP: list[Step] = [
    ResizeShorter(step="resize_shorter", size=40, interpolation="bilinear"),
    CenterCrop(step="center_crop", size=32, rounding="half_even"),
]
DECODE = Decode(step="decode", color="RGB", exif_rotation="apply")


def _png(pixels: Any, **more: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **more)
    return stream.getvalue()


def _facts(prepare: Preprocess, content: bytes) -> dict[str, Any]:
    one: dict[str, Any] = {}
    other: dict[str, Any] = {}
    height, width = prepare.pixels(content, "x").shape[:2]
    prepare.into(content, "x", np.empty((3, height, width), np.float32), one)
    prepare.pixels_into(content, "x", np.empty((height, width, 3), np.uint8), other)
    assert one == other
    return one


@pytest.mark.parametrize("steps", [[], CROP])
@pytest.mark.parametrize("fast", [False, True])
def test_size_and_brightness_of_an_image(steps: list[Step], fast: bool) -> None:
    if fast and not steps:
        pytest.skip("nothing to make faster")
    prepare = Preprocess([DECODE, *steps, UNIT], fast=fast)
    rng = np.random.default_rng(0)
    pixels = (rng.random((180, 120, 3)) * 80 + 40).astype(np.uint8)
    found = _facts(prepare, _png(pixels))
    assert (found["width"], found["height"]) == (120, 180)
    assert found["brightness"] == pytest.approx(float(pixels.mean()), abs=4)


def test_an_image_that_is_turned_is_told_as_it_is_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _png(np.zeros((20, 50, 3), np.uint8), exif=exif)
    assert _facts(Preprocess([DECODE, UNIT]), content) == {"width": 20, "height": 50, "brightness": 0.0}


def test_an_array_of_one_pixel() -> None:
    stream = io.BytesIO()
    np.save(stream, np.full((1, 1, 3), 200, np.uint8))
    prepare = Preprocess([DecodeArray(step="decode_array", channels=3), UNIT])
    facts: dict[str, Any] = {}
    prepare.into(stream.getvalue(), "x", np.empty((3, 1, 1), np.float32), facts)
    assert facts == {"width": 1, "height": 1, "brightness": 200.0}


def test_batches_bring_the_facts_of_their_rows_and_no_digest_hangs_on_them() -> None:
    contents = [_png(np.full((8, 8 + row % 3, 3), 10 * row, np.uint8)) for row in range(7)]
    own = {"columns": {"site": "s"}}
    samples = [
        Sample(f"s{row}", row, Path("x"), content, facts=own if row % 2 else None)
        for row, content in enumerate(contents)
    ]
    prepare = Preprocess([DECODE, CenterCrop(step="center_crop", size=8, rounding="half_even"), UNIT])
    row = TensorSpec("x", "float32", (3, 8, 8))
    batches = list(stream_batches(samples, prepare.into, row, batch=3, workers=2))
    told = [fact for batch in batches for fact in batch.facts]
    assert [fact["width"] for fact in told] == [8, 9, 10, 8, 9, 10, 8]
    assert [fact["brightness"] for fact in told] == [10.0 * row for row in range(7)]
    assert [fact.get("columns") for fact in told] == [None, own["columns"]] * 3 + [None]
    assert own == {"columns": {"site": "s"}}  # what the data set told is not written to
    again = [Sample(sample.id, sample.target, sample.path, sample.content) for sample in samples]
    digests = [batch.digests for batch in stream_batches(again, prepare.into, row, batch=3, workers=2)]
    assert digests == [batch.digests for batch in batches] and samples == again
