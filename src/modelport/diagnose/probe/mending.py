"""The lines of a recipe that would mend it."""

from __future__ import annotations

from typing import Any

from modelport.recipes.schema import Recipe
from modelport.recipes.toml import toml_value


def mending_lines(recipe: Recipe, changed: Recipe) -> list[str]:
    """Return the lines that a change makes of a recipe: of its steps all, of a table the keys that differ."""
    before, after = recipe.to_json(), changed.to_json()
    lines: list[str] = []
    for key, value in after.items():
        if before.get(key) == value:
            continue
        if isinstance(value, dict):
            own = before.get(key, {})
            differ = {name: entry for name, entry in value.items() if own.get(name) != entry}
            lines += [f"[{key}]", *(f"{name} = {toml_value(entry)}" for name, entry in differ.items())]
            lines += [f"# take {name} out" for name in own if name not in value]
        else:
            lines += _spelled(key, value)
    return lines


def _spelled(key: str, value: Any) -> list[str]:
    if isinstance(value, list):
        return [f"{key} = [", *(f"    {toml_value(entry)}," for entry in value), "]"]
    return [f"{key} = {toml_value(value)}"]
