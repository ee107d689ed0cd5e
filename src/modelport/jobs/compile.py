"""``compile``: a graph → what an engine loads fastest, opened once before it is called done."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from modelport.core.artifacts import Artifact, named_as_given, write_json, written_aside
from modelport.core.errors import EngineError, UsageError
from modelport.core.options import batch_rows
from modelport.core.progress import Progress
from modelport.engines.ascend.atc import AtcCall, artifact_path
from modelport.engines.ascend.engine import AscendEngine
from modelport.engines.ascend.npu_smi import PREFIX, found_chip
from modelport.engines.base import Engine, Options
from modelport.engines.registry import choose_engine, get_engine, model_artifact, opened
from modelport.model.graph.file import check_signature, read_graph
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.int8.search import plan_beside
from modelport.stages.lower import Wanted, lowered, speed_warnings


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What ``compile`` was asked for; None is the engine's or the recipe's default."""

    recipe: str
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


def compile_checked(request: CompileRequest, progress: Progress) -> dict[str, Any]:
    """Compile an ONNX file whose signature is the recipe's, or say what would be done.

    Raises GraphError, EngineError or UsageError.
    """
    batch_rows("--batch", request.batch)
    if request.device is not None and request.device < 0:
        raise UsageError(f"--device {request.device}", "give a device's number, from 0")
    recipe = load_recipe(request.recipe)
    engine = get_engine(request.engine)
    source = model_artifact(request.model)
    if isinstance(engine, AscendEngine) and source.kind != "onnx":
        raise UsageError(
            f"{request.model}: ATC compiles .onnx files here", "give the file that `modelport export` wrote"
        )
    if source.kind == "onnx":
        check_signature(read_graph(request.model), recipe.signature, request.model)
    if request.out.absolute() == request.model.absolute():
        raise UsageError(f"--out {request.out} is the model itself", "choose another --out")
    for part in source.parts:
        if part.path.absolute() in (request.out.absolute(), request.out.with_suffix(".bin").absolute()):
            raise UsageError(
                f"--out {request.out} would write over the model's weights {part.path}", "choose another --out"
            )
    if isinstance(engine, AscendEngine):
        if request.calibration is not None:
            raise UsageError("--calibration says nothing to ATC: it quantizes nothing", "leave --calibration out")
        return _compile_for_ascend(engine, request, recipe, source, progress)
    return _compile_here(request, recipe, source, progress)


def _compile_here(request: CompileRequest, recipe: Recipe, source: Artifact, progress: Progress) -> dict[str, Any]:
    """Compile with an engine that lives in this process."""
    for option in ("soc", "device", "input_type"):
        if getattr(request, option) is not None:
            word = "--" + option.replace("_", "-")
            raise UsageError(
                f"{word} says nothing to the engine '{request.engine}'", f"leave {word} out, or --engine ascend"
            )
    engine = choose_engine(request.engine, request.precision or "fp32")
    options = Options(recipe, request.precision or "fp32", request.batch)
    value = {
        "schema": "modelport.compile/1",
        "engine": engine.name,
        "precision": options.precision,
        "batch": request.batch,
    }
    if request.dry_run:
        note = (
            f"no vendor command: '{engine.name}' would compile {request.model} inside modelport and write {request.out}"
        )
        return value | {"command": [], "line": "", "files": [], "notes": [note]}
    calibrated_by = replace(options, batch=request.batch or recipe.run.batch)
    done = lowered(Wanted(recipe, engine, calibrated_by, request.calibration, request.plan), source, None, (), progress)
    artifact, precision = _compiled(engine, done.artifact, options, request)
    value["precision"] = precision
    if done.record is not None:
        write_json(plan_beside(request.out), done.record["plan"])
        done.record["plan_file"] = str(plan_beside(request.out))
    between = done.artifact.to_json() if done.made else []
    return value | {
        "artifacts": [*source.to_json(), *between, *artifact.to_json()],
        "notes": [*done.notes, *speed_warnings(engine, precision)],
        "quantization": done.record,
    }


def _compiled(engine: Engine, source: Artifact, options: Options, request: CompileRequest) -> tuple[Artifact, str]:
    """Compile to the file asked for, and return it and the precision that it runs in.

    What the engine then refuses, or what is no model of the recipe, does not come to lie there.
    """
    out = request.out
    with written_aside(out) as aside:
        with named_as_given(Artifact(aside, "", "", stands_for=out)):
            made = engine.compile(source, options, aside)
        with opened(engine, replace(made, stands_for=request.model), options) as runner:
            precision = runner.precision
    parts = tuple(replace(part, path=out.with_name(part.path.name)) for part in made.parts)
    return replace(made, path=out, parts=parts), precision


def _compile_for_ascend(
    engine: AscendEngine, request: CompileRequest, recipe: Recipe, source: Artifact, progress: Progress
) -> dict[str, Any]:
    """Build the call of ATC, and make it unless it is only to be shown."""
    options = Options(
        recipe,
        request.precision,
        request.batch,
        device=request.device or 0,
        soc=request.soc,
        plan=request.plan,
        input_type=request.input_type,
    )
    call = engine.plan(source, options, request.out)
    words = call.words(request.model, artifact_path(request.out))
    value = {
        "schema": "modelport.compile/1",
        "engine": engine.name,
        "precision": call.precision,
        "batch": call.batch,
        "input_type": call.input_type,
        "command": words,
        "line": shlex.join(words),
        "files": [{"option": option, "path": str(path), "text": text} for option, (path, text) in call.files.items()],
        "notes": list(call.notes),
    }
    if request.dry_run:
        return value
    progress.note(shlex.join(words))
    artifact = engine.compile(source, options, request.out)
    notes = [*call.notes, *_opened_once(engine, artifact, call, options)]
    return value | {"artifacts": [*source.to_json(), *artifact.to_json()], "notes": notes}


def _opened_once(engine: AscendEngine, artifact: Artifact, call: AtcCall, options: Options) -> tuple[str, ...]:
    """Open what was compiled where its chip is at hand; return what to say of it. Raises EngineError."""
    here = engine.available()
    soc = call.options["soc_version"]
    try:
        if not here.usable or PREFIX + found_chip(options.device) != soc:
            return (f"not opened here: this needs a device {soc} and ais_bench",)
    except EngineError:
        return (f"not opened here: no device {soc} is found",)
    recipe = options.needed_recipe
    form = replace(options, recipe=recipe_of_pixels(recipe) if call.input_type == "uint8" else recipe)
    with opened(engine, artifact, replace(form, precision=call.precision, batch=call.batch)) as runner:
        return tuple(getattr(runner, "notes", ()))
