"""The published variant's views are the published script's: 8 bits between all steps, cut off where it cuts off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import conv2d, pad

from modelport.data.prepare.views import Views
from modelport.recipes.load import load_recipe

Pixels = NDArray[np.uint8]


def images(count: int) -> Pixels:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    mixed = np.where(rng.random((count, 32, 32, 1)) < 0.3, rng.integers(0, 256, (count, 32, 32, 3)), coarse)
    mixed[::3] += 120
    return mixed.clip(0, 255).astype(np.uint8)


def grey_of(image: Pixels) -> NDArray[np.int64]:
    # Pillow's documented L = R * 299/1000 + G * 587/1000 + B * 114/1000, with its 16-bit weights.
    grey: NDArray[np.int64] = (image.astype(np.int64) @ np.array([19595, 38470, 7471]) + 0x8000) >> 16
    return grey


def blend(base: NDArray[np.int64], image: Pixels, factor: np.float32) -> Pixels:
    mixed = base.astype(np.float32) + factor * (image.astype(np.float32) - base.astype(np.float32))
    return np.clip(mixed, 0, 255).astype(np.uint8)


def changed(image: Pixels, kind: int, factor: np.float32) -> Pixels:
    if kind == 0:
        return blend(np.zeros_like(image, np.int64), image, factor)
    grey = grey_of(image)
    if kind == 1:
        return blend(np.full(image.shape, int(grey.mean() + 0.5), np.int64), image, factor)
    if kind == 2:
        return blend(grey[..., None].repeat(3, axis=2), image, factor)
    hue, saturation, value = Image.fromarray(image).convert("HSV").split()
    turned = np.asarray(hue) + np.array(int(float(factor) * 255)).astype(np.uint8)
    return np.asarray(Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB"))


def blurred(image: Pixels, sigma: float) -> Pixels:
    taps = torch.exp(-(torch.arange(-1, 2, dtype=torch.float64) ** 2) / (2 * sigma * sigma))
    weights = (taps / taps.sum()).float().repeat(3, 1)
    values = torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255)[None]
    down = conv2d(pad(values, (1, 1, 1, 1), mode="reflect"), weights.view(3, 1, 3, 1), groups=3)
    across = conv2d(down, weights.view(3, 1, 1, 3), groups=3)
    return across[0].mul(255).byte().permute(1, 2, 0).numpy()


def one_view(image: Pixels, drawn: list[tuple[Any, ...]]) -> Pixels:
    (top, left, height, width), (mirror,), (jitter, order, factors), (grey,), (sigma,) = drawn
    part = Image.fromarray(image).crop((left, top, left + width, top + height))
    view = np.asarray(part.resize((32, 32), Image.Resampling.BILINEAR))
    view = view[:, ::-1] if mirror else view
    for kind in order if jitter else ():
        view = changed(view, kind, factors[kind])
    view = grey_of(view)[..., None].repeat(3, axis=2).astype(np.uint8) if grey else view
    return blurred(view, sigma)


def test_a_published_view_is_the_scripts_to_the_last_bit() -> None:
    steps = load_recipe("simclr").with_variant("published").preprocess
    pictures = images(120)
    # Divided by 1, the views are the pixels themselves.
    pixels = [step.model_copy(update={"divide": 1.0}) if step.step == "normalize" else step for step in steps]
    names = [str(index) for index in range(len(pictures))]
    views = Views(pixels)
    drawn = views.draw_parameters(names, 0, 5)
    got = views.apply(pictures, drawn)
    rows = [list(zip(*each, strict=True)) if isinstance(each, tuple) else [(one,) for one in each] for each in drawn]
    want = np.stack([one_view(image, [each[index] for each in rows]) for index, image in enumerate(pictures)])
    np.testing.assert_array_equal(got, want.transpose(0, 3, 1, 2))
    cast = Views(steps).apply(pictures, drawn)
    np.testing.assert_array_equal(cast, (want == 255).transpose(0, 3, 1, 2))
    # Rounded once at the end, as smooth views are, more ones would be left.
    smooth = Views(steps[:-1]).apply(pictures, drawn)
    assert cast.mean() < 0.9 * (smooth >= 254.5 / 255).mean()


@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_a_flat_image_stays_flat_and_loses_a_level_at_most(level: int) -> None:
    blur = [step for step in load_recipe("simclr").with_variant("published").preprocess if step.step != "color_jitter"]
    blur = [step.model_copy(update={"divide": 1.0}) if step.step == "normalize" else step for step in blur]
    got = Views(blur).make(np.full((50, 3072), level, np.uint8), [str(index) for index in range(50)], 0, 0)
    assert set(np.unique(got)) <= {max(0, level - 1), level}
