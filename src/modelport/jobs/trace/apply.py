"""``trace --apply``: the repaired file, judged by the road of ``run`` beside the one that was off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from modelport.core.artifacts import Artifact, write_artifact, write_text
from modelport.core.errors import ModelportError
from modelport.core.progress import Progress
from modelport.diagnose.trace.findings import Culprit, StageFound
from modelport.diagnose.trace.locating import Located
from modelport.diagnose.trace.repair import grafted, keep_in_float
from modelport.diagnose.trace.road import Reference, steps
from modelport.diagnose.trace.stages import Stages, Step
from modelport.engines.source import Source
from modelport.jobs.run import run
from modelport.jobs.run_request import RunRequest
from modelport.jobs.trace.request import REPAIRED, Asked, TraceRequest
from modelport.model.graph.file import opset_of, read_graph
from modelport.model.graph.precision_plan import PrecisionPlan, plan_text
from modelport.report.result import Result
from modelport.stages.plan import Plan

# Of mending and looking again: what lies behind a culprit may depart only when that is mended.
ROUNDS = 3
PLAN, BEFORE, AFTER = "plan.json", "before", "after"


@dataclass(frozen=True, slots=True)
class Repair:
    """A model that was mended, and how; not yet judged."""

    by: Literal["graft", "opset", "keep_in_float"]
    path: Path  # the repaired graph, or the plan
    step: Step  # the stage again, with what was mended


@dataclass(frozen=True, slots=True)
class Case:
    """What departs, and all that repairing it needs."""

    request: TraceRequest
    what: Asked
    source: Source
    reference: Reference
    step: Step
    located: Located
    stages: Stages
    locate: Callable[[Step], Located]  # again, in a stage that still departs

    @property
    def culprits(self) -> Sequence[Culprit]:
        """What was found to be the cause."""
        return self.located.culprits

    @property
    def own_export(self) -> bool:
        """Whether the graph that departs is the source's own export."""
        return self.step.model == self.reference.export


def applied(case: Case, progress: Progress) -> dict[str, Any]:
    """Mend what can be mended, and judge it again; return the key ``applied`` of trace.json.

    ``repaired`` is true where the stage holds with it and the verdict on it is no fail. Where nothing can be mended, or
    what was mended cannot be judged, ``why`` says so and nothing is called repaired.
    """
    try:
        repair, stage = _mended(case, progress)
    except ModelportError as error:
        return _nothing(f"the repair cannot be made: {error.found}")
    if repair is None or stage is None:
        return _nothing("none of the culprits is mended by what the source or a precision plan has")
    try:
        before, after = run(_before(case), progress), run(_after(case, repair), progress)
    except ModelportError as error:
        return _nothing(f"what was mended cannot be judged: {error.found}") | {
            "by": repair.by,
            "file": str(repair.path),
        }
    mended = stage.verdict == "pass" and after.verdict != "fail"
    return {
        "repaired": mended,
        "by": repair.by,
        "file": str(repair.path),
        "stage": stage.to_json(),
        "before": _told(before, case.request.out / BEFORE),
        "after": _told(after, case.request.out / AFTER),
        "why": _why(stage, after) + (newer_opset(case.step.model.path, repair.path) if repair.by == "graft" else ""),
    }


def nothing_off(bad: StageFound | None) -> dict[str, Any]:
    """Return the key ``applied`` where no stage behind the source departs."""
    why = "no stage departs: there is nothing to mend" if bad is None else "the source itself is at fault"
    return _nothing(why)


def _nothing(why: str) -> dict[str, Any]:
    return {"repaired": False, "by": None, "file": None, "stage": None, "before": None, "after": None, "why": why}


def _mended(case: Case, progress: Progress) -> tuple[Repair | None, StageFound | None]:
    """Return the repair, and the stage with it; both None where there is none.

    Where the stage still departs, what lay behind the first culprits is looked for and mended, too, ``ROUNDS`` times in
    all. Raises ModelportError.
    """
    last: tuple[Repair | None, StageFound | None] = (None, None)
    kept: dict[str, str] = {}
    now = case
    for _ in range(ROUNDS):
        kept |= keep_in_float(now.located.culprits).nodes
        repair = _repair(now, PrecisionPlan(kept), progress)
        if repair is None:
            break
        stage = case.stages.stage(repair.step)
        last = repair, stage
        if stage.verdict == "pass":
            break
        now = replace(now, step=repair.step, located=case.locate(repair.step))
    return last


def _repair(case: Case, plan: PrecisionPlan, progress: Progress) -> Repair | None:
    """Return what the culprits' repairs make; None where there is none. Raises ModelportError where it fails."""
    out, kinds = case.request.out, {culprit.fix.kind for culprit in case.culprits}
    if case.step.graph is None and case.reference.graph is not None:
        if case.own_export:
            content = case.reference.graph.path.read_bytes()
            model = write_artifact(out / REPAIRED, "onnx", content, case.reference.graph.made_from)
            return Repair("opset", out / REPAIRED, replace(case.step, model=model, why=""))
        if "graft" in kinds and case.step.given:
            mine, theirs = read_graph(case.step.model.path), read_graph(case.reference.graph.path)
            content = grafted(mine, theirs, case.culprits, case.located.units).SerializeToString(deterministic=True)
            model = write_artifact(out / REPAIRED, "onnx", content, case.step.model.digests)
            return Repair("graft", out / REPAIRED, replace(case.step, model=model))
    if not plan.nodes or case.what.plan.engine.lowers.get(case.step.precision) is None or case.step.given:
        return None
    write_text(out / PLAN, plan_text(plan))
    again = replace(case.what.plan, precision_plan=out / PLAN)
    return Repair("keep_in_float", out / PLAN, _same_stage(case, again, progress))


def _same_stage(case: Case, plan: Plan, progress: Progress) -> Step:
    """Return the stage that departs, made with another plan."""
    made = steps(plan, case.source, case.reference, case.what.samples, progress)
    return next(step for step in made if step.name == case.step.name)


def _before(case: Case) -> RunRequest:
    """Return the run of what is off: held against the source's graph, for against the source itself it is refused."""
    request = _run(case, BEFORE)
    if case.step.graph is None and (case.step.given or case.own_export):
        return replace(request, weights=None, source=_graph(case).path, model=case.step.model.path)
    return request


def _after(case: Case, repair: Repair) -> RunRequest:
    """Return the run of what was mended, held against the source as every model file is."""
    request = _run(case, AFTER)
    if repair.by == "keep_in_float":
        return replace(request, precision_plan=repair.path)
    if case.step.pixels or (request.weights is None and request.source is None):
        # Pixels are not held against weights, and a file that comes alone would be its own source.
        return replace(request, weights=None, source=_graph(case).path, model=repair.path)
    return replace(request, model=repair.path)


def _graph(case: Case) -> Artifact:
    assert case.reference.graph is not None
    return case.reference.graph


def _run(case: Case, folder: str) -> RunRequest:
    asked, plan = case.request, case.what.plan
    wish = replace(asked.wish, engine=plan.engine.name, precision=plan.precision, batch=plan.build.batch)
    return RunRequest(
        recipe=asked.recipe,
        data=asked.data,
        out=asked.out / folder,
        weights=case.source.artifact.path if case.source.kind == "checkpoint" else None,
        model=asked.model,
        source=asked.source,
        wish=wish,
        limit=asked.limit,
        seed=asked.seed,
        variant=asked.variant,
        shapes=asked.shapes,
        checkpoint_key=asked.checkpoint_key,
        force=asked.force,
        command=asked.command,
    )


def _told(result: Result, folder: Path) -> dict[str, Any]:
    return {
        "verdict": result.verdict,
        "n": result.n,
        "metrics": {name: score.to_json() for name, score in result.metrics.items()},
        "samples_per_second": result.samples_per_second,
        "latency_ms": result.speed.latency_ms.get("host", {}).get("median"),
        "folder": str(folder),
    }


def newer_opset(before: Path, after: Path) -> str:
    """Return, to be put behind a sentence, that a graph is of another opset than it was; empty where it is not."""
    old, new = (opset_of(read_graph(path)) for path in (before, after))
    return "" if old == new else f"; it is of opset {new} now, and was of {old}: the source's nodes are that new"


def _why(stage: StageFound, after: Result) -> str:
    if stage.verdict != "pass":
        return f"with it the stage still departs: {stage.why}"
    if after.verdict == "fail":
        return "the stage holds with it, and the verdict on it is fail all the same: see the report of the run"
    return f"the stage holds with it: {stage.why}"
