"""``list``: the recipes, a line each."""

from __future__ import annotations

from typing import Any

from modelport.recipes.load import load_recipe, recipe_names


def list_recipes() -> dict[str, Any]:
    """Return ``modelport.recipes/1``: name, task and title of every recipe that comes along."""
    recipes = [load_recipe(name) for name in recipe_names()]
    rows = [{"name": recipe.name, "task": recipe.task, "title": recipe.title} for recipe in recipes]
    return {"schema": "modelport.recipes/1", "recipes": rows}
