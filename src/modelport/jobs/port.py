"""The whole road: recipe → checkpoint → export → engine → evaluate → verdict → report.

This is the only file that knows the order of the stages.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from modelport.core.artifacts import Artifact, prepare_output_folder, write_json, write_text
from modelport.core.errors import DataError, UsageError
from modelport.core.progress import Progress
from modelport.core.values import Check, DataSet, Sample
from modelport.data.datasets import open_dataset
from modelport.engines.base import Engine, Options, Runner
from modelport.engines.registry import choose_engine, get_engine, model_artifact, opened
from modelport.jobs.answers import SourceAnswers
from modelport.jobs.detection_files import DetectionFiles, write_detection_files
from modelport.jobs.exporting import export_cached, outputs_match
from modelport.jobs.features import neighbour_accuracy
from modelport.jobs.scoring_pass import Outcome, Pass, answer_with_source, score_with_engine
from modelport.model import graph
from modelport.model.export import check_graph
from modelport.model.fetch import FetchedWeights, fetch_weights
from modelport.model.source import SourceModel, load_source
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report import markdown
from modelport.report.result import SCHEMA, environment, latency_summary, steadiness_warnings
from modelport.scoring import verdict
from modelport.scoring.base import Figures, Task
from modelport.scoring.tasks import task_of
from modelport.scoring.topk import percent

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
    precision: str = "fp32"
    batch: int | None = None
    limit: int | None = None
    seed: int = 0
    variant: str | None = None
    on_bad_image: Literal["fail", "skip"] = "fail"
    force: bool = False
    files: DetectionFiles = field(default_factory=DetectionFiles)
    command: str = ""


@dataclass(slots=True)
class _Road:
    """What has been gathered on the way."""

    source: SourceModel | None = None
    model: Artifact | None = None
    artifacts: list[Artifact] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def port(request: PortRequest, progress: Progress) -> dict[str, Any]:
    """Carry a model to an engine, evaluate it there, judge it, and write result.json, predictions.jsonl and report.md.

    Returns the result. Raises ModelportError for whatever the user can mend; then ``out`` holds no new result.
    """
    clock, started = time.perf_counter(), datetime.now(UTC)
    recipe = load_recipe(request.recipe).with_variant(request.variant)
    engine = choose_engine(request.engine, request.precision)
    options = Options(recipe, request.precision, _positive("--batch", request.batch) or recipe.run.batch)
    if request.files.wanted and recipe.task != "detection":
        raise UsageError(f"{recipe.name} is no detector", "leave --draw, --detections and --coco-json out")
    dataset = open_dataset(recipe.dataset, request.data)
    samples = _limited(dataset, request.limit)
    prepare_output_folder(request.out, RESULT, request.force)
    road = _model_road(request, recipe, engine, progress)
    assert road.model is not None
    road.notes += dataset.notes
    task = task_of(recipe, dataset.categories, request.seed)
    job = Pass(recipe, samples, options, task, request.seed, request.on_bad_image, progress)

    if road.source is None:
        with opened(engine, road.model, options) as runner:
            outcome = score_with_engine(job, runner, None, request.out / PREDICTIONS)
    else:
        with SourceAnswers(road.source.checkpoint.sha256, recipe.digest, request.seed) as answers:
            answer_with_source(job, road.source, answers)
            with opened(engine, road.model, options) as runner:
                outcome = score_with_engine(job, runner, answers, request.out / PREDICTIONS)
                _further_figures(request, job, runner, outcome)

    road.notes += outcome.figures.notes
    result = _result(request, recipe, engine, road, outcome, task)
    result["started"], result["seconds"] = started.isoformat(timespec="seconds"), time.perf_counter() - clock
    if request.files.wanted:
        write_detection_files(request.files, dataset, request.out / PREDICTIONS, progress)
    write_text(request.out / REPORT, markdown.render(result))
    write_json(request.out / RESULT, result)
    return result


def _further_figures(request: PortRequest, job: Pass, runner: Runner, outcome: Outcome) -> None:
    """Add the figures that need a run of their own, outside every clock."""
    if "knn_top1" not in job.recipe.metrics:
        return
    try:
        bank = open_dataset(job.recipe.dataset, request.data, split="train")
    except DataError as error:
        outcome.figures.notes.append(f"knn_top1 was not measured, it needs the training split: {error.found}")
        return
    outcome.figures.metrics |= neighbour_accuracy(runner, job.options, bank, job.samples, job.progress)


def fetched_weights(recipe: Recipe, progress: Progress) -> FetchedWeights:
    """Return the recipe's own weights from the cache, fetched with a bar where they are missing. Raises FetchError."""
    with progress.bar(f"fetching {recipe.weights.file}", None, "bytes") as bar:
        reached = 0

        def advanced(done: int, total: int | None) -> None:
            nonlocal reached
            bar.advance(done - reached)
            reached = done

        return fetch_weights(recipe, progress=advanced)


def weights_file(recipe: Recipe, given: Path | None, progress: Progress) -> tuple[Path, list[str]]:
    """Return the weights given, or the recipe's from the cache (fetched where missing), and what is to be said."""
    if given is not None:
        return given, []
    fetched = fetched_weights(recipe, progress)
    return fetched.path, [f"weights {fetched.path.name}: {fetched.verified}"]


def _model_road(request: PortRequest, recipe: Recipe, engine: Engine, progress: Progress) -> _Road:
    """Walk recipe → checkpoint → export as far as the engine needs it."""
    road = _Road()
    if request.model is None or request.weights is not None:
        path, said = weights_file(recipe, request.weights, progress)
        road.source = load_source(recipe, path)
        road.notes += [*said, *road.source.notes]
        road.artifacts.append(road.source.checkpoint)
    if request.model is not None:
        _take_given_model(road, request.model, recipe, engine)
    elif "checkpoint" in engine.consumes:
        assert road.source is not None
        road.model = road.source.checkpoint
        road.notes.append("the engine runs the checkpoint itself: nothing was exported")
    else:
        assert road.source is not None
        road.model, checks = export_cached(road.source, progress)
        road.artifacts.append(road.model)
        road.checks += checks
    return road


def _take_given_model(road: _Road, path: Path, recipe: Recipe, engine: Engine) -> None:
    """Take a model file in place of an export; with weights at hand, prove that it was made from them."""
    road.model = model_artifact(path)
    if road.model.kind not in engine.consumes:
        raise UsageError(
            f"{path}: the engine '{engine.name}' does not run such files", "choose --engine openvino or onnxruntime"
        )
    road.artifacts.append(road.model)
    if road.model.kind == "onnx":
        model = graph.read_graph(path)
        graph.check_signature(model, recipe.signature, path)
        road.checks.append(
            Check("signature", verdict.PASS, "as the recipe's", "as the recipe's", "names, dtypes and shapes")
        )
        if road.source is not None:
            fixed = graph.signature_of(model).inputs[0].shape[0]
            batch = fixed if isinstance(fixed, int) else None
            road.checks += check_graph(road.source, path, None, batch)
            sizes = (batch,) if batch else (1, 3)
            road.checks.append(outputs_match(road.source, road.model, get_engine(engine.name), sizes))
    if road.source is None:
        road.notes.append("a model file was given in place of weights: there is no source model to hold it against")


def _result(
    request: PortRequest, recipe: Recipe, engine: Engine, road: _Road, outcome: Outcome, task: Task
) -> dict[str, Any]:
    n, figures = outcome.n, outcome.figures
    full = verdict.is_full_set(recipe, outcome.ids, len(outcome.skipped))
    evidence = verdict.Evidence(figures.metrics, figures.source, full, n, outcome.skipped, task.smallest_set)
    checks = [*road.checks, *verdict.judge(recipe, evidence)]
    latency = latency_summary(outcome.clocks.latencies_ms)
    runs = len(outcome.clocks.runs)
    published = [
        figure.model_dump(mode="json") | {"applies": full and figure.variant == recipe.variant}
        for figure in recipe.published
    ]
    metrics = dict(figures.metrics)
    if figures.of:
        metrics["source_agreement"] = percent(figures.met, figures.of)
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "variant": recipe.variant,
        "engine": engine.name,
        "precision": outcome.precision,
        "batch": outcome.batch,
        "verdict": verdict.overall(checks),
        "rests_on": _rests_on(recipe, full, road.source is not None),
        "n": n,
        "skipped": len(outcome.skipped),
        "metrics": {name: score.to_json() for name, score in metrics.items()},
        "reference": _reference(recipe, full, figures),
        "published": published,
        "source": {
            "metrics": {name: score.to_json() for name, score in (figures.source or {}).items()},
            "flip_count": figures.flip_count,
            "flips": figures.flips,
        },
        "checks": [check.to_json() for check in checks],
        "throughput": {
            "end_to_end": {"value": outcome.rows / outcome.clocks.seconds, "unit": "samples/s", "count": runs},
            "host": {"value": outcome.rows / outcome.clocks.busy_seconds, "unit": "samples/s", "count": runs},
            "device": None,
        },
        "latency_ms": {"host": latency},
        "speed_warnings": steadiness_warnings(latency),
        "artifacts": [row for artifact in road.artifacts for row in artifact.to_json()],
        "environment": environment(),
        "dataset": {"name": recipe.dataset.kind, "n": n, "fingerprint": outcome.fingerprint},
        "recipe_sha256": recipe.digest,
        "seed": request.seed,
        "notes": road.notes,
        "command": request.command,
    }


def _reference(recipe: Recipe, full: bool, figures: Figures) -> dict[str, Any]:
    """Return what each metric is held against: the published figure on its own data, else the source model."""
    source = "source model, PyTorch fp32, same samples"
    found = {
        name: {"value": score.value, "unit": score.unit, "source": source}
        for name, score in (figures.source or {}).items()
    }
    if full:
        found |= {
            figure.metric: {"value": figure.value, "unit": figure.unit, "source": figure.source}
            for figure in recipe.published
            if figure.variant == recipe.variant
        }
    return found


def _rests_on(recipe: Recipe, full: bool, has_source: bool) -> str:
    if full:
        return "The verdict rests on the published figures and on the source model: this is the full published set."
    scale = (
        f"this is not the full set of {recipe.dataset.published_n} samples on which the published figures were measured"
    )
    if has_source:
        return f"The verdict rests on the source model alone: {scale}."
    return f"There is no source model to rest a verdict on, and {scale}."


def _limited(samples: DataSet, limit: int | None) -> Sequence[Sample]:
    return samples[: _positive("--limit", limit)]


def _positive(option: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}", "give a number of at least 1")
    return value
