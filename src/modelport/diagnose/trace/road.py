"""The stages that a port goes through, made one after the other: nothing is made behind the first that departs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelport.core.artifacts import Artifact
from modelport.core.errors import GraphError, UsageError
from modelport.core.progress import Progress
from modelport.core.values import Sample
from modelport.diagnose.trace.stages import Step
from modelport.engines.base import Build, Launch
from modelport.engines.registry import PRECISIONS, model_artifact, reference_engine
from modelport.engines.source import Source
from modelport.model.graph import file as graphs
from modelport.model.graph.export import DEFAULT_OPSET, write_onnx
from modelport.model.graph.quantizable import heavy_precisions
from modelport.model.graph.tail import IN_GRAPH
from modelport.stages.build import built
from modelport.stages.export import export_cached, export_checked, own_ending, pixels_cached
from modelport.stages.lower import lowered
from modelport.stages.plan import Plan

ONNX, PIXELS = "onnx", "uint8"
PLAIN = Launch(plain=True)
# Where the export at the current opset is not the source: others, of both exporters, that may be.
OTHER_OPSETS = (18, 17, 21, 13)


@dataclass(frozen=True, slots=True)
class Reference:
    """The graph that others are compared with node by node: the source's own, held against it."""

    graph: Artifact | None  # None: the source has none, or no export of it holds
    why: str = ""  # there is no graph, or the export at the current opset is not the source
    export: Artifact | None = None  # the export that is not the source
    notes: tuple[str, ...] = ()


def reference_of(source: Source, out: Path, progress: Progress) -> Reference:
    """Return the source's own graph: itself, or its export, whose answers were held against PyTorch's.

    An export that is not the source is left in the folder ``out`` beside one at another opset that is, where one is.
    Raises GraphError where PyTorch's exporter cannot write the network.
    """
    if source.kind == "onnx":
        return Reference(source.artifact)
    if source.network is None:
        return Reference(None, f"{source.engine.name} runs the checkpoint itself: there is no graph")
    try:
        return Reference(export_cached(source.network, progress)[0])
    except GraphError as error:
        why = error.found
    network, failed = source.network, list[str]()
    ending = own_ending(network.recipe, IN_GRAPH)
    bad = write_onnx(network, out / "export.onnx", opset=DEFAULT_OPSET, batch=network.batch, ending=ending)
    for opset in OTHER_OPSETS:
        try:
            path = out / f"export-opset{opset}.onnx"
            graph, _ = export_checked(network, path, opset, network.batch, progress)
            note = f"the export at opset {opset} is the source: `modelport export … --opset {opset}`"
            return Reference(graph, why, bad, (note,))
        except GraphError as error:
            failed.append(f"the export at opset {opset} is not the source either: {error.found}")
    return Reference(None, why, bad, tuple(failed))


def precision_given(model: Path | None) -> str | None:
    """Return what a given ONNX file computes in, of several precisions the coarsest; None for another file.

    Raises GraphError.
    """
    if model is None or model.suffix.lower() != ".onnx":
        return None
    graph = graphs.read_graph(model)
    word = graphs.precision_of(graph)
    inside = {word, *heavy_precisions(graph).values()} if word == "mixed" else {word}
    return max(inside.intersection(PRECISIONS), key=PRECISIONS.index, default="fp32")


def steps(
    plan: Plan, source: Source, reference: Reference, samples: Sequence[Sample], progress: Progress
) -> Iterator[Step]:
    """Yield the stages behind the source, each made when it is asked for.

    ``samples`` are those that must not be calibrated on. Raises ModelportError for whatever the user can mend.
    """
    if source.artifact.kind in plan.engine.consumes and source.kind != ONNX and plan.given.model is None:
        yield _on_engine(plan, source.artifact)
        return
    given = None if plan.given.model is None else _held(plan, plan.given.model)
    if given is None or given.kind == ONNX:
        _hold_engine(plan)
    yield from _graphs(plan, source, reference, given)
    if given is not None and given.kind != ONNX:
        graph = reference.graph
        if graph is not None and plan.pixels:
            graph, _ = pixels_cached(graph, plan.recipe)
        yield replace(_on_engine(plan, given), given=True, graph=graph)
        return
    model = given
    if model is None:
        if reference.graph is None:
            raise UsageError(f"{plan.recipe.name}: {reference.why}", f"choose --engine {source.engine.name}")
        model = reference.graph
        if plan.pixels:
            model, _ = pixels_cached(model, plan.recipe)
            yield _on_reference(plan, PIXELS, model, "fp32")
    made = lowered(plan, model, source, samples, progress).artifact
    if made.kind == ONNX and made != model:
        yield _on_reference(plan, plan.precision, made, plan.precision)
    file = built(plan.engine, made, plan.build, progress).artifact if plan.engine.compiles_here else made
    step = replace(_on_engine(plan, file), graph=made if made.kind == ONNX else model)
    yield replace(step, build=_loose(step.build)) if given is not None and made == given else step


def _graphs(plan: Plan, source: Source, reference: Reference, given: Artifact | None) -> Iterator[Step]:
    """Yield the source's own graph, and a given ONNX file, in what it computes in."""
    word = "" if given is None or given.kind != ONNX else precision_given(given.path) or ""
    name = PIXELS if plan.pixels else ONNX if word == "fp32" else word
    if reference.export is not None and (given is None or name != ONNX):
        yield replace(_on_reference(plan, ONNX, reference.export, "fp32", own=True), why=reference.why)
    elif reference.graph is not None and source.kind != ONNX and name != ONNX:
        yield _on_reference(plan, ONNX, reference.graph, "fp32", own=True)
    if given is not None and word:
        step = _on_reference(plan, name, given, word)
        yield replace(step, given=True, build=_loose(step.build))


def _held(plan: Plan, path: Path) -> Artifact:
    """Return a given model file whose tensors are the recipe's. Raises UsageError or GraphError."""
    model, engine = model_artifact(path), plan.engine
    if model.kind == ONNX:
        graphs.check_signature(graphs.read_graph(path), plan.build.needed_recipe.whole_signature, path)
    elif model.kind not in engine.consumes:
        raise UsageError(f"{path}: the engine '{engine.name}' does not run such files", "name its engine by --engine")
    return model


def _hold_engine(plan: Plan) -> None:
    """Raise UsageError for an engine that neither runs ONNX files nor compiles them here."""
    engine = plan.engine
    if ONNX not in engine.consumes and not (engine.compiles_here and engine.compiles_to):
        runs = ", ".join(sorted(engine.consumes))
        raise UsageError(
            f"the engine '{engine.name}' runs {runs}, not {ONNX}",
            "compile the graph for it and give that by --model, or choose another --engine",
        )


def _loose(build: Build) -> Build:
    """Return the build of a user's file, which may compute in several precisions."""
    return replace(build, precision=None if build.precision in ("fp16", "int8") else build.precision)


def _on_reference(plan: Plan, name: str, model: Artifact, precision: str, *, own: bool = False) -> Step:
    """Return the stage of a graph on the reference runtime; ``own``: with the recipe's input, whatever is planned."""
    pixels = plan.pixels and not own
    build = replace(plan.build, precision=precision, recipe=plan.build.recipe if pixels else plan.recipe)
    return Step(name, model, reference_engine(), build, precision, pixels, PLAIN)


def _on_engine(plan: Plan, model: Artifact) -> Step:
    return Step(plan.engine.name, model, plan.engine, plan.build, plan.precision, plan.pixels, plan.launch)
