"""``tune``: the fastest setting whose accuracy holds, found without walking the whole grid.

Accuracy hangs on engine and precision alone, speed on everything: so each pair is probed for some moments, is scored
only while it can still win, and batch and runs in flight are refined for the winner alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from modelport.core import machine
from modelport.core.artifacts import write_text
from modelport.core.errors import UsageError
from modelport.core.options import seconds
from modelport.core.progress import Progress
from modelport.core.values import Check
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.engines.base import Build
from modelport.evaluate.answer import Pass, answer_with_source
from modelport.evaluate.store import SourceAnswers
from modelport.jobs.tune.refine import Point, refine
from modelport.jobs.tune.search import Pair, Search, TuneRequest, first_engine, probed_pairs, score
from modelport.recipes.load import load_recipe
from modelport.recipes.setting import SCHEMA, Setting, setting_text
from modelport.report.assemble import Origin, checks_of
from modelport.report.result import environment
from modelport.stages.plan import Plan
from modelport.stages.port import ported, source_for
from modelport.tasks.table import need_labels, task_of
from modelport.verdict import rules as verdict
from modelport.verdict.settings import Judging


def tune(request: TuneRequest, progress: Progress) -> dict[str, Any]:
    """Search, write the chosen setting to ``request.out`` and return everything that was measured.

    Raises ModelportError for whatever the user can mend, EngineError where no setting keeps the accuracy.
    """
    clock = time.perf_counter()
    with searching(request, progress) as search:
        pairs = probed_pairs(search)
        score(search, pairs)
        points = refine(search, pairs)
    best = max(
        (point for point in points if point.accepted and point.pair.whole), key=lambda point: point.end_to_end or 0.0
    )
    checks = _judged(search, best.pair)
    setting = _setting(search, best)
    write_text(request.out, setting_text(setting))
    told = {"verdict": verdict.overall(checks), "checks": [check.to_json() for check in checks]}
    return _result(search, pairs, points, best) | told | {"seconds": time.perf_counter() - clock}


@contextmanager
def searching(request: TuneRequest, progress: Progress) -> Iterator[Search]:
    """Open data, model and the source's answers to all samples. Raises ModelportError for what the user can mend."""
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit}", "give a number above 0")
    seconds("--seconds", request.seconds)
    recipe = load_recipe(request.recipe).with_variant(request.variant).with_shapes(request.shapes)
    if request.out.suffix != ".toml":
        raise UsageError(f"--out {request.out}: a setting is a .toml file", "name it setting.toml")
    judging = Judging(max_drop=request.max_drop, seed=request.seed)
    if request.calibration is not None and not request.calibration.is_dir():
        raise UsageError(f"--calibration {request.calibration}: there is no such folder", "give a folder of images")
    need_labels(recipe)
    dataset = open_dataset(recipe, request.data)
    samples, said = chosen_samples(dataset, request.limit, None, request.seed)
    build = Build(recipe, "fp32", recipe.run.batch)
    plan = Plan(recipe, first_engine(request), build, given=request.given, seed=request.seed)
    port = ported(plan, source_for(plan, progress), (), progress, build=False)
    assert port.source is not None
    task = task_of(recipe, dataset.categories, request.seed)
    with SourceAnswers(port.source.digest, recipe.digest, request.seed) as answers:
        answer_with_source(Pass(recipe, samples, build, task, request.seed, "fail", progress), port.source, answers)
        notes = [*port.trail.notes, *answers.notes, *dataset.notes, *said]
        yield Search(request, recipe, samples, task, judging, progress, port, answers, notes)


def _judged(search: Search, pair: Pair) -> list[Check]:
    """Return the checks of the chosen pair by the rule of ``run``; the search itself goes by observed drops."""
    assert pair.outcome is not None
    origin = Origin(pair.engine.name, pair.precision, pair.build.batch)
    return checks_of(search.recipe, search.task, pair.outcome.scored, origin, search.judging)


def _setting(search: Search, point: Point) -> Setting:
    request, pair = search.request, point.pair
    pixels = pair.build.needed_recipe.tensors.sample.dtype == "uint8"
    input_type: Literal["float32", "uint8"] = "uint8" if pixels else "float32"
    assert pair.outcome is not None and point.end_to_end is not None
    calibration = None
    if pair.precision == "int8":
        calibration = str((request.calibration or request.data).absolute())
    return Setting.model_validate(
        {
            "schema": SCHEMA,
            "recipe": search.recipe.name,
            "engine": pair.engine.name,
            "precision": pair.precision,
            "batch": point.batch,
            "concurrency": point.in_flight,
            "threads": point.threads,
            "input_type": input_type,
            "calibration": calibration,
            "measured": {
                "samples_per_second": point.end_to_end,
                search.metric: pair.outcome.scored.figures.metrics[search.metric].value,
                f"source_{search.metric}": (pair.outcome.scored.figures.source or {})[search.metric].value,
                "samples": pair.outcome.scored.n,
                "processor": machine.processor(),
                "cores": machine.cores(),
            },
        }
    )


def _result(search: Search, pairs: Sequence[Pair], points: Sequence[Point], best: Point) -> dict[str, Any]:
    return {
        "schema": "modelport.tune/1",
        "recipe": search.recipe.name,
        "variant": search.recipe.variant,
        "metric": search.metric,
        "source": {name: score.to_json() for name, score in search.source.items()},
        "tolerance": verdict.tolerance_text(search.tolerance),
        "n": len(search.samples),
        "points": [_row(search, point, best) for point in points],
        "not_scored": [
            {"engine": pair.engine.name, "precision": pair.precision, "probed": pair.probed, "why": pair.why}
            for pair in pairs
            if pair.outcome is None
        ],
        "chosen": _row(search, best, best),
        "out": str(search.request.out),
        "notes": search.notes,
        "environment": environment(),
        "seed": search.request.seed,
        "command": search.request.command,
    }


def _row(search: Search, point: Point, best: Point) -> dict[str, Any]:
    outcome = point.pair.outcome
    assert outcome is not None
    return {
        "engine": point.pair.engine.name,
        "precision": point.pair.precision,
        "batch": point.batch,
        "in_flight": point.in_flight,
        "threads": point.threads,
        "pure_samples_per_second": point.probed,
        "samples_per_second": point.end_to_end,
        "accuracy": outcome.scored.figures.metrics[search.metric].to_json(),
        # Of the very samples that the accuracy is of: what is too slow to win is scored on some of them only.
        "source_accuracy": (outcome.scored.figures.source or {})[search.metric].to_json(),
        "within_tolerance": point.accepted,
        "why": point.why,
        "chosen": point is best,
    }
