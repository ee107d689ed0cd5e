"""``compile``: a graph → what an engine loads fastest, opened once before it is called done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelport.core.errors import UsageError
from modelport.engines.base import Options
from modelport.engines.registry import choose_engine, model_artifact, opened
from modelport.model.graph import check_signature, read_graph
from modelport.recipes.load import load_recipe


def compile_checked(
    recipe_name: str, model: Path, engine_name: str, precision: str, batch: int | None, out: Path
) -> dict[str, Any]:
    """Compile an ONNX file whose signature is the recipe's. Raises GraphError, EngineError or UsageError."""
    if batch is not None and batch < 1:
        raise UsageError(f"--batch {batch}", "give a number of at least 1")
    recipe = load_recipe(recipe_name)
    engine = choose_engine(engine_name, precision)
    source = model_artifact(model)
    if source.kind == "onnx":
        check_signature(read_graph(model), recipe.signature, model)
    if out.absolute() == model.absolute():
        raise UsageError(f"--out {out} is the model itself", "choose another --out")
    options = Options(recipe, precision, batch)
    artifact = engine.compile(source, options, out)
    with opened(engine, artifact, options) as runner:
        ran = runner.precision
    return {
        "schema": "modelport.compile/1",
        "engine": engine.name,
        "precision": ran,
        "batch": batch,
        "artifacts": [*source.to_json(), *artifact.to_json()],
    }
