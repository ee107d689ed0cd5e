"""Pixels for a graph that normalises: what the host would normalise, before it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.core.errors import BadSampleError, UsageError
from modelport.core.values import Sample
from modelport.data.prepare.transforms import Preprocess
from modelport.data.prepare.views import Views
from modelport.data.stream.feeding import feed
from modelport.recipes.load import load_recipe

IMAGES = sorted((Path(__file__).parents[1] / "golden" / "images").iterdir())


@pytest.mark.parametrize("name", ["moco-v2", "inception-v4", "nas-fpn"])
@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_normalised_pixels_are_the_tensor(name: str, path: Path) -> None:
    recipe = load_recipe(name)
    prepare, content = Preprocess(recipe.preprocess), path.read_bytes()
    assert prepare.shape is not None
    pixels = np.empty((*prepare.shape[1:], 3), np.uint8)
    floats = np.empty(prepare.shape, np.float32)
    assert prepare.pixels_into(content, "x", pixels) == prepare.into(content, "x", floats)
    step = next(step for step in recipe.preprocess if step.step == "normalize")
    got = ((pixels / step.divide - np.array(step.mean)) / np.array(step.std)).transpose(2, 0, 1)
    inside = np.ones(floats.shape, bool)
    if (placement := prepare.place(content, "x")) is not None:
        # Zero after the normalisation has no pixel: the nearest one is within half a level of it.
        inside = floats != 0
        half = 0.5 / step.divide / np.array(step.std).reshape(3, 1, 1)
        assert np.all(np.abs(got - floats)[~inside] <= np.broadcast_to(half, floats.shape)[~inside] + 1e-6)
        assert placement.pad_left == 0 or np.all(pixels[:, 0] == prepare.padding)
    np.testing.assert_allclose(got[inside], floats[inside], rtol=1e-4, atol=2e-6)


def test_a_slot_of_another_size_is_refused() -> None:
    prepare = Preprocess(load_recipe("moco-v2").preprocess)
    with pytest.raises(BadSampleError, match="x: is 224 × 224 after preprocessing, the model wants 32 × 32"):
        prepare.pixels_into(IMAGES[0].read_bytes(), "x", np.empty((32, 32, 3), np.uint8))


def test_batches_of_pixels_are_whole_and_in_order() -> None:
    recipe = load_recipe("moco-v2")
    samples = [Sample(path.stem, 0, path) for path in IMAGES]
    batches = list(feed(recipe, samples, 4, seed=0, pixels=True))
    rows = np.concatenate([batch.inputs["actual_input_1"][: len(batch.ids)] for batch in batches])
    assert rows.dtype == np.uint8
    prepare = Preprocess(recipe.preprocess)
    for row, path in zip(rows, IMAGES, strict=True):
        np.testing.assert_array_equal(row, prepare.pixels(path.read_bytes(), "x"))


def test_views_are_rounded_to_pixels() -> None:
    recipe = load_recipe("simclr")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 3 * 32 * 32), np.uint8)
    keys = [str(index) for index in range(len(pixels))]
    floats = Views(recipe.preprocess).make(pixels, keys, 0, 5)
    got = Views(recipe.preprocess, pixels=True).make(pixels, keys, 0, 5)
    assert got.dtype == np.uint8
    assert got.shape == (70, 32, 32, 3)
    np.testing.assert_allclose(got.transpose(0, 3, 1, 2), floats * 255, atol=0.51)


def test_a_cast_leaves_no_pixels() -> None:
    with pytest.raises(UsageError, match="before the cast"):
        Views(load_recipe("simclr").with_variant("published").preprocess, pixels=True)
