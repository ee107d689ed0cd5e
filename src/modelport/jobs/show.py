"""``show``: a recipe, the structure of a graph, or what a weights file holds; nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WEIGHTS = (".pth", ".pt", ".tar", ".safetensors", ".ckpt", ".bin")


def show(what: str) -> dict[str, Any]:
    """Return a file by what its name ends in, else the recipe of that name or path. Raises ModelportError."""
    if what.lower().endswith(".onnx"):
        from modelport.model.graph.file import describe, read_graph
        from modelport.model.graph.weights import examined_graph

        graph = read_graph(Path(what))
        return describe(graph) | {"weights": examined_graph(graph).to_json()}
    if what.lower().endswith(".pt2"):
        from modelport.model.program import describe_program

        return describe_program(Path(what))
    if what.lower().endswith(WEIGHTS):
        from modelport.model.weights.content import describe_checkpoint

        return describe_checkpoint(Path(what))
    if Path(what).suffix.lower() not in ("", ".toml") and Path(what).suffix.lower() in _kinds():
        return _compiled(Path(what))
    from modelport.recipes.load import load_recipe

    return load_recipe(what).to_json()


def _kinds() -> dict[str, str]:
    from modelport.engines.registry import kinds

    return kinds()


def _compiled(path: Path) -> dict[str, Any]:
    """Return what an engine tells of a file of its own. Raises EngineError where it is not usable here."""
    from modelport.engines.base import Build
    from modelport.engines.registry import engine_for, model_artifact, opened

    model = model_artifact(path)
    engine = engine_for(model, None)
    with opened(engine, model, Build(precision=None)) as runner:
        return {
            "kind": model.kind,
            "engine": engine.name,
            "precision": runner.precision,
            "inputs": [str(spec) for spec in runner.signature.inputs],
            "outputs": [str(spec) for spec in runner.signature.outputs],
            "sha256": model.sha256,
        }


def recipe_text(what: str) -> str:
    """Return a recipe as TOML that `run` takes. Raises RecipeError."""
    from modelport.recipes.load import load_recipe
    from modelport.recipes.toml import toml_text

    return toml_text(load_recipe(what).to_json())
