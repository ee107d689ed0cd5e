"""How ``tune`` finds the winning pair of engine and precision: probes of some moments, scoring while it can win."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelport.core.artifacts import Artifact
from modelport.core.errors import DataError, EngineError, ModelportError
from modelport.core.progress import Progress
from modelport.core.values import Sample
from modelport.data.sets.table import open_dataset
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import ENGINES, defaults, get_engine, opened
from modelport.evaluate.answer import Outcome, Pass, score_with_engine
from modelport.evaluate.store import SourceAnswers
from modelport.measure.held_answers import ANSWERS, against_calm
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure
from modelport.measure.repeated_input import repeated_input
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.stages.plan import Given, Plan
from modelport.stages.port import Ported, ported
from modelport.tasks.base import Task
from modelport.tasks.scoring import Score
from modelport.verdict import rules as verdict
from modelport.verdict.settings import Judging
from modelport.verdict.words import PASS

# A pair whose probe is this far behind the best scored one cannot catch up by batch and runs in flight.
HOPELESS = 0.6
# Samples that tell a speed: of a finalist, whose accuracy is known, and of what is too slow to win.
SPEED_SAMPLES = 256


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What ``modelport tune`` is asked for. ``max_drop`` is in the recipe's unit of tolerance."""

    recipe: str
    data: Path
    out: Path
    weights: Path | None = None
    model: Path | None = None  # an ONNX file in float32 in place of weights
    max_drop: float | None = None
    calibration: Path | None = None
    engines: tuple[str, ...] = ()  # empty: every usable one
    limit: int | None = None
    seed: int = 0
    variant: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) in place of the recipe's
    seconds: float = 0.5  # of a probe
    command: str = ""

    @property
    def given(self) -> Given:
        """The files of the model. Raises UsageError for two that say the same thing."""
        return Given(self.weights, source=self.model)


@dataclass(slots=True)
class Pair:
    """One engine at one precision: its model, what its probe gave, and what scoring found."""

    engine: Engine
    precision: str
    model: Artifact
    build: Build
    probed: float = 0.0  # samples/s, pure inference
    outcome: Outcome | None = None
    accepted: bool = False
    whole: bool = True  # scored on all samples: only then can it be chosen
    other_answers: str = ""  # why those of its probe are not those of a calm run; nothing where they are
    why: str = ""


@dataclass(slots=True)
class Search:
    """What all steps share."""

    request: TuneRequest
    recipe: Recipe
    samples: Sequence[Sample]
    task: Task
    judging: Judging
    progress: Progress
    port: Ported  # the source, and its graph in float32
    answers: SourceAnswers
    notes: list[str] = field(default_factory=list)
    source: dict[str, Score] = field(default_factory=dict)

    @property
    def tolerance(self) -> Tolerance:
        """What may be lost."""
        return self.judging.tolerance(self.recipe)

    @property
    def metric(self) -> str:
        """The figure that decides."""
        return self.task.deciding

    def run(self, pair: Pair, build: Build, launch: Launch, count: int | None) -> Outcome:
        """Go through the data once; ``count`` None: through all of it."""
        samples = self.samples[:count]
        pixels = build.needed_recipe.tensors.sample.dtype == "uint8"
        job = Pass(self.recipe, samples, build, self.task, self.request.seed, "fail", self.progress, pixels)
        with (
            tempfile.TemporaryDirectory(prefix="modelport-tune-") as folder,
            opened(pair.engine, pair.model, build, launch) as runner,
        ):
            return score_with_engine(job, runner, self.answers, Path(folder) / "predictions.jsonl")


def first_engine(request: TuneRequest) -> Engine:
    """Return an engine that runs exported graphs: the road leads as far as the graph.

    Raises UsageError for an unknown name, EngineError where none is usable.
    """
    for name in request.engines:
        get_engine(name)
    for engine in _asked(request):
        if "onnx" in engine.consumes and engine.available().usable:
            return engine
    raise EngineError("no engine that runs ONNX is usable here", "see `modelport doctor`")


def _asked(request: TuneRequest) -> list[Engine]:
    """Return the engines that were named, or those that are chosen by themselves; the fastest first."""
    if not request.engines:
        return defaults()
    return [get_engine(name) for name in ENGINES if name in request.engines]


def probed_pairs(search: Search) -> list[Pair]:
    """Return every usable engine at each precision that it executes for its speed, probed, the fastest first."""
    request, pairs = search.request, list[Pair]()
    calibration, why = _calibration(search)
    for engine in _asked(request):
        name, here = engine.name, engine.available()
        if not here.usable or not {"onnx", "checkpoint"} & engine.consumes:
            continue
        slow = {precision for precision, _ in here.accuracy_only}
        for precision in here.precisions:
            if precision in slow:
                continue
            if precision == "int8" and calibration is None:
                search.notes.append(f"{name} int8 was not tried: {why}")
                continue
            try:
                pairs.append(_probed(search, engine, precision, calibration))
            except ModelportError as error:
                search.notes.append(f"{name} {precision} was not tried: {error.found}")
    if not pairs:
        raise EngineError("nothing could be measured: " + "; ".join(search.notes), "see `modelport doctor`")
    return sorted(pairs, key=lambda pair: -pair.probed)


def _calibration(search: Search) -> tuple[Path | None, str]:
    request = search.request
    if request.calibration is not None:
        return request.calibration, ""
    try:
        open_dataset(search.recipe, request.data, split="train")
    except DataError as error:
        return None, f"no --calibration was given, and {error.found}"
    search.notes.append(f"int8 is calibrated on the training split of {request.data}")
    return request.data, ""


def _probed(search: Search, engine: Engine, precision: str, calibration: Path | None) -> Pair:
    recipe, seed = search.recipe, search.request.seed
    # Views are made in float32; rounding them to pixels would only take time. A network of bytes has its own pixels.
    takes = recipe.tensors.sample.dtype == "float32" and recipe.dataset.views == 1
    pixels = takes and "onnx" in engine.consumes
    build = Build(recipe_of_pixels(recipe) if pixels else recipe, precision, recipe.run.batch)
    # The recipe as it is, whatever --max-drop says: `run --setting` must make this very int8 model again.
    plan = Plan(recipe, engine, build, calibration=calibration if precision == "int8" else None, seed=seed)
    trail = ported(plan, search.port.source, search.samples, search.progress).trail
    pair = Pair(engine, precision, trail.model, build)
    with opened(engine, pair.model, build) as runner:
        speed = pure_speed(runner, build, search.request.seconds, repeat=True)
    pair.probed, pair.other_answers = speed.samples_per_second, speed.other_answers
    if speed.cached:
        search.notes.append(f"{engine.name} {precision}: {speed.cached}")
    return pair


@dataclass(frozen=True, slots=True)
class Speed:
    """What a probe gave; the words are empty where there is nothing to say."""

    samples_per_second: float  # pure inference
    other_answers: str  # the answers held meanwhile are not those of a calm run
    cached: str = ""  # the same input repeated is faster than different ones


def pure_speed(runner: Runner, build: Build, seconds: float, repeat: bool = False) -> Speed:
    """Return samples/s of pure inference, and what is doubtful of it; ``repeat`` asks also whether answers are cached.

    One probe of an engine and a precision does for that.
    """
    batch = build.batch or 1
    buffers = random_inputs(runner.signature.with_batch(batch), build.recipe, 0).buffers
    measured = measure(Load(runner, buffers, batch, runner.concurrency, seconds, answers=ANSWERS))
    answers = against_calm(runner, buffers, measured.held, seconds, time.perf_counter_ns)
    cached = repeated_input(runner, buffers[0], seconds, time.perf_counter_ns).why if repeat else ""
    return Speed(measured.timed.samples_per_second, answers.why, cached)


def score(search: Search, pairs: Sequence[Pair]) -> None:
    """Score the pairs, the fastest first, until the rest cannot win any more.

    Of those that cannot, the fastest of each precision is a point of the front still, and some samples do for it.
    """
    best, seen = 0.0, set[str]()
    for pair in pairs:
        hopeless = pair.probed < HOPELESS * best
        if hopeless and pair.precision in seen:
            pair.why = "not scored: too slow to win"
            continue
        seen.add(pair.precision)
        pair.outcome = search.run(pair, pair.build, Launch(), SPEED_SAMPLES if hopeless else None)
        figures = pair.outcome.scored.figures
        got, want = figures.metrics[search.metric], (figures.source or {}).get(search.metric)
        if want is None:
            raise DataError(f"the source model has no {search.metric} on these samples", "give more samples")
        search.source = search.source or pair.outcome.scored.figures.source or {}
        limit = f"{verdict.end_of(want)} that passes {verdict.limit_of(want, search.tolerance):.4g}"
        pair.why = f"{search.metric} {got.value:.4g}, {limit}"
        checks = pair.outcome.scored.soundness.checks(pair.outcome.scored.figures, pair.precision)
        unsound = [check.why for check in checks if check.verdict != PASS]
        unsound += [pair.other_answers] * bool(pair.other_answers)
        pair.accepted = verdict.excess_of(got.value, want, search.tolerance) <= 0 and not unsound
        pair.why += "".join(f"; {why}" for why in unsound)
        pair.whole = not hopeless or len(search.samples) <= SPEED_SAMPLES
        if not pair.whole:
            pair.why += f"; of {SPEED_SAMPLES} samples only: too slow to win"
        if pair.accepted:
            best = max(best, pair.probed)
    if not best:
        raise EngineError(
            "no setting keeps the accuracy: " + "; ".join(f"{p.engine.name} {p.precision}: {p.why}" for p in pairs),
            "allow more with --max-drop",
        )
