"""Recipes are strict: every mistake is refused with its place and the nearest right name."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from modelport.core.errors import RecipeError
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names

TEXT = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_loads_and_carries_its_file_name(name: str) -> None:
    assert load_recipe(name).name == name


def test_moco_v2_is_the_guides() -> None:
    recipe = load_recipe("moco-v2")
    assert [str(spec) for spec in (*recipe.signature.inputs, *recipe.signature.outputs)] == [
        "actual_input_1: float32 (batch, 3, 224, 224)",
        "output1: float32 (batch, 1000)",
    ]
    assert {figure.metric: figure.value for figure in recipe.published} == {"top1": 67.41, "top5": 88.02}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("size = 256", "sise = 256", r"preprocess\[1\]\.sise: unknown key, did you mean 'size'\?"),
        ("size = 256", "", r"preprocess\[1\]\.size: missing"),
        ('step = "center_crop"', 'step = "centre_crop"', r"preprocess\[2\].*did you mean 'center_crop'\?"),
        ('= "bicubic"', '= "cubic"', r"preprocess\[1\]\.interpolation.*did you mean 'bicubic'\?"),
        ("batch = 8", 'batch = "8"', r"run\.batch: .*integer"),
        ("batch = 8", "batch = 0", r"run\.batch"),
        ("[tolerance]", "[tolerence]", r"tolerence: unknown key, did you mean 'tolerance'\?"),
        ('task = "classification"', 'task = "classify"', r"task"),
        ('metric = "top5"', 'metric = "top6"', r"top6"),
        ("schema =", "shema =", r"schema: missing.*did you mean 'schema'"),
        ("[model]", "[model", r"no valid TOML"),
        ('url = "https', 'uri = "https', r"weights\.uri: unknown key, did you mean 'url'"),
        ("label_offset = 0", "", r"dataset\.label_offset: missing"),
    ],
)
def test_a_mistake_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match="(?s)x.toml: .*" + message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


def test_normalize_must_come_last() -> None:
    first, *rest = TEXT.split("[[preprocess]]")
    with pytest.raises(RecipeError, match="begin with decode and end with normalize"):
        parse_recipe(
            "[[preprocess]]".join([first, *rest[::-1]]).replace(rest[-1], rest[-1].partition("[dataset]")[0])
            + "[dataset]"
            + rest[-1].partition("[dataset]")[2],
            "x.toml",
        )


def test_a_users_file_works_by_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT.replace('name = "moco-v2"', 'name = "mine"'))
    assert load_recipe(str(tmp_path / "mine.toml")).name == "mine"


@pytest.mark.parametrize(
    ("given", "message"),
    [("moco-v3", "did you mean 'moco-v2'"), ("no/such.toml", "No such file"), ("x.toml", "No such file")],
)
def test_an_unknown_recipe_offers_the_nearest(given: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(given)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        load_recipe(str(tmp_path / "x.toml"))


def test_the_digest_is_of_the_content_not_of_the_layout() -> None:
    assert parse_recipe("# a comment\n" + TEXT, "x").digest == load_recipe("moco-v2").digest
    assert parse_recipe(TEXT.replace("size = 224", "size = 225"), "x").digest != load_recipe("moco-v2").digest
