"""Recipes are strict: every mistake is refused with its place and the nearest right name."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

import pytest

from modelport.core.errors import RecipeError
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names
from modelport.recipes.setting import read_setting

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
        ("classes = 1000\nlabel", "label", r"dataset\.classes is missing: labels of imagenet are held against classes"),
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
    with pytest.raises(RecipeError, match="no utf-8 text"):
        load_recipe(str(tmp_path / "x.toml"))


def test_the_digest_is_of_the_content_not_of_the_layout() -> None:
    assert parse_recipe("# a comment\n" + TEXT, "x").digest == load_recipe("moco-v2").digest
    assert parse_recipe(TEXT.replace("size = 256", "size = 257"), "x").digest != load_recipe("moco-v2").digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.229,", "0.0,", r"preprocess\[3\]\.std.*divided"),
        ("0.229,", "nan,", r"preprocess\[3\]\.std.*finite"),
        ("0.229,", "1e-320,", r"preprocess\[3\]\.std.*divided"),
        ("0.485,", "inf,", r"preprocess\[3\]\.mean.*finite"),
        ("divide = 255.0", "divide = 0.0", r"divide.*divided"),
        ("divide = 255.0", "divide = -inf", r"divide.*finite"),
        ("value = 1.0", "value = nan", r"tolerance\.value.*finite"),
        ('"top5"]', '"top5", "miou"]', "'miou' is no metric of classification"),
        ('"top5"]', '"top5", "top999"]', "'top999' is no metric.*known metrics: top1"),
        ('"top5"]', '"top5", "mAP"]', "'mAP' is no metric of classification"),
        ("size = 256", "size = 1_000_000_000", r"preprocess\[1\]\.size"),
        ("size = 224", "size = 0", r"preprocess\[2\]\.size"),
        ("3, 224, 224]", "3, 0, 224]", r"tensors.*shape"),
        ("classes = 1000\nlabel", "classes = 10\nlabel", "dataset.classes is 10, the width of the output 'output1'"),
        ("label_offset = 0", "label_offset = 1000", "label_offset"),
        ('name = "output1"', 'name = "actual_input_1"', "two tensors are named"),
        ("published_n = 50_000", "published_n = 1" + "0" * 5000, "no valid TOML"),
    ],
)
def test_what_can_give_no_figure_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT, TEXT
    with pytest.raises(RecipeError, match="(?s)x.toml: .*" + message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


@pytest.mark.parametrize(
    "pattern",
    ["(", "[a", "(a+)+$", "(a|a)*b", "(a*)*", "([a-z]+)*@", "(a?){30}a{30}", "a*" * 9, "(?:a+){9}b", "x" * 501, "*"],
)
def test_a_pattern_that_cannot_be_matched_in_time_is_refused(pattern: str) -> None:
    with pytest.raises(RecipeError, match=r"x.toml: dataset\.published_ids"):
        parse_recipe(re.sub("published_ids = .*", lambda _: f"published_ids = '{pattern}'", TEXT), "x.toml")


@pytest.mark.parametrize(
    "pattern",
    ["[0-9]{12}", r"(\d{1,3}\.){3}jpg", ".*/img_[0-9]+", "(train|val)/[a-z_]+", r"(?i)im(?=\d)\d+", "(n[0-9]{8}/)?x"],
)
def test_a_usual_pattern_is_taken(pattern: str) -> None:
    text = re.sub("published_ids = .*", lambda _: f"published_ids = '{pattern}'", TEXT)
    assert parse_recipe(text, "x").dataset.published_ids == pattern


def test_a_variant_is_checked_with_the_recipe() -> None:
    broken = TEXT + '\n[variants.odd]\nabout = "x"\nchanges = { metrics = ["miou"] }\n'
    with pytest.raises(RecipeError, match="miou"):
        parse_recipe(broken, "x.toml")


def test_a_file_in_the_folder_is_a_path_and_a_known_name_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "simclr"):
        (tmp_path / name).write_text(TEXT.replace('name = "moco-v2"', 'name = "mine"'))
    assert load_recipe("mine").name == "mine"
    assert load_recipe("simclr").name == "simclr"


def test_a_pipe_is_no_recipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.toml")
    with pytest.raises(RecipeError, match="named pipe"):
        load_recipe(str(tmp_path / "x.toml"))
    with pytest.raises(RecipeError, match="named pipe"):
        read_setting(tmp_path / "x.toml")
