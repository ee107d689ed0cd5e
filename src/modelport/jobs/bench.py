"""``bench``: pure inference by batch size, one run in flight and as many as serve the engine best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from modelport.core import machine
from modelport.core.errors import EngineError
from modelport.core.progress import Progress
from modelport.core.values import Check
from modelport.engines.base import Build, DeviceTimes, TimedRunner
from modelport.engines.registry import opened
from modelport.measure import held_answers, repeated_input
from modelport.measure.held_answers import Answers
from modelport.measure.in_flight import Probe, chosen, probe_concurrency
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, Measured, measure
from modelport.measure.repeated_input import Repeated
from modelport.measure.timing import Clock
from modelport.report.result import environment, latency_summary
from modelport.report.speed import SCHEMA, Flag, best_of, compare, figures_of
from modelport.stages.bench_model import BenchRequest, Subject, subject_of
from modelport.stages.lower import speed_warnings
from modelport.verdict.words import FAIL

# The search for the number of runs in flight takes this share of a point's time for each candidate.
SEARCH_SHARE = 0.2
NO_COPIES = "none: the engine computes in the host's memory, there are no copies to a device and back"


@dataclass(slots=True)
class _Told:
    """What the runners tell of themselves."""

    precision: str = ""
    copies: str | None = None
    inputs: str = ""
    signature: dict[str, list[str]] | None = None
    answers: list[Answers] = field(default_factory=list)  # of each point
    repeated: list[Repeated] = field(default_factory=list)

    @property
    def checks(self) -> list[Check]:
        """Whether the timed answers are those that would be judged, of all points together."""
        return [held_answers.check_of(self.answers), repeated_input.check_of(self.repeated)]


def bench(request: BenchRequest, progress: Progress, clock: Clock = time.perf_counter_ns) -> dict[str, Any]:
    """Measure and return the result (schema ``modelport.bench/1``).

    Raises ModelportError for whatever the user can mend.
    """
    begun, started = time.perf_counter(), datetime.now(UTC)
    subject = subject_of(request, progress)
    told, points, searches = _Told(), list[dict[str, Any]](), list[dict[str, Any]]()
    with progress.bar(
        f"bench {subject.model.path.name} on {subject.engine.name}", len(subject.batches), "batches"
    ) as bar:
        for batch in subject.batches:
            build = replace(subject.build, batch=batch)
            in_flight, probes = _in_flight(request, subject, build)
            searches += [{"batch": batch, **asdict(probe)} for probe in probes]
            # The most first: where the engine does not serve so many, it is said before anything is measured.
            points += [
                _point(request, subject, build, count, (told, clock)) for count in sorted({1, in_flight}, reverse=True)
            ]
            bar.advance()
    points.sort(key=lambda point: (point["batch"], point["in_flight"]))
    recipe, checks = subject.recipe, told.checks
    doubts = [check.why for check in checks if check.verdict == FAIL]
    return {
        "schema": SCHEMA,
        "recipe": recipe.name if recipe else None,
        "variant": recipe.variant if recipe else None,
        "engine": subject.engine.name,
        "precision": told.precision,
        "threads": request.threads or machine.cores(),
        "duration": request.duration,
        "signature": told.signature,
        "inputs": told.inputs,
        "copies": told.copies,
        "points": points,
        "checks": [check.to_json() for check in checks],
        "concurrency_search": searches,
        "best": best_of(points),
        "published": compare(recipe.speeds, points) if recipe else [],
        "artifacts": [row for artifact in subject.artifacts for row in artifact.to_json()],
        "environment": environment(),
        "speed_warnings": [*speed_warnings(subject.engine, told.precision), *doubts],
        "notes": list(subject.notes),
        "seed": request.seed,
        "command": request.command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - begun,
    }


def _in_flight(request: BenchRequest, subject: Subject, build: Build) -> tuple[int, list[Probe]]:
    """Return how many runs in flight to measure, besides one, and what was tried to find it."""
    if request.concurrency is not None:
        return request.concurrency, []
    seconds = request.duration * SEARCH_SHARE
    probes = probe_concurrency(subject.engine, subject.model, build, subject.launch, seconds, request.seed)
    return chosen(probes), probes


def _point(
    request: BenchRequest, subject: Subject, build: Build, in_flight: int, aside: tuple[_Told, Clock]
) -> dict[str, Any]:
    told, clock = aside
    assert build.batch is not None
    with opened(subject.engine, subject.model, build, replace(subject.launch, in_flight=in_flight)) as runner:
        if runner.concurrency != in_flight:
            raise EngineError(
                f"'{subject.engine.name}' serves {runner.concurrency} runs in flight here, not {in_flight}",
                f"--concurrency {runner.concurrency}",
            )
        signature = runner.signature.with_batch(build.batch)
        inputs = random_inputs(signature, build.recipe, request.seed)
        told.precision, told.inputs = runner.precision, inputs.about
        told.signature = {
            "inputs": [str(spec) for spec in runner.signature.inputs],
            "outputs": [str(spec) for spec in runner.signature.outputs],
        }
        told.copies = None if isinstance(runner, TimedRunner) else NO_COPIES
        load = Load(
            runner, inputs.buffers, build.batch, in_flight, request.duration, clock, held_answers.ANSWERS, request.seed
        )
        measured = measure(load)
        answers = held_answers.against_calm(runner, inputs.buffers, measured.held, request.duration, clock)
        repeated = repeated_input.repeated_input(runner, inputs.buffers[0], request.duration, clock)
    told.answers.append(answers)
    told.repeated.append(repeated)
    doubts = [Flag("answers", "other answers", answers.why), Flag("repeated", "cached?", repeated.why)]
    figures = figures_of(measured.timed)
    figures["flags"] += [asdict(flag) for flag in doubts if flag.text]
    return figures | {
        "answers": answers.to_json(),
        "repeated_input": repeated.to_json(),
        "warm_up": {"runs": measured.warm_up_runs, "steady": measured.timed.steady},
        "device": _device(measured, build.batch),
    }


def _device(measured: Measured, batch: int) -> dict[str, Any] | None:
    """Return the device's clocks (ms per run), and its samples/s by computing alone; None where it tells none."""
    if not measured.device:
        return None
    clocks: dict[str, Callable[[DeviceTimes], float]] = {
        "h2d": lambda times: times.h2d_ms,
        "compute": lambda times: times.compute_ms,
        "d2h": lambda times: times.d2h_ms,
    }
    latency = {name: latency_summary([read(times) for times in measured.device]) for name, read in clocks.items()}
    value = batch * 1e3 / latency["compute"]["mean"]
    return {
        "latency_ms": latency,
        "throughput": {"value": value, "unit": "samples/s", "count": len(measured.device)},
        "runs_ms": [asdict(times) for times in measured.device],
    }
