"""The second stage: what the engine reads, exported from the source, given as a file, or the checkpoint itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelport.core.artifacts import Artifact
from modelport.core.errors import GraphError, UsageError
from modelport.core.progress import Progress
from modelport.core.values import Check
from modelport.engines.registry import defaults, model_artifact
from modelport.engines.source import Source
from modelport.model.graph import file as graphs
from modelport.model.graph.export import check_graph
from modelport.stages.compiled_from import stale_notes
from modelport.stages.export import export_cached, outputs_match, pixels_cached
from modelport.stages.plan import Plan
from modelport.stages.source import file_health
from modelport.stages.trail import Made

FITS = Check("signature", "pass", "as the recipe's", "as the recipe's", "names, dtypes and shapes")


def graph_of(plan: Plan, source: Source | None, progress: Progress) -> Iterator[Made]:
    """Yield what the engine reads, and what it was made from on the way.

    Raises UsageError for a file that the engine does not run, GraphError where a graph is not the source's.
    """
    if plan.given.model is not None:
        yield _given(plan, plan.given.model, source)
        return
    assert source is not None
    if source.kind == "onnx":
        yield from _of_onnx(plan, source)
        return
    if source.artifact.kind in plan.engine.consumes:
        if plan.pixels:
            raise UsageError(
                f"--input-type uint8: '{plan.engine.name}' runs the checkpoint, and nothing is exported", "leave it out"
            )
        yield Made(source.artifact, notes=("the engine runs the checkpoint itself: nothing was exported",))
        return
    graph, checks = export_cached(source.exportable, progress)
    yield Made(graph, tuple(checks))
    if plan.pixels:
        pixels, check = pixels_cached(graph, plan.recipe)
        yield Made(pixels, (check,))


def _of_onnx(plan: Plan, source: Source) -> Iterator[Made]:
    """Take the source's own graph."""
    if "onnx" not in plan.engine.consumes:
        raise UsageError(
            f"{source.artifact.path}: the engine '{plan.engine.name}' runs no ONNX files", "choose another --engine"
        )
    graphs.check_signature(graphs.read_graph(source.artifact.path), plan.recipe.whole_signature, source.artifact.path)
    yield Made(source.artifact, (FITS,))
    if plan.pixels and plan.recipe.tensors.sample.dtype != "uint8":
        pixels, check = pixels_cached(source.artifact, plan.recipe)
        yield Made(pixels, (check,))


def _given(plan: Plan, path: Path, source: Source | None) -> Made:
    """Take a model file in place of an export; with a source at hand, prove that it was made from it."""
    model = model_artifact(path)
    if model.kind not in plan.engine.consumes:
        raise UsageError(
            f"{path}: the engine '{plan.engine.name}' does not run such files",
            f"choose --engine {' or '.join(able.name for able in defaults() if model.kind in able.consumes)}",
        )
    checks, notes = list[Check](), stale_notes(model)
    if model.kind == "onnx":
        graph = graphs.read_graph(path)
        graphs.check_signature(graph, plan.build.needed_recipe.whole_signature, path)
        checks.append(FITS)
        if source is None or source.artifact.identity != model.identity:
            notes += file_health(model)
        if source is not None and source.kind != "onnx":
            checks += _held_against(plan, model, graphs.signature_of(graph).inputs[0].shape[0], source)
    alone = "a model file was given in place of weights: there is no source model to hold it against"
    if model.kind != "onnx" or source is None:
        alone += "; --source FILE.onnx, or --weights, brings one"
    notes += [alone] if source is None else []
    return Made(model, tuple(checks), tuple(notes))


def _held_against(plan: Plan, model: Artifact, batch: int | str, source: Source) -> list[Check]:
    """Prove that a graph was made from the source. Raises GraphError where it was not."""
    if plan.pixels:
        raise UsageError(f"{model.path}: a graph that takes pixels is not held against weights", "leave --weights out")
    fixed = batch if isinstance(batch, int) else None
    sizes = (fixed,) if fixed else (1, 3)
    try:
        checks = check_graph(source.exportable, model.path, None, fixed)
        return [*checks, outputs_match(source.exportable, model, plan.engine, sizes)]
    except GraphError as error:
        raise GraphError(error.found, f"{error.fix}; `modelport trace` with --model says which node differs") from error
