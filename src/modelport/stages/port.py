"""The order of the stages: source → graph → precision → what the engine loads fastest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from modelport.core.progress import Progress, stage
from modelport.core.values import Sample
from modelport.engines.source import Source
from modelport.stages.build import built
from modelport.stages.graph import graph_of
from modelport.stages.lower import lowered
from modelport.stages.plan import Plan
from modelport.stages.source import source_of
from modelport.stages.trail import Made, Trail


@dataclass(slots=True)
class Ported:
    """A model on its way, and what it is held against; None where a file was given in the source's place."""

    source: Source | None
    trail: Trail = field(default_factory=Trail)


def source_for(plan: Plan, progress: Progress) -> Source | None:
    """Return what the plan's model is held against, None where a file was given in its place. Raises ModelportError."""
    if plan.model is not None and plan.weights is None:
        return None
    with stage(progress, "source"):
        return source_of(plan.recipe, plan.weights, progress)


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
    if build:
        with stage(progress, f"build for {plan.engine.name}"):
            trail.add(built(plan.engine, trail.model, plan.options, progress))
    return Ported(source, trail)
