"""``trace``: the same samples through every stage of a port, and in the first that departs its first node."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_json, write_text
from modelport.core.output_folder import drop_old_result, held_folder
from modelport.core.progress import Progress, stage
from modelport.core.scratch import scratch_folder
from modelport.core.values import Tensors
from modelport.data.stream.feeding import feed
from modelport.diagnose.trace.explained import LEAST, explained
from modelport.diagnose.trace.findings import Culprit, StageFound
from modelport.diagnose.trace.road import Reference, reference_of, steps
from modelport.diagnose.trace.stages import Stages, Step
from modelport.engines.source import Source
from modelport.jobs.trace.report import render
from modelport.jobs.trace.request import REPORT, SCHEMA, TRACE, Asked, TraceRequest, asked
from modelport.report.result import environment
from modelport.stages.port import source_for
from modelport.tasks.table import task_of

# Rows on which it is measured what rounding does to the outputs.
ROWS = 8


@dataclass(slots=True)
class Found:
    """What a trace has found by now."""

    stages: list[StageFound] = field(default_factory=list)
    bad: Step | None = None  # the first stage that departs; None where that is the source itself, or none does
    culprits: list[Culprit] = field(default_factory=list)
    runs: int = 0  # of the engine that departs
    plan: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def first_bad(self) -> StageFound | None:
        """The first stage that departs."""
        return next((one for one in self.stages if one.verdict == "fail"), None)


def trace(request: TraceRequest, progress: Progress) -> dict[str, Any]:
    """Hold every stage of a port against the source, name the first node that departs, and write trace.json.

    Returns its value. Raises ModelportError for whatever the user can mend.
    """
    begun, started = time.perf_counter(), datetime.now(UTC)
    what = asked(request)
    with held_folder(request.out, TRACE, request.force), scratch_folder(request.out, "work") as work:
        source = source_for(what.plan, progress)
        assert source is not None  # --source none was refused, and other files are their own
        with stage(progress, "reference graph"):
            reference = reference_of(source, request.out, progress)
        found = _through_the_stages(what, source, reference, work, progress)
        drop_old_result(request.out, TRACE, (REPORT,))
        value = {
            "schema": SCHEMA,
            "recipe": what.recipe.name,
            "engine": what.plan.engine.name,
            "precision": what.plan.precision,
            "samples": len(what.samples),
            **_told(found),
            "notes": [*source.notes, *what.notes, *reference.notes, *found.notes],
            "environment": environment(),
            "seed": request.seed,
            "command": request.command,
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - begun,
        }
        write_text(request.out / REPORT, render(value))
        write_json(request.out / TRACE, value)
    return value


def _told(found: Found) -> dict[str, Any]:
    bad = found.first_bad
    return {
        "stages": [one.to_json() for one in found.stages],
        "first_bad_stage": None if bad is None else bad.name,
        "culprits": [one.to_json() for one in found.culprits],
        "runs": found.runs,
        "plan": found.plan,
    }


def _through_the_stages(what: Asked, source: Source, reference: Reference, work: Path, progress: Progress) -> Found:
    """Ask the source and each stage behind it, up to the first that departs."""
    plan, found = what.plan, Found()
    task = task_of(what.recipe, what.dataset.categories, plan.seed)
    inputs = first_rows(what, source)
    stages = Stages(what.recipe, task, what.samples, plan.seed, _explained_by(what, source, reference, inputs, work))
    with stage(progress, "source"):
        found.stages.append(stages.source(source, plan.build))
    if found.first_bad is not None:
        return found
    for step in steps(plan, source, reference, what.samples, progress):
        with stage(progress, f"stage {step.name}"):
            found.stages.append(stages.stage(step))
        if found.first_bad is not None:
            found.bad = step
            break
    return found


def first_rows(what: Asked, source: Source) -> Tensors:
    """Return the inputs of the first samples, prepared as the recipe says; (rows, …), at most ``ROWS`` of them."""
    fixed = source.batch
    with closing(feed(what.recipe, iter(what.samples), fixed or ROWS, seed=what.plan.seed)) as batches:
        batch = next(batches)
    rows = fixed or len(batch.ids)
    return {name: array[:rows] for name, array in batch.inputs.items()}


def _explained_by(
    what: Asked, source: Source, reference: Reference, inputs: Tensors, work: Path
) -> Callable[[str], float]:
    """Return what tells how far rounding in a precision moves the outputs, measured when it is first asked."""
    graph = reference.graph or reference.export
    rows = len(next(iter(inputs.values())))

    @cache
    def of(precision: str) -> float:
        if graph is None:
            return LEAST[precision]
        build = replace(what.plan.build, recipe=what.recipe, precision="fp32", batch=source.batch or rows)
        return explained(graph, inputs, build, precision, work)

    return of
