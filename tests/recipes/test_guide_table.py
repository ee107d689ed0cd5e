"""The short forms of a recipe, ``guide`` and a known data set's name, are read as what they stand for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from conftest import Call
from modelport.core.errors import RecipeError
from modelport.model.architectures import libraries
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names

CATALOGUE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "catalogue.json").read_text())
SHORT = [name for name in CATALOGUE if name != "about"]


def _text(name: str) -> str:
    return files("modelport.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")


TEXT = _text("vgg-16")
LONG = """
[[published]]
metric = "top1"
value = 71.28
unit = "percent"
device = "Ascend310P3"
source = "a guide"
[[speeds]]
device = "Ascend310P3"
unit = "batches/s"
printed_unit = "fps"
source = "a guide"
note = "why"
figures = [{ batch = 1, value = 465.54 }, { batch = 4, value = 1056.92 }]
"""
GUIDE = """
[guide]
source = "a guide"
note = "why"
[guide.on.Ascend310P3]
percent = { top1 = 71.28 }
batches_per_second = { 1 = 465.54, 4 = 1056.92 }
"""


def _with(text: str) -> str:
    """VGG-16's recipe with other tables in the place of its guide's."""
    head, _, rest = TEXT.partition("guide.source")
    return head + text + "\n[ascend]" + rest.partition("[ascend]")[2]


@pytest.mark.parametrize("name", SHORT)
def test_a_recipe_is_short_and_legible(name: str) -> None:
    lines = _text(name).splitlines()
    assert len(lines) <= 30
    assert not [line for line in lines if len(line) > 120 and not line.startswith("weights.url")]


@pytest.mark.parametrize("name", SHORT)
def test_the_published_figures_are_the_guides(name: str) -> None:
    held: dict[str, dict[str, float]] = {}
    for figure in load_recipe(name).published:
        assert figure.unit == "percent" and "inference guide" in figure.source
        held.setdefault(figure.device, {})[figure.metric] = figure.value
    assert held == CATALOGUE[name]["percent"]


def test_the_short_forms_are_read_as_the_long_ones() -> None:
    short, long = parse_recipe(_with(GUIDE), "x.toml"), parse_recipe(_with(LONG), "x.toml")
    assert short == long and short.digest == long.digest and "guide" not in short.to_json()
    both = parse_recipe(_with(GUIDE + LONG), "x.toml")
    assert [figure.value for figure in both.published] == [71.28, 71.28] and len(both.speeds) == 2
    whole = {"kind": "imagenet", "classes": 1000, "label_offset": 0, "views": 1, "published_n": 50000}
    assert short.to_json()["dataset"] == whole | {"published_ids": load_recipe("inception-v4").dataset.published_ids}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("percent = { top1 = 71.28", "percents = { top1 = 71.28", r"guide\.on\.Ascend310P3\.percents: unknown key"),
        ("top1 = 71.28", 'top1 = "71.28"', r"guide\.on\.Ascend310P3\.percent\.top1: .*number"),
        ("top1 = 71.28", "top9 = 71.28", r"published figure of 'top9', which is not among metrics"),
        ("{ 1 = 465.54", "{ one = 465.54", r"guide\.on\.Ascend310P3\.samples_per_second.*integer"),
        ("{ 1 = 465.54", "{ 0 = 465.54", r"guide\.on\.Ascend310P3\.samples_per_second.*greater than 0"),
        ("{ 1 = 465.54, 4 = ", "{ 4 = 465.54, 1 = ", "order of their batches"),
        ("guide.source", "guide.sauce", r"guide\.sauce: unknown key, did you mean 'source'"),
        ('"imagenet-1k"', '"imagenet-2k"', "no data set named 'imagenet-2k'; known are imagenet-1k, coco-2017"),
    ],
)
def test_a_mistake_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match="(?s)x.toml: .*" + message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


def test_recipes_are_read_without_any_library_of_networks() -> None:
    script = (
        "import sys\nfrom modelport.recipes.load import load_recipe, recipe_names\n"
        "assert len([load_recipe(name) for name in recipe_names()]) > 15\n"
        "assert not {'torch', 'timm', 'torchvision'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_missing_library_is_named_where_the_network_is_needed(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(libraries, "version", absent)
    listed = call("list").out
    assert all(name in listed for name in recipe_names())
    assert call("show", "deit-s").code == 0
    (tmp_path / "w.pth").write_bytes(b"")
    for name, extra in (("deit-s", "modelport[timm]"), ("vgg-16", "modelport[torchvision]")):
        call("check", name, "--weights", tmp_path / "w.pth").refused("not installed", extra)
