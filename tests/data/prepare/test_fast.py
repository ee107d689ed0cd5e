"""The quicker resize shows the same part of the image, and says how far its pixels are off."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import Call
from modelport.core.errors import UsageError
from modelport.data.prepare.transforms import Preprocess
from modelport.data.stream.feeding import feed
from modelport.recipes.load import load_recipe

MOCO = load_recipe("moco-v2")


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (1200, 900), (256, 256), (300, 2000)])
def test_smooth_images_come_out_nearly_alike(size: tuple[int, int]) -> None:
    across = np.linspace(0, 255, size[0])[None, :, None] * np.ones((size[1], 1, 3))
    down = np.linspace(0, 255, size[1])[:, None, None] * np.ones((1, size[0], 3))
    pixels = np.stack([across[..., 0], down[..., 0], (across + down)[..., 0] / 2], axis=-1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    exact = Preprocess(MOCO.preprocess).pixels(stream.getvalue(), "x").astype(int)
    fast = Preprocess(MOCO.preprocess, fast=True).pixels(stream.getvalue(), "x").astype(int)
    assert fast.shape == exact.shape == (224, 224, 3)
    assert np.abs(fast - exact).max() <= 8 and np.abs(fast - exact).mean() < 1


@pytest.mark.parametrize("name", ["nas-fpn", "simclr"])
def test_recipes_without_a_quicker_way_refuse(name: str) -> None:
    with pytest.raises(UsageError, match="no quicker way"):
        feed(load_recipe(name), [], 1, seed=0, fast=True)


@pytest.mark.slow
def test_the_result_tells_pixels_and_effect(
    call: Call, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    line = ["run", tiny_path, "--weights", tiny_weights, "--data", tiny_data, "--limit", 20, "--json"]
    exact = call(*line, "--out", tmp_path / "exact").json
    assert "fast_preprocess" not in exact
    result = call(*line, "--out", tmp_path / "fast", "--fast-preprocess").json
    told = result["fast_preprocess"]
    assert told["images_compared"] == 20
    assert 0 < told["largest_pixel_difference"] <= 255 and 0 < told["mean_pixel_difference"] < 20
    assert told["effect"]["top1"] == result["metrics"]["top1"]["value"] - result["source"]["metrics"]["top1"]["value"]
    assert any("resized the quicker way: pixels differ by up to" in note for note in result["notes"])
    # The source model sees the published pixels both times.
    assert result["source"]["metrics"] == exact["source"]["metrics"]
