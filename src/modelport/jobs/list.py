"""``list``: the recipes, a line each."""

from __future__ import annotations

from typing import Any

from modelport.recipes.load import load_recipe, recipe_names
from modelport.recipes.schema import Recipe


def list_recipes() -> dict[str, Any]:
    """Return ``modelport.recipes/1``: name, task, title and whose the network is, of every recipe that comes along.

    ``network`` is ``modelport``, or the library that must be installed for it.
    """
    recipes = [load_recipe(name) for name in recipe_names()]
    rows = [
        {"name": recipe.name, "task": recipe.task, "title": recipe.title, "network": _of(recipe)} for recipe in recipes
    ]
    return {"schema": "modelport.recipes/1", "recipes": rows}


def _of(recipe: Recipe) -> str | None:
    library, colon, _ = recipe.model.architecture.partition(":") if recipe.model else ("", "", "")
    return library if colon else "modelport" if recipe.model else None
