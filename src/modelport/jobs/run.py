"""``run``: the whole road, recipe → source → graph → engine → rows → figures → verdict → report."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelport.core.artifacts import write_text
from modelport.core.errors import DataError, UsageError
from modelport.core.output_folder import drop_old_result, held_folder, thumbnails_in, write_manifest, write_result
from modelport.core.progress import Progress, stage
from modelport.core.values import Check, DataSet, Sample
from modelport.data.sets.selection import MARGIN, chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.engines.base import Runner
from modelport.engines.registry import opened
from modelport.engines.row_check import TOLERATED, check_rows
from modelport.engines.source import Source
from modelport.evaluate.answer import Outcome, Pass, answer_with_source, score_with_engine
from modelport.evaluate.by_margin import figures_of_all, planned_by_margin
from modelport.evaluate.neighbours import neighbour_accuracy
from modelport.evaluate.resize_effect import effect_note, fast_effect
from modelport.evaluate.sample_log import SAMPLES
from modelport.evaluate.store import SourceAnswers
from modelport.evaluate.until_decided import score_until_decided
from modelport.jobs.run_request import RunRequest, check_asked, check_until_decided, dataset_of, judging_of
from modelport.measure.in_flight import with_best_in_flight
from modelport.recipes.input_range import odd_input_range
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.recipes.toml import toml_text
from modelport.report import markdown
from modelport.report.assemble import Origin, assemble
from modelport.report.clocks import device_latencies, stages_ms, throughputs
from modelport.report.detections import write_detection_files
from modelport.report.result import Result, SourceOrigin, Speed, latency_summary, steadiness_warnings
from modelport.report.result_folder import BESIDE, COMPANIONS, PAGE, PREDICTIONS, RECIPE, REPORT, RESULT
from modelport.report.sentence import where_to_look
from modelport.report.thumbnails import draw_thumbnails
from modelport.stages.lower import speed_warnings
from modelport.stages.plan import Plan
from modelport.stages.port import Ported, ported, source_for
from modelport.tasks.base import judged_metrics
from modelport.tasks.table import task_of
from modelport.verdict.rules import is_full_set
from modelport.verdict.sequential import Stop


def run(request: RunRequest, progress: Progress) -> Result:
    """Carry a model to an engine, evaluate it there, judge it, and write result.json, predictions.jsonl and report.md.

    Returns the result. Raises ModelportError for whatever the user can mend; then ``out`` holds no new result.
    """
    with ExitStack() as held:
        return _run(request, progress, held)


def _run(request: RunRequest, progress: Progress, held: ExitStack) -> Result:
    clock, begun = time.perf_counter(), datetime.now(UTC)
    recipe = load_recipe(request.recipe).with_variant(request.variant).with_shapes(request.shapes)
    recipe = recipe.with_checkpoint_key(request.checkpoint_key)
    plan = replace(Plan.of(recipe, request.wish, request.given, request.seed), precision_plan=request.precision_plan)
    check_asked(recipe, request.files)
    check_until_decided(request, recipe)
    dataset = dataset_of(request, recipe)
    until_decided = request.judging.until_decided
    samples, said = chosen_samples(dataset, request.limit, request.order, request.seed, until_decided)
    held.enter_context(held_folder(request.out, RESULT, request.force))
    port = ported(plan, source_for(plan, progress), samples, progress)
    if until_decided and port.source is None:
        raise UsageError(
            "--until-decided without a source model: there is nothing to hold the answers against",
            "give --weights or --source FILE.onnx",
        )
    plan, how = _with_runs_in_flight(plan, port, len(samples), progress)
    job = _pass(request, plan, dataset, samples, progress)
    outcome, notes, checks = _answered(request, plan, port, job)
    origin = Origin(
        *(plan.engine.name, outcome.precision, outcome.batch, origin_of(port.source), port.trail.artifacts),
        checks=[*port.trail.checks, *checks],
        notes=[*port.trail.notes, *dataset.notes, *said, *_said_of(plan), *notes, *outcome.notes],
    )
    further, late = _beside_the_figures(request, dataset, job, outcome)
    further["quantization"] = port.trail.record
    further["runs_in_flight"] = {"value": outcome.in_flight, "how": how}
    could = outcome.scored.planned or len(samples)
    judging = judging_of(request.judging, could, len(dataset), request.order, request.seed)
    judged = assemble(recipe, job.task, outcome.scored, origin, speed_of(plan, outcome), judging)
    result = replace(
        judged,
        dataset=judged.dataset if request.images is None else {**judged.dataset, "name": "images"},
        notes=(*judged.notes, *late, *where_to_look(judged)),
        seed=request.seed,
        command=request.command,
        started=begun.isoformat(timespec="seconds"),
        seconds=time.perf_counter() - clock,
        further={**judged.further, **further},
    )
    return written(request.out, result, recipe, request.files.written(request.out / PREDICTIONS))


def _beside_the_figures(
    request: RunRequest, dataset: DataSet, job: Pass, outcome: Outcome
) -> tuple[dict[str, Any], list[str]]:
    """Return the run's own keys of the result, and late notes; write thumbnails and files of boxes as asked for."""
    further: dict[str, Any] = {
        "input_type": request.wish.input_type,
        "decoders": {"value": outcome.decoders.count, "how": outcome.decoders.how},
    }
    notes: list[str] = []
    if request.fast:
        further["fast_preprocess"] = fast_effect(job.recipe, job.samples, outcome.scored.figures)
        notes.append(effect_note(further["fast_preprocess"]))
    if request.files.wanted:
        notes += write_detection_files(request.files, dataset, request.out / PREDICTIONS, job.progress)
    if request.thumbnails:
        log = request.out / SAMPLES
        notes += draw_thumbnails(request.out, log, job.samples, job.recipe, job.progress)
    return further, notes


def origin_of(source: Source | None) -> SourceOrigin | None:
    """Return what a result says of the source."""
    if source is None:
        return None
    return SourceOrigin(source.kind, str(source.artifact.shown), source.artifact.sha256, source.title)


def written(folder: Path, result: Result, recipe: Recipe, beside: Iterable[Path] = ()) -> Result:
    """Write recipe.toml, report.md, result.json with the digests of these, report.html, and last of all manifest.json.

    ``recipe`` is the one that ran. Thumbnails, and files written ``beside``, are held by the manifest where they lie in
    ``folder``.
    """
    from modelport.report.page.draw import page
    from modelport.report.page.found import found

    write_text(folder / RECIPE, toml_text(recipe.to_json()))
    write_text(folder / REPORT, markdown.render(result))
    companions = write_result(folder, RESULT, result.to_json(), COMPANIONS)
    write_text(folder / PAGE, page(found([folder]), result.recipe))
    write_manifest(folder, [RESULT, *BESIDE], [*beside, *thumbnails_in(folder)])
    return replace(result, companions=companions)


def _with_runs_in_flight(plan: Plan, port: Ported, samples: int, progress: Progress) -> tuple[Plan, str]:
    """Return the plan with the number of runs in flight that serves best, and how it was come by."""
    batches = -(-samples * plan.recipe.dataset.views // (plan.build.batch or 1))
    launch, how = with_best_in_flight(plan.engine, port.trail.model, plan.build, plan.launch, batches, progress)
    return replace(plan, launch=launch), how


def _pass(request: RunRequest, plan: Plan, dataset: DataSet, samples: Sequence[Sample], progress: Progress) -> Pass:
    return Pass(
        plan.recipe,
        samples,
        plan.build,
        task_of(plan.recipe, dataset.categories, request.seed),
        request.seed,
        request.on_bad_image,
        progress,
        plan.pixels,
        request.fast,
        full_set=not request.predict and is_full_set(plan.recipe, (sample.id for sample in samples), skipped=0),
        labels=not request.predict,
    )


def _answered(request: RunRequest, plan: Plan, port: Ported, job: Pass) -> tuple[Outcome, list[str], list[Check]]:
    """Answer with the source where its answers are missing, then with the engine, and score.

    An earlier result goes when the engine is open, and not before: until then whatever the user gave might be wrong.
    """
    with ExitStack() as held:
        answers, notes = None, list[str]()
        if port.source is not None:
            answers = held.enter_context(SourceAnswers(port.source.digest, plan.recipe.digest, request.seed))
            if not request.judging.until_decided:
                answer_with_source(job, port.source, answers)
            notes += answers.notes
        with stage(job.progress, f"load into {plan.engine.name}"):
            runner = held.enter_context(opened(plan.engine, port.trail.model, plan.build, plan.launch))
        checks = _own_rows(request, job, runner)
        drop_old_result(request.out, RESULT, BESIDE)
        outcome = _scored(request, port, job, runner, answers)
        if answers is not None:
            _further_figures(request, job, runner, outcome)
    return outcome, notes, checks


def _scored(request: RunRequest, port: Ported, job: Pass, runner: Runner, answers: SourceAnswers | None) -> Outcome:
    """Score all samples, or as many as decide it."""
    predictions, judging = request.out / PREDICTIONS, request.judging
    if not judging.until_decided:
        return score_with_engine(job, runner, answers, predictions)
    assert port.source is not None and answers is not None
    rule = (judged_metrics(job.recipe), judging.tolerance(job.recipe), judging.confidence)
    if request.order != MARGIN:
        return score_until_decided(job, runner, port.source, answers, Stop.plain(*rule), predictions)
    answer_with_source(job, port.source, answers)
    planned = planned_by_margin(job, answers)
    stop, job = planned.stop(*rule), replace(job, samples=planned.samples)
    outcome = score_until_decided(job, runner, port.source, answers, stop, predictions, planned.weights)
    outcome.scored.figures = figures_of_all(outcome.scored.figures, planned, stop)
    outcome.scored.planned = len(planned.samples)
    outcome.scored.skipped += [name for name in planned.skipped if name not in outcome.scored.skipped]
    return outcome


def _own_rows(request: RunRequest, job: Pass, runner: Runner) -> list[Check]:
    """Hold a given model file against its own rows: each alone, and in a batch."""
    if request.given.graph is None:
        return []
    check = check_rows(runner, job.build.batch or 1, max(job.task.tolerated, TOLERATED))
    return [] if check is None else [check]


def _further_figures(request: RunRequest, job: Pass, runner: Runner, outcome: Outcome) -> None:
    """Add the figures that need a run of their own, outside every clock."""
    figures = outcome.scored.figures
    if "knn_top1" not in job.recipe.metrics or request.data is None or not job.labels:
        return
    try:
        bank = open_dataset(job.recipe, request.data, split="train")
    except DataError as error:
        figures.notes.append(f"knn_top1 was not measured, it needs the training split: {error.found}")
        return
    figures.metrics |= neighbour_accuracy(runner, job.build, bank, job.samples, job.progress)


def _said_of(plan: Plan) -> list[str]:
    said = [odd_input_range(plan.recipe)]
    if plan.pixels:
        said.append("the graph normalises by itself: it was given uint8 pixels (N, H, W, 3)")
    return [note for note in said if note]


def speed_of(plan: Plan, outcome: Outcome) -> Speed:
    """Return throughput, latency, what is doubtful about them, and where the time goes."""
    latency = latency_summary(outcome.clocks.latencies_ms)
    return Speed(
        throughputs(outcome.clocks, outcome.rows),
        {"host": latency, **device_latencies(outcome.clocks)},
        (*speed_warnings(plan.engine, outcome.precision), *steadiness_warnings(latency)),
        stages_ms(outcome.scored, outcome.clocks, outcome.rows),
    )
