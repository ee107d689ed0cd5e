"""``trace``: the same samples through every stage of a port, and in the first that departs its first node."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_json, write_text
from modelport.core.errors import GraphError, ModelportError
from modelport.core.output_folder import drop_old_result, held_folder
from modelport.core.progress import Progress, stage
from modelport.core.scratch import scratch_folder
from modelport.core.values import Sample, Tensors
from modelport.data.stream.feeding import feed
from modelport.diagnose.trace.along import told_along
from modelport.diagnose.trace.explained import LEAST, Explained, explained
from modelport.diagnose.trace.explorer import write_explorer
from modelport.diagnose.trace.findings import SCHEMA, NodesFound, StageFound
from modelport.diagnose.trace.locating import Located, bisected, compared
from modelport.diagnose.trace.repair import compilers_plans, keep_in_float
from modelport.diagnose.trace.road import Reference, reference_of, steps
from modelport.diagnose.trace.running import bench
from modelport.diagnose.trace.source_weights import broken_weights, culprits_in
from modelport.diagnose.trace.stages import Stages, Step
from modelport.engines.fitted import with_constants
from modelport.engines.source import Source
from modelport.jobs.trace.apply import Case, applied, nothing_off
from modelport.jobs.trace.request import REPORT, TRACE, Asked, TraceRequest, asked
from modelport.model.graph.file import read_graph
from modelport.model.graph.precision_plan import PrecisionPlan, plan_text, read_plan
from modelport.report.result import environment
from modelport.report.trace_text import render
from modelport.stages.port import source_for
from modelport.tasks.base import Task
from modelport.tasks.table import task_of

# Rows on which it is measured what rounding does, and on which nodes are looked for.
ROWS = 4


@dataclass(slots=True)
class Found:
    """What a trace has found by now."""

    stages: list[StageFound] = field(default_factory=list)
    located: Located = field(default_factory=lambda: Located((), 0))
    case: Case | None = None  # what a repair needs; None where nothing behind the source departs
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
        source = _source(what, progress)
        found = _through_the_stages(request, what, source, work, progress)
        drop_old_result(request.out, TRACE, (REPORT,))
        plan, further = keep_in_float(found.located.culprits), dict[str, Any]()
        if request.apply:
            told = nothing_off(found.first_bad) if found.case is None else applied(found.case, progress)
            further["applied"] = told
            # It holds what was found behind the first culprits as well.
            plan = read_plan(Path(told["file"])) if told["by"] == "keep_in_float" else plan
        value = {
            "schema": SCHEMA,
            "recipe": what.recipe.name,
            "engine": what.plan.engine.name,
            "precision": what.plan.precision,
            "samples": len(what.samples),
            **_told(found),
            "plan": json.loads(plan_text(plan)) if plan.nodes else None,
            **further,
            "notes": [*source.notes, *what.notes, *found.notes, *found.located.notes],
            "environment": environment(),
            "seed": request.seed,
            "command": request.command,
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - begun,
        }
        value["notes"] += _beside(request, found, plan)
        write_text(request.out / REPORT, render(value))
        write_json(request.out / TRACE, value)
    return value


def _source(what: Asked, progress: Progress) -> Source:
    """Return what defines the right answer: a given model file is what is held against it, never itself."""
    given = replace(what.plan.given, model=None)
    source = source_for(replace(what.plan, given=given), progress)
    assert source is not None  # --source none was refused
    return source


def _told(found: Found) -> dict[str, Any]:
    bad, located = found.first_bad, found.located
    culprits = frozenset(one.found.node for one in located.culprits)
    return {
        "stages": [one.to_json() for one in found.stages],
        "first_bad_stage": None if bad is None else bad.name,
        "culprits": [one.to_json() for one in located.culprits],
        "nodes": [one.to_json() for one in told_along(located.nodes, culprits)],
        "nodes_compared": len(located.nodes),
        "runs": located.runs,
    }


def _beside(request: TraceRequest, found: Found, plan: PrecisionPlan) -> list[str]:
    """Write the files that were asked for beside trace.json; return what is to be said of those that were not."""
    said = []
    if request.plan_out is not None:
        if plan.nodes:
            write_text(request.plan_out, plan_text(plan))
            said += _for_compilers(request.plan_out, plan, found)
        else:
            said.append("--plan-out: no culprit is mended by keeping nodes in float32, and nothing was written")
    if request.explorer is not None:
        graph, units = found.located.graph, found.located.units
        if graph is not None and units:
            _, other = write_explorer(request.explorer, NodesFound(units), read_graph(graph.path))
            said.append(f"Model Explorer: node data of {graph.shown}; the accumulated errors are in {other}")
        else:
            said.append("--explorer: no nodes were compared, and nothing was written")
    return said


def _for_compilers(out: Path, plan: PrecisionPlan, found: Found) -> list[str]:
    """Write the plan beside ``out`` as compilers of the vendors' own take it; return where."""
    graph = None if found.case is None else found.case.reference.graph
    if graph is None:
        return []
    try:
        texts = compilers_plans(plan, read_graph(graph.path))
    except GraphError as error:  # nodes of the graph with the normalisation inside
        return [f"--plan-out: no plan for vendors' own compilers: {error.found}"]
    paths = {out.with_name(f"{out.stem}.{name}"): text for name, text in texts.items()}
    for path, text in paths.items():
        write_text(path, text)
    return [f"--plan-out: for vendors' own compilers: {', '.join(map(str, paths))}"] if paths else []


def _through_the_stages(request: TraceRequest, what: Asked, source: Source, work: Path, progress: Progress) -> Found:
    """Ask the source and each stage behind it, up to the first that departs, and look for the nodes in that."""
    plan, found = what.plan, Found()
    task = task_of(what.recipe, what.dataset.categories, plan.seed)
    stages = Stages(what.recipe, task, what.samples, plan.seed)
    with stage(progress, "source"):
        culprits = culprits_in(broken_weights(source))
        found.stages.append(stages.source(source, plan.build, culprits[0].why if culprits else ""))
    metric = found.stages[0].metric
    if metric["value"] is None:
        found.notes.append(f"{len(what.samples)} samples do not tell {metric['name']}: the outputs alone are compared")
    if found.first_bad is not None:
        found.located = Located(culprits, 0)
        return found
    with stage(progress, "reference graph"):
        reference = reference_of(source, request.out, progress)
        found.notes += reference.notes
        stages.expected = _explained_by(what, reference, task, found.notes)
    for step in steps(plan, source, reference, what.samples, progress):
        with stage(progress, f"stage {step.name}"):
            found.stages.append(stages.stage(step))
        if found.first_bad is not None:
            with stage(progress, "nodes"):
                locate = partial(_located, what, stages=stages, reference=reference, work=work, progress=progress)
                found.located = locate(step)
            found.case = Case(request, what, source, reference, step, found.located, stages, locate)
            break
    return found


def _located(what: Asked, step: Step, stages: Stages, reference: Reference, work: Path, progress: Progress) -> Located:
    """Look for the nodes on the samples that depart most."""
    graph = reference.graph
    if graph is None or (step.graph is None and step.model.kind != "onnx"):
        return Located([], 0, [f"no node is looked for: {reference.why or 'the engine runs no graph'}"])
    samples = stages.worst(ROWS)
    try:
        own = first_rows(what, samples, pixels=step.pixels)
        if step.graph is not None:
            return bisected(step, own, work)
        return compared(graph, step, first_rows(what, samples) if step.pixels else own, own, progress)
    except ModelportError as error:
        return Located([], 0, [f"the nodes could not be looked through: {error.found}"])


def first_rows(what: Asked, samples: Sequence[Sample], *, pixels: bool = False) -> Tensors:
    """Return the inputs of some samples, prepared as the recipe says; (rows, …), at most ``ROWS`` of a free batch."""
    fixed = what.fixed_batch
    with closing(feed(what.recipe, iter(samples), fixed or ROWS, seed=what.plan.seed, pixels=pixels)) as batches:
        batch = next(batches)
    rows = fixed or len(batch.ids)
    tensors = {name: array[:rows] for name, array in batch.inputs.items()}
    return with_constants(what.recipe.tensors.inputs, tensors)


def _explained_by(what: Asked, reference: Reference, task: Task, notes: list[str]) -> Callable[[str], Explained]:
    """Return what tells how far rounding in a precision moves the outputs, measured when it is first asked.

    Where that cannot be done, ``notes`` tell, and the least that is explained of any model counts.
    """
    graph = reference.graph or reference.export
    outputs = [tensor.name for tensor in what.recipe.tensors.outputs]

    @cache
    def of(precision: str) -> Explained:
        if graph is None:
            notes.append(f"what {precision} explains was not measured: {reference.why}")
            return Explained(LEAST[precision])
        try:
            with bench() as runtime:
                inputs = first_rows(what, what.samples)
                return explained(read_graph(graph.path), inputs, outputs, precision, runtime, task.distance)
        except ModelportError as error:
            notes.append(f"what {precision} explains was not measured on this model: {error.found}")
            return Explained(LEAST[precision])

    return of
