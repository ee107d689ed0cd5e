"""How many runs in flight serve a model best here: found by measuring."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import opened
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure

# More runs in flight must be this much faster, or fewer are chosen.
GAIN = 0.01


@dataclass(frozen=True, slots=True)
class Probe:
    """What one number of runs in flight gave."""

    in_flight: int
    samples_per_second: float


def best_concurrency(
    engine: Engine, model: Artifact, build: Build, launch: Launch, seconds: float, seed: int = 0
) -> int:
    """Return the number of runs in flight with the highest throughput at ``build.batch`` and ``launch.threads``.

    Each candidate is opened and kept busy for ``seconds`` after its warm-up, on the same inputs. Raises EngineError.
    """
    return chosen(probe_concurrency(engine, model, build, launch, seconds, seed))


def chosen(probes: list[Probe]) -> int:
    """Return the fastest number of runs in flight; a gain below 1 % is not worth more of them."""
    top = max(probe.samples_per_second for probe in probes)
    return min(probe.in_flight for probe in probes if probe.samples_per_second * (1 + GAIN) >= top)


def probe_concurrency(
    engine: Engine, model: Artifact, build: Build, launch: Launch, seconds: float, seed: int = 0
) -> list[Probe]:
    """Measure each candidate: one run on all cores, the engine's own choice, and a run per core.

    A candidate that the engine does not serve is left out; its own choice always is there.
    """
    with opened(engine, model, build, replace(launch, in_flight=None)) as runner:
        probes = [_probe(runner, build, seconds, seed)]
    for in_flight in sorted({1, launch.threads or machine.cores()} - {probes[0].in_flight}):
        with opened(engine, model, build, replace(launch, in_flight=in_flight)) as runner:
            if runner.concurrency == in_flight:
                probes.append(_probe(runner, build, seconds, seed))
    return sorted(probes, key=lambda probe: probe.in_flight)


def _probe(runner: Runner, build: Build, seconds: float, seed: int) -> Probe:
    batch = build.batch or 1
    inputs = random_inputs(runner.signature.with_batch(batch), build.recipe, seed)
    measured = measure(Load(runner, inputs.buffers, batch, runner.concurrency, seconds))
    return Probe(runner.concurrency, measured.timed.samples_per_second)
