"""The published speeds are the guides', figure by figure, at the batch and in the unit that they really have."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from modelport.core.errors import RecipeError
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names

GUIDES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "published_speeds.json").read_text())
TEXT = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recipe_names())
def test_every_figure_is_the_guides(name: str) -> None:
    speeds = load_recipe(name).speeds
    held = {speed.device: [[figure.batch, figure.value] for figure in speed.figures] for speed in speeds}
    assert held == GUIDES["printed"][name]
    assert all(speed.printed_unit == "fps" and speed.source for speed in speeds)
    latencies = [figure.latency_ms for speed in speeds for figure in speed.figures if figure.latency_ms]
    assert latencies == [mean for guide, mean in GUIDES["mean_ms"].items() if guide == name]


def test_the_mislabelled_ones_are_put_right() -> None:
    (moco,) = load_recipe("moco-v2").speeds
    assert moco.unit == "batches/s"
    derived = [moco.samples_per_second(figure) for figure in moco.figures]
    assert derived == pytest.approx([836.2, 3344.0, 3983.2, 3910.4, 2544.0, 2528.0])
    credited = {
        (name, speed.device, figure.batch, figure.printed_batch)
        for name in recipe_names()
        for speed in load_recipe(name).speeds
        for figure in speed.figures
        if figure.printed_batch
    }
    assert credited == {("smlp-t", "Ascend310P3", 16, 1), ("simclr", "Ascend310", 8, 64)}
    others = [speed for name in recipe_names() if name != "moco-v2" for speed in load_recipe(name).speeds]
    assert all(speed.unit == "samples/s" for speed in others)
    assert all(speed.samples_per_second(figure) == figure.value for speed in others for figure in speed.figures)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"batches/s"', '"frames/s"', r"speeds\[0\]\.unit"),
        ("batch = 4, value", "batch = 1, value", "order of their batches"),
        ("value = 836.2", "value = 0.0", r"speeds\[0\]\.figures\[0\]\.value"),
        ("value = 836.2", "valu = 836.2", "did you mean 'value'"),
    ],
)
def test_a_mistake_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match=message):
        parse_recipe(TEXT.replace(old, new), "x.toml")
