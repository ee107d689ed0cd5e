"""What ``bench`` measures: the recipe's model, exported where needed, or a file as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.errors import UsageError
from modelport.core.options import seconds
from modelport.core.progress import Progress
from modelport.core.values import Signature
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import choose_engine, engine_for, model_artifact, opened
from modelport.engines.row_check import check_rows
from modelport.measure.inputs import refuse_free_axes, refuse_too_large
from modelport.model.graph.file import check_shapes, read_graph
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.stages.compiled_from import stale_notes
from modelport.stages.plan import Given, Plan, Wish
from modelport.stages.port import ported, source_for

# The guides' batch sizes, for a model without recipe.
GUIDE_BATCHES = (1, 4, 8, 16, 32, 64)
# More runs in flight for each core only wait for each other.
MOST_PER_CORE = 16
# Of a free batch, as many rows as tell whether they hang on each other.
ROWS_CHECKED = 4


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What ``modelport bench`` is asked for; None is the recipe's or the engine's default.

    ``precision`` None is fp32 for a recipe's weights, and whatever it runs in for a model file.
    """

    recipe: str | None = None
    weights: Path | None = None
    model: Path | None = None
    engine: str | None = None
    precision: str | None = None
    batches: tuple[int, ...] | None = None
    duration: float = 5.0  # seconds per point
    concurrency: int | None = None
    threads: int | None = None
    variant: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) where axes are free
    calibration: Path | None = None  # images for int8
    input_type: Literal["float32", "uint8"] = "float32"
    seed: int = 0
    command: str = ""

    @property
    def wish(self) -> Wish:
        """What it says of engine and graph, for a recipe's weights."""
        return Wish(
            self.engine,
            self.precision or "fp32",
            input_type=self.input_type,
            threads=self.threads,
            calibration=self.calibration,
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """The model to be measured, on which engine, at which batch sizes."""

    recipe: Recipe | None
    engine: Engine
    model: Artifact
    artifacts: tuple[Artifact, ...]
    build: Build
    launch: Launch
    batches: tuple[int, ...]
    notes: tuple[str, ...]


def subject_of(request: BenchRequest, progress: Progress) -> Subject:
    """Return what is to be measured, weights fetched and exported where needed.

    Raises UsageError for options that do not go together, and ModelportError for whatever else the user can mend.
    """
    _check_words(request)
    recipe = None
    if request.recipe is not None:
        recipe = load_recipe(request.recipe).with_variant(request.variant).with_shapes(request.shapes)
    if request.model is not None:
        return _given_model(request, recipe, request.model)
    assert recipe is not None
    plan = Plan.of(recipe, request.wish, Given(request.weights), request.seed)
    engine = plan.engine
    if not engine.consumes & {"checkpoint", "onnx"}:
        raise UsageError(
            f"the engine '{engine.name}' runs compiled models only",
            f"`modelport compile {recipe.name} FILE.onnx --engine {engine.name}`, then bench --model FILE",
        )
    batches = request.batches or tuple(recipe.run.bench_batches)
    refuse_too_large(plan.build.needed_recipe.signature, batches)
    # Nothing is scored, so no image can be calibrated on wrongly.
    trail = ported(plan, source_for(plan, progress), (), progress, build=False).trail
    build = replace(plan.build, batch=None)
    return Subject(recipe, engine, trail.model, tuple(trail.artifacts), build, plan.launch, batches, tuple(trail.notes))


def _given_model(request: BenchRequest, recipe: Recipe | None, path: Path) -> Subject:
    model = model_artifact(path)
    engine = engine_for(model, request.engine)
    if request.precision is not None:
        engine = choose_engine(engine.name, request.precision)
    if request.shapes and model.kind == "onnx":
        check_shapes(read_graph(path), request.shapes, path)
    build, launch = Build(recipe, request.precision, shapes=request.shapes), Launch(request.threads)
    with opened(engine, model, build, launch) as runner:
        batches, notes = _batches(request, recipe, runner.signature, path)
        refuse_free_axes(runner.signature.with_batch(max(batches)), f"{path}: ")
        refuse_too_large(runner.signature, batches)
        notes += (*_of_rows(runner, max(batches)), *stale_notes(model))
    return Subject(recipe, engine, model, (model,), build, launch, batches, notes)


def _of_rows(runner: Runner, largest: int) -> tuple[str, ...]:
    """Say where a row of a batch is not answered as it is by itself: such a speed is of another model."""
    fixed = runner.signature.inputs[0].shape[0]
    batch = fixed if isinstance(fixed, int) else min(largest, ROWS_CHECKED)
    check = check_rows(runner, batch) if batch > 1 else None
    return () if check is None or check.verdict == "pass" else (check.why,)


def _batches(
    request: BenchRequest, recipe: Recipe | None, have: Signature, path: Path
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the batch sizes for a model file; one that is fixed to a batch leaves no choice."""
    if not have.inputs or not have.inputs[0].shape:
        raise UsageError(f"{path}: has no input with a batch axis", "give a model that takes a batch")
    fixed = have.inputs[0].shape[0]
    if isinstance(fixed, int):
        if request.batches and request.batches != (fixed,):
            raise UsageError(f"{path} is fixed to batch {fixed}", f"leave --batch out, or --batch {fixed}")
        return (fixed,), (f"batch {fixed}, " + ("as --shape says" if request.shapes else f"to which {path} is fixed"),)
    if request.batches:
        return request.batches, ()
    if recipe is not None:
        return tuple(recipe.run.bench_batches), ()
    return GUIDE_BATCHES, ("no recipe tells the batch sizes: those of the guides are measured",)


def _check_words(request: BenchRequest) -> None:
    if request.recipe is None and request.model is None:
        raise UsageError("bench of what?", "name a recipe, or a file with --model")
    if request.model is not None and request.weights is not None:
        raise UsageError("--model and --weights were both given", "give one of them")
    if request.model is not None and request.calibration is not None:
        raise UsageError("--calibration says nothing to --model: the file is made", "leave it out, or name the recipe")
    if request.model is not None and request.input_type != "float32":
        raise UsageError("--input-type says nothing to --model: the file is made", "leave it out, or name the recipe")
    if request.recipe is None and request.variant is not None:
        raise UsageError("--variant belongs to a recipe", "name the recipe, or leave --variant out")
    seconds("--duration", request.duration)
    for option, value in (("--concurrency", request.concurrency), ("--threads", request.threads)):
        if value is not None and value < 1:
            raise UsageError(f"{option} {value}", "give a number of at least 1")
    cores = machine.cores()
    if (request.threads or 1) > cores:
        raise UsageError(f"--threads {request.threads}: this machine has {cores} cores", f"give {cores} at most")
    if (request.concurrency or 1) > MOST_PER_CORE * cores:
        raise UsageError(f"--concurrency {request.concurrency}", f"give {MOST_PER_CORE * cores} at most")
    if request.seed < 0:
        raise UsageError(f"--seed {request.seed}", "give a number of at least 0")
    if request.batches is not None and (not request.batches or min(request.batches) < 1):
        raise UsageError("--batch", "give numbers of at least 1, as in --batch 1,4,8")
