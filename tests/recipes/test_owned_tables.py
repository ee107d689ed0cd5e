"""A table of a recipe that has the name of an engine or a task is checked by it, and stands as it was given."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest
from pydantic import PositiveInt

from modelport.core.errors import RecipeError
from modelport.engines.null import NullEngine
from modelport.engines.registry import ENGINES
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names
from modelport.recipes.steps import Strict
from modelport.recipes.toml import toml_text

TEXT = files("modelport.recipes").joinpath("moco-v2.toml").read_text(encoding="utf-8")
OWN = TEXT + "\n[tabled]\ntiles = 4\n"


class Table(Strict):
    tiles: PositiveInt


class TabledEngine(NullEngine):
    name = "tabled"
    recipe_table = Table


@pytest.fixture
def tabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "tabled", "test_owned_tables:TabledEngine")


@pytest.mark.parametrize("name", recipe_names())
def test_the_forms_of_a_recipe_hold_the_tables_under_their_own_names(name: str) -> None:
    given = tomllib.loads(files("modelport.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8"))
    recipe = load_recipe(name)
    whole = recipe.to_json()
    assert set(recipe.tables) - {recipe.task} == {"ascend"} and "tables" not in whole
    assert whole["ascend"] == {"out_nodes": False, "keep_dtype": [], "op_precision": {}} | given["ascend"]
    again = parse_recipe(toml_text(whole), "again.toml")
    assert again == recipe and again.digest == recipe.digest


@pytest.mark.usefixtures("tabled")
def test_an_engine_brings_a_table_of_its_own() -> None:
    recipe = parse_recipe(OWN, "x.toml")
    assert recipe.tables["tabled"] == Table(tiles=4)
    assert recipe.to_json()["tabled"] == {"tiles": 4}
    assert recipe.digest != parse_recipe(OWN.replace("tiles = 4", "tiles = 5"), "x.toml").digest
    changed = parse_recipe(
        OWN + '[variants.more]\nabout = "more"\n[variants.more.changes.tabled]\ntiles = 8\n', "x.toml"
    )
    assert changed.with_variant("more").tables["tabled"] == Table(tiles=8)


@pytest.mark.usefixtures("tabled")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tiles = 4", "tile = 4", r"tabled\.tiles: missing; tabled\.tile: unknown key, did you mean 'tiles'"),
        ("tiles = 4", "tiles = 0", r"tabled\.tiles: Input should be greater than 0"),
        ("[tabled]", "[tabeld]", r"tabeld: unknown key, did you mean 'tabled'"),
        ("[ascend]", "[ascend]\nbtch = 1", r"ascend\.btch: unknown key, did you mean 'batch'"),
    ],
)
def test_a_slip_in_a_table_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    with pytest.raises(RecipeError, match=f"x.toml: {message}"):
        parse_recipe(OWN.replace(old, new), "x.toml")


@pytest.mark.parametrize("table", ["[tabled]\ntiles = 4", "[engines.ascend]\nbatch = 1", "[torch]\nbatch = 1"])
def test_a_table_that_no_engine_knows_is_refused(table: str) -> None:
    key = table[1 : table.index("]")].partition(".")[0]
    with pytest.raises(RecipeError, match=f"x.toml: {key}: unknown key"):
        parse_recipe(f"{TEXT}\n{table}\n", "x.toml")
