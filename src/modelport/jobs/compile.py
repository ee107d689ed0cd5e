"""``compile``: a graph → what an engine loads fastest, opened once before it is called done."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelport.core.artifacts import Artifact, named_as_given, write_json, written_aside
from modelport.core.errors import UsageError
from modelport.core.options import batch_rows
from modelport.core.progress import Progress, stage
from modelport.engines.base import Build, BuildPlan, Engine, Launch
from modelport.engines.registry import ENGINES, choose_engine, get_engine, model_artifact, opened
from modelport.model.graph.file import check_shapes, check_signature, read_graph
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.compiled_from import remember
from modelport.stages.int8.search import plan_beside
from modelport.stages.lower import lowered, speed_warnings
from modelport.stages.plan import Plan
from modelport.stages.trail import Made


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What ``compile`` was asked for; None is the engine's or the recipe's default, no recipe: the file as it is."""

    recipe: str | None
    model: Path
    engine: str
    out: Path
    precision: str | None = None
    batch: int | None = None
    soc: str | None = None
    device: int | None = None
    plan: Path | None = None
    input_type: str | None = None
    dry_run: bool = False
    calibration: Path | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) where axes are free


def compile_checked(request: CompileRequest, progress: Progress) -> dict[str, Any]:
    """Compile an ONNX file, whose signature must be the recipe's where one is named, or say what would be done.

    Raises GraphError, EngineError or UsageError.
    """
    batch_rows("--batch", request.batch)
    if request.device is not None and request.device < 0:
        raise UsageError(f"--device {request.device}", "give a device's number, from 0")
    recipe = None if request.recipe is None else load_recipe(request.recipe).with_shapes(request.shapes)
    engine = get_engine(request.engine)
    source = _graph_of(engine, request, recipe)
    if engine.compiles_here:
        choose_engine(engine.name, request.precision or "fp32")
    precision = request.precision or ("fp32" if engine.compiles_here else None)
    shapes = request.shapes if recipe is None else ()
    build = Build(recipe, precision, request.batch, shapes, engine.own_build(_told(engine, request)))
    planned = engine.plan(source, build, request.out)
    value = {"schema": "modelport.compile/1", "engine": engine.name} | _planned(planned, request.dry_run)
    if request.dry_run:
        return value
    if planned.words:
        return value | _by_command(request, engine, source, build, planned, progress)
    return value | _in_process(request, engine, source, build, progress)


def _planned(planned: BuildPlan, dry_run: bool) -> dict[str, Any]:
    """Return what will be made, and by which command where another program makes it."""
    value: dict[str, Any] = {"precision": planned.precision, "batch": planned.batch}
    if not planned.words and not dry_run:
        return value
    return value | {
        "command": list(planned.words),
        "line": shlex.join(planned.words),
        "input_type": planned.input_type,
        "files": [{"option": option, "path": str(path), "text": text} for option, path, text in planned.files],
        "notes": list(planned.notes),
    }


def _by_command(
    request: CompileRequest, engine: Engine, source: Artifact, build: Build, planned: BuildPlan, progress: Progress
) -> dict[str, Any]:
    """Have the vendor's compiler make the model."""
    progress.note(shlex.join(planned.words))
    with stage(progress, f"compile for {engine.name}"):
        artifact = engine.compile(source, build, request.out)
    launch = Launch(device=request.device or 0)
    remember(artifact, source)
    notes = [*planned.notes, *_opened_once(engine, artifact, planned, build, launch)]
    return {"artifacts": [*source.to_json(), *artifact.to_json()], "notes": notes}


def _in_process(
    request: CompileRequest, engine: Engine, source: Artifact, build: Build, progress: Progress
) -> dict[str, Any]:
    """Bring the graph into the precision wanted, and compile it by the engine's package."""
    with stage(progress, f"precision {build.precision}"):
        done = _lowered(request, engine, source, build, progress)
    with stage(progress, f"compile for {engine.name}, and open"):
        artifact, precision = _compiled(engine, done.artifact, build, request)
    remember(artifact, source)
    if done.record:
        write_json(plan_beside(request.out), done.record["plan"])
        done.record["plan_file"] = str(plan_beside(request.out))
    between = done.artifact.to_json() if done.artifact is not source else []
    return {
        "precision": precision,
        "artifacts": [*source.to_json(), *between, *artifact.to_json()],
        "notes": [*done.notes, *speed_warnings(engine, precision)],
        "quantization": done.record or None,
    }


def _lowered(request: CompileRequest, engine: Engine, source: Artifact, build: Build, progress: Progress) -> Made:
    """Return the graph in the precision wanted. Raises UsageError where that takes a recipe, and none was named."""
    if build.recipe is None:
        if build.precision in engine.lowers or request.calibration is not None or request.plan is not None:
            raise UsageError(
                f"--precision {build.precision} makes another graph of {request.model}, which takes a recipe",
                f"name one; `modelport init {request.model}` drafts it",
            )
        return Made(source)
    form = replace(build, batch=request.batch or build.recipe.run.batch)
    plan = Plan(build.recipe, engine, form, calibration=request.calibration, precision_plan=request.plan)
    return lowered(plan, source, None, (), progress)


def _compiled(engine: Engine, source: Artifact, build: Build, request: CompileRequest) -> tuple[Artifact, str]:
    """Compile to the file asked for, and return it and the precision that it runs in.

    What the engine then refuses, or what is no model of the recipe, does not come to lie there.
    """
    out = request.out
    with written_aside(out) as aside:
        with named_as_given(Artifact(aside, "", "", stands_for=out)):
            made = engine.compile(source, build, aside)
        with opened(engine, replace(made, stands_for=request.model), build) as runner:
            precision = runner.precision
    parts = tuple(replace(part, path=out.with_name(part.path.name)) for part in made.parts)
    return replace(made, path=out, parts=parts), precision


def _told(engine: Engine, request: CompileRequest) -> dict[str, Any]:
    """Return what was given that this engine's compiler alone takes. Raises UsageError for what it does not take."""
    for option in ("soc", "device", "input_type", "calibration", "plan"):
        if getattr(request, option) is None or option in engine.build_options:
            continue
        word = "--" + option.replace("_", "-")
        takers = [other.name for other in map(get_engine, ENGINES) if option in other.build_options]
        raise UsageError(
            f"{word} says nothing to the engine '{engine.name}'",
            f"leave {word} out, or --engine {' or '.join(takers)}",
        )
    alone = engine.build_options - {"calibration"} if not engine.compiles_here else set()
    return {name: value for name in sorted(alone) if (value := getattr(request, name)) is not None}


def _graph_of(engine: Engine, request: CompileRequest, recipe: Recipe | None) -> Artifact:
    """Return the file to be compiled, once it is the recipe's and ``--out`` is not on top of it."""
    source = model_artifact(request.model)
    if not engine.compiles_here and source.kind != "onnx":
        raise UsageError(
            f"{request.model}: '{engine.name}' compiles .onnx files here", "give the file that `modelport export` wrote"
        )
    if source.kind == "onnx":
        graph = read_graph(request.model)
        check_shapes(graph, request.shapes, request.model)
        if recipe is not None:
            check_signature(graph, recipe.whole_signature, request.model)
    if request.out.absolute() == request.model.absolute():
        raise UsageError(f"--out {request.out} is the model itself", "choose another --out")
    written = [request.out, *map(request.out.with_suffix, engine.companions)]
    for part in source.parts:
        if part.path.absolute() in [path.absolute() for path in written]:
            raise UsageError(
                f"--out {request.out} would write over the model's weights {part.path}", "choose another --out"
            )
    return source


def _opened_once(
    engine: Engine, artifact: Artifact, planned: BuildPlan, build: Build, launch: Launch
) -> tuple[str, ...]:
    """Open what was compiled where its device is at hand; return what to say of it. Raises EngineError."""
    if why := engine.cannot_open(build, launch):
        return (f"not opened here: {why}",)
    recipe = build.needed_recipe
    form = replace(build, recipe=recipe_of_pixels(recipe) if planned.input_type == "uint8" else recipe)
    with opened(engine, artifact, replace(form, precision=planned.precision, batch=planned.batch), launch) as runner:
        return tuple(getattr(runner, "notes", ()))
