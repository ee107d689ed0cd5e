"""A recipe printed as TOML is the recipe."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Call
from modelport.core.errors import RecipeError
from modelport.recipes.load import load_recipe, parse_recipe, recipe_names
from modelport.recipes.toml import toml_text

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", recipe_names())
def test_show_toml_gives_the_recipe_back(name: str, call: Call) -> None:
    printed = call("show", name, "--toml")
    assert printed.code == 0
    assert parse_recipe(printed.out, name).digest == load_recipe(name).digest


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_any_table_comes_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(table)) == table


def test_a_recipe_with_its_variant_comes_back_as_it_ran() -> None:
    """As result folders hold it; beside variants that can still be chosen the key is none."""
    ran = load_recipe("simclr").with_variant("published")
    text = toml_text(ran.to_json())
    back = parse_recipe(text, "recipe.toml")
    assert (back.variant, back.digest) == ("published", ran.digest)
    with pytest.raises(RecipeError, match="variant: unknown key"):
        parse_recipe(text.replace("[variants]", '[variants.more]\nabout = "x"\nchanges = {}'), "recipe.toml")
