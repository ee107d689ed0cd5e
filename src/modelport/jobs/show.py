"""``show``: a recipe, the structure of a graph, or what a weights file holds; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WEIGHTS = (".pth", ".pt", ".tar", ".safetensors", ".ckpt", ".bin")


def show(what: str) -> dict[str, Any]:
    """Return a file by what its name ends in, else the recipe of that name or path. Raises ModelportError."""
    if what.lower().endswith(".onnx"):
        from modelport.model.graph.file import describe, read_graph

        return describe(read_graph(Path(what)))
    if what.lower().endswith(WEIGHTS):
        from modelport.model.weights.content import describe_checkpoint

        return describe_checkpoint(Path(what))
    from modelport.recipes.load import load_recipe

    return load_recipe(what).to_json()


def recipe_text(what: str) -> str:
    """Return a recipe as TOML that `run` takes. Raises RecipeError."""
    from modelport.recipes.load import load_recipe
    from modelport.recipes.toml import toml_text

    return toml_text(load_recipe(what).to_json())
