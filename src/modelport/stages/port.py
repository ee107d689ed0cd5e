"""The order of the stages: source → graph → precision → what the engine loads fastest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from modelport.core.artifacts import Artifact
from modelport.core.progress import Progress, stage
from modelport.core.values import Check, Sample
from modelport.engines.source import Source, source_from_file, source_from_onnx
from modelport.model.graph.file import precision_of, read_graph
from modelport.stages.build import built
from modelport.stages.graph import graph_of
from modelport.stages.lower import lowered
from modelport.stages.plan import NO_SOURCE, Plan
from modelport.stages.source import source_of, with_health
from modelport.stages.trail import Made, Trail

ITSELF = Check(
    "source_is_another",
    "incomplete",
    "the same file, engine and precision",
    "another one",
    "the model would be held against itself, and nothing would be proved: choose another engine or precision, or give "
    "--source",
)


@dataclass(slots=True)
class Ported:
    """A model on its way, and what it is held against; None where a file was given in the source's place."""

    source: Source | None
    trail: Trail = field(default_factory=Trail)


def source_for(plan: Plan, progress: Progress) -> Source | None:
    """Return what the plan's model is held against; None where nothing that was given can be. Raises ModelportError.

    An ONNX model in float32 that comes alone is its own source.
    """
    given = plan.given
    if given.source == NO_SOURCE:
        return None
    with stage(progress, "source"):
        if isinstance(given.source, Path):
            return with_health(source_from_file(plan.recipe, given.source))
        if given.model is None or given.weights is not None:
            return source_of(plan.recipe, given.weights, progress)
        alone = given.model.suffix.lower() == ".onnx" and precision_of(read_graph(given.model)) == "fp32"
        return with_health(source_from_onnx(plan.recipe, given.model)) if alone else None


def ported(
    plan: Plan, source: Source | None, scored: Iterable[Sample], progress: Progress, *, build: bool = True
) -> Ported:
    """Return the model as the engine is to run it; ``scored`` are the samples that must not be calibrated on.

    Without ``build`` the engine compiles it when it is opened. Raises ModelportError for whatever the user can mend.
    """
    trail = Trail([] if source is None else [Made(source.artifact, notes=source.notes)])
    with stage(progress, "graph"):
        for made in graph_of(plan, source, progress):
            trail.add(made)
    with stage(progress, f"precision {plan.precision}"):
        trail.add(lowered(plan, trail.model, source, scored, progress))
    if source is not None and _is_itself(plan, source, trail.model):
        trail.add(Made(trail.model, (ITSELF,)))
    if build:
        with stage(progress, f"build for {plan.engine.name}"):
            trail.add(built(plan.engine, trail.model, plan.build, progress))
    return Ported(source, trail)


def _is_itself(plan: Plan, source: Source, model: Artifact) -> bool:
    same = (model.identity, plan.engine.name, plan.precision) == (source.artifact.identity, source.engine.name, "fp32")
    return source.kind == "onnx" and same
