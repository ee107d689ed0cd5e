"""The compiled resize and crop equal Pillow's to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.data.prepare import geometry, resampling
from modelport.data.prepare.resampling import resampler, takes
from modelport.data.prepare.transforms import Preprocess
from modelport.recipes.load import load_recipe

pytest.importorskip("numba")


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_size_filter_and_crop_equal_pillow(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
    if not takes(width, height):
        height = 2 * width
    side = data.draw(st.integers(1, 200))
    longer = int(side * max(width, height) / min(width, height))
    if longer > 2000:
        return
    to = (side, longer) if width <= height else (longer, side)
    size = data.draw(st.integers(1, side))
    left, top = data.draw(st.integers(0, to[0] - size)), data.draw(st.integers(0, to[1] - size))
    name = data.draw(st.sampled_from(["bilinear", "bicubic"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    # Black and white pixels drive the sums beyond what 8 bits hold.
    pixels = rng.choice(np.array([0, 255], np.uint8), (height, width, 3))
    if data.draw(st.booleans()):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    resample = resampler()
    assert resample is not None
    image = Image.fromarray(pixels)
    got = resample(image, to, (left, top), size, name)
    whole = image.resize(to, Image.Resampling[name.upper()])
    np.testing.assert_array_equal(got, np.asarray(whole.crop((left, top, left + size, top + size))))


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (200, 401), (300, 900), (256, 256), (40, 30)])
def test_both_ways_through_a_recipe_are_equal(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(stream, "PNG")
    for name in ("moco-v2", "inception-v4"):
        prepare = Preprocess(load_recipe(name).preprocess)
        ours = prepare.pixels(stream.getvalue(), "x")
        monkeypatch.setattr(geometry, "resampler", lambda: None)
        np.testing.assert_array_equal(ours, prepare.pixels(stream.getvalue(), "x"))
        monkeypatch.undo()


def test_where_pillow_computes_otherwise_pillow_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "SUPPORT", {"bilinear": 1.0, "bicubic": 1.5})
    resampler.cache_clear()
    try:
        assert resampler() is None
    finally:
        monkeypatch.undo()
        resampler.cache_clear()


@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1", "CMYK", "RGBA"])
def test_bands_of_a_large_image_give_the_same(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 70, 3), np.uint8)).convert(mode)
    resample = resampler()
    assert resample is not None
    want = image.convert("RGB").resize((40, 51), Image.Resampling.BICUBIC).crop((3, 4, 33, 34))
    for pixels in (1, 70 * 13, 70 * 90):
        monkeypatch.setattr(resampling, "BAND_PIXELS", pixels)
        assert np.array_equal(resample(image, (40, 51), (3, 4), 30, "bicubic"), np.asarray(want))
