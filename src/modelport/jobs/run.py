"""The whole road: recipe → checkpoint → export → engine → evaluate → verdict → report.

This is the only file that knows the order of the stages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from modelport.core.artifacts import write_text
from modelport.core.errors import DataError, UsageError
from modelport.core.options import MAX_SKIPPED, batch_rows, share
from modelport.core.output_folder import drop_old_result, held_folder, write_result
from modelport.core.progress import Progress
from modelport.core.values import Sample
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.engines.base import Engine, Options, Runner
from modelport.engines.registry import choose_engine, opened, own_precision
from modelport.engines.row_check import TOLERATED, check_rows
from modelport.evaluate.answer import Outcome, Pass, answer_with_source, score_with_engine
from modelport.evaluate.loop import Clocks
from modelport.evaluate.neighbours import neighbour_accuracy
from modelport.evaluate.resize_effect import effect_note, fast_effect
from modelport.evaluate.store import SourceAnswers
from modelport.measure.in_flight import with_best_in_flight
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.recipes.input_range import odd_input_range
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.recipes.setting import read_setting
from modelport.report import markdown
from modelport.report.assemble import Made, assemble
from modelport.report.detections import DetectionFiles, write_detection_files
from modelport.report.result import latency_summary, steadiness_warnings
from modelport.stages.build import compiled_cached
from modelport.stages.lower import Wanted, check_calibration, lowered, speed_warnings
from modelport.stages.source import Given, Road, walk
from modelport.tasks.base import Task
from modelport.tasks.table import task_of
from modelport.verdict.rules import is_full_set

RESULT, PREDICTIONS, REPORT = "result.json", "predictions.jsonl", "report.md"


@dataclass(frozen=True, slots=True)
class PortRequest:
    """What ``modelport run`` is asked for. ``engine`` None: the fastest usable one; ``batch`` None: the recipe's."""

    recipe: str
    data: Path
    out: Path
    weights: Path | None = None
    model: Path | None = None
    engine: str | None = None
    precision: str | None = None  # None: the engine's own, fp32 on CPUs
    batch: int | None = None
    limit: int | None = None
    order: str | None = None  # data or random; None: random under a limit, else data
    max_skipped: float = MAX_SKIPPED
    seed: int = 0
    variant: str | None = None
    on_bad_image: Literal["fail", "skip"] = "fail"
    input_type: Literal["float32", "uint8"] = "float32"
    force: bool = False
    files: DetectionFiles = field(default_factory=DetectionFiles)
    command: str = ""
    calibration: Path | None = None  # images for int8, none of them scored
    concurrency: int | None = None  # runs in flight; None: measured
    threads: int | None = None  # of the engine, all runs together; None: all cores
    fast: bool = False  # resize the quicker way
    device: int = 0  # of an engine that has several


def set_as_wanted(request: PortRequest, setting: Path | None, given: Mapping[str, Any]) -> PortRequest:
    """Return the request as a setting file says, and over it what was given by hand (None: not given).

    Raises RecipeError for a file that is no setting, UsageError for one of another recipe.
    """
    wanted: dict[str, Any] = {}
    if setting is not None:
        found = read_setting(setting)
        if found.recipe != load_recipe(request.recipe).name:
            raise UsageError(f"{setting} is a setting of {found.recipe}", f"give one of {request.recipe}")
        wanted = {key: getattr(found, key) for key in ("engine", "precision", "batch", "concurrency", "threads")}
        wanted["input_type"] = found.input_type
        wanted["calibration"] = Path(found.calibration) if found.calibration else None
    wanted |= {key: value for key, value in given.items() if value is not None}
    if wanted.get("precision", "fp32") != "int8" and given.get("calibration") is None:
        wanted.pop("calibration", None)
    return replace(request, **wanted)


def port(request: PortRequest, progress: Progress) -> dict[str, Any]:
    """Carry a model to an engine, evaluate it there, judge it, and write result.json, predictions.jsonl and report.md.

    Returns the result. Raises ModelportError for whatever the user can mend; then ``out`` holds no new result.
    """
    with ExitStack() as held:
        return _port(request, progress, held)


def _port(request: PortRequest, progress: Progress, held: ExitStack) -> dict[str, Any]:
    clock, started = time.perf_counter(), datetime.now(UTC)
    recipe = load_recipe(request.recipe).with_variant(request.variant)
    precision = request.precision or own_precision(request.engine)
    engine = choose_engine(request.engine, precision)
    pixels = request.input_type == "uint8"
    form = recipe_of_pixels(recipe) if pixels else recipe
    batch = batch_rows("--batch", request.batch) or recipe.run.batch
    options = Options(form, precision, batch, request.threads, concurrency=request.concurrency, device=request.device)
    check_calibration(precision, request.calibration, request.model)
    if request.files.wanted and recipe.task != "detection":
        raise UsageError(f"{recipe.name} is no detector", "leave --draw, --detections and --coco-json out")
    dataset = open_dataset(recipe.dataset, request.data)
    samples, said = chosen_samples(dataset, request.limit, request.order, request.seed)
    share("--max-skipped", request.max_skipped)
    held.enter_context(held_folder(request.out, RESULT, request.force))
    road = walk(Given(request.weights, request.model, pixels), recipe, engine, progress)
    _lower(road, Wanted(recipe, engine, options, request.calibration, seed=request.seed), samples, progress)
    assert road.model is not None
    road.notes += [*dataset.notes, *said, *filter(None, [odd_input_range(recipe)])]
    task = task_of(recipe, dataset.categories, request.seed)
    model = compiled_cached(engine, road.model, options)
    if model is not road.model:
        road.artifacts.append(model)
    batches = -(-len(samples) * recipe.dataset.views // batch)
    options, how = with_best_in_flight(engine, model, options, batches, progress)
    full = is_full_set(recipe, (sample.id for sample in samples), skipped=0)
    job = Pass(recipe, samples, options, task, request.seed, request.on_bad_image, progress, pixels, request.fast, full)
    if pixels:
        road.notes.append("the graph normalises by itself: it was given uint8 pixels (N, H, W, 3)")

    if road.source is None:
        with opened(engine, model, options) as runner:
            outcome = _scored(request, road, job, runner, None)
    else:
        with SourceAnswers(road.source.artifact.sha256, recipe.digest, request.seed) as answers:
            answer_with_source(job, road.source, answers)
            road.notes += answers.notes
            with opened(engine, model, options) as runner:
                outcome = _scored(request, road, job, runner, answers)
                _further_figures(request, job, runner, outcome)

    result = _result(request, recipe, engine, road, outcome, task)
    result["input_type"] = request.input_type
    result["runs_in_flight"] = {"value": outcome.in_flight, "how": how}
    result["decoders"] = {"value": outcome.decoders.count, "how": outcome.decoders.how}
    if request.fast:
        result["fast_preprocess"] = fast_effect(recipe, samples, outcome.scored.figures)
        result["notes"].append(effect_note(result["fast_preprocess"]))
    result["started"], result["seconds"] = started.isoformat(timespec="seconds"), time.perf_counter() - clock
    if request.files.wanted:
        result["notes"] += write_detection_files(request.files, dataset, request.out / PREDICTIONS, progress)
    write_text(request.out / REPORT, markdown.render(result))
    write_result(request.out, RESULT, result, (PREDICTIONS, REPORT))
    return result


def _lower(road: Road, want: Wanted, scored: Sequence[Sample], progress: Progress) -> None:
    """Bring the model into the precision asked for, where that takes another file."""
    assert road.model is not None
    done = lowered(want, road.model, road.source, scored, progress)
    road.model, road.quantization = done.artifact, done.record
    road.notes += done.notes
    if done.made:
        road.artifacts.append(done.artifact)


def _further_figures(request: PortRequest, job: Pass, runner: Runner, outcome: Outcome) -> None:
    """Add the figures that need a run of their own, outside every clock."""
    if "knn_top1" not in job.recipe.metrics:
        return
    try:
        bank = open_dataset(job.recipe.dataset, request.data, split="train")
    except DataError as error:
        outcome.scored.figures.notes.append(f"knn_top1 was not measured, it needs the training split: {error.found}")
        return
    outcome.scored.figures.metrics |= neighbour_accuracy(runner, job.options, bank, job.samples, job.progress)


def _result(
    request: PortRequest, recipe: Recipe, engine: Engine, road: Road, outcome: Outcome, task: Task
) -> dict[str, Any]:
    latency = latency_summary(outcome.clocks.latencies_ms)
    made = Made(
        *(engine.name, outcome.precision, outcome.batch, road.source is not None, road.artifacts, road.checks),
        notes=[*road.notes, *outcome.notes],
    )
    warnings = [*speed_warnings(engine, outcome.precision), *steadiness_warnings(latency)]
    clocks = {
        "throughput": throughputs(outcome),
        "latency_ms": {"host": latency, **device_latencies(outcome.clocks)},
        "speed_warnings": warnings,
    }
    return assemble(recipe, task, outcome.scored, made, clocks, request.max_skipped) | {
        "seed": request.seed,
        "quantization": road.quantization,
        "command": request.command,
    }


def _scored(request: PortRequest, road: Road, job: Pass, runner: Runner, answers: SourceAnswers | None) -> Outcome:
    """Hold a given model file against its own rows, and go through the data.

    An earlier result goes here and not before: until now whatever the user gave might be wrong.
    """
    assert job.options.batch is not None
    if request.model is not None:
        check = check_rows(runner, job.options.batch, max(job.task.tolerated, TOLERATED))
        road.checks += [] if check is None else [check]
    drop_old_result(request.out, RESULT, (PREDICTIONS, REPORT))
    return score_with_engine(job, runner, answers, request.out / PREDICTIONS)


def throughputs(outcome: Outcome) -> dict[str, Any]:
    """Return the three throughputs; the device's own where the engine tells it, else null."""
    clocks = outcome.clocks
    seconds = {"end_to_end": clocks.seconds, "host": clocks.busy_seconds}
    if clocks.device:
        seconds["device"] = sum(times.compute_ms for times in clocks.device) / 1000
    figures = {
        name: {"value": outcome.rows / time, "unit": "samples/s", "count": len(clocks.runs)}
        for name, time in seconds.items()
    }
    return {"device": None} | figures


def device_latencies(clocks: Clocks) -> dict[str, Any]:
    """Return the device's clocks of each run, in ms: copy to the device, computing, copy back."""
    if not clocks.device:
        return {}
    told = {
        "h2d": [times.h2d_ms for times in clocks.device],
        "device": [times.compute_ms for times in clocks.device],
        "d2h": [times.d2h_ms for times in clocks.device],
    }
    return {name: latency_summary(values) for name, values in told.items()}
