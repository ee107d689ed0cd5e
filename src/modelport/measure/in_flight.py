"""How many runs in flight serve a model best: measured once for a model on this machine, and remembered."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelport import __version__
from modelport.core import machine
from modelport.core.artifacts import Artifact, cache_folder, digest_json, read_record, write_record
from modelport.core.progress import Progress
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import opened
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure

# Seconds for which each candidate is kept busy.
SECONDS = 1.0
# One run on all cores must be this much faster than several on one each: its threads wait for each other, and all the
# more where a decoder takes a core from one of them.
ALONE_GAIN = 0.05
# A way through the data of fewer batches than this would not win back what the measuring costs.
WORTH_BATCHES = 100
# More runs in flight must be this much faster, or fewer are chosen.
GAIN = 0.01


@dataclass(frozen=True, slots=True)
class Probe:
    """What one number of runs in flight gave."""

    in_flight: int
    samples_per_second: float


def with_best_in_flight(
    engine: Engine, model: Artifact, build: Build, launch: Launch, batches: int, progress: Progress
) -> tuple[Launch, str]:
    """Return the launch with the number of runs in flight that serves best, and how it was come by.

    What the user has set stays; an engine that runs one at a time is not asked.
    """
    if launch.in_flight is not None:
        return launch, "as set"
    if not engine.serves_several or machine.cores() == 1:
        return launch, "the engine's own choice"
    key = [model.identity, engine.name, engine.available().version, build.precision, build.batch, launch.threads]
    key += [machine.processor(), machine.cores(), __version__]
    record = cache_folder("in-flight") / f"{digest_json(key)}.json"
    known = read_record(record)
    if known is not None and isinstance(known.get("in_flight"), int):
        progress.detail(f"runs in flight from the cache: {known['in_flight']}")
        return replace(launch, in_flight=known["in_flight"]), "measured before"
    if batches < WORTH_BATCHES:
        return launch, f"the engine's own choice: {batches} batches are too few to measure for"
    progress.note("measuring how many runs in flight serve best")
    found = beside_decoders(probe_concurrency(engine, model, build, launch, SECONDS))
    write_record(record, {"in_flight": found})
    return replace(launch, in_flight=found), "measured"


def beside_decoders(probes: list[Probe]) -> int:
    """Return the number of runs in flight that serves best while other threads decode."""
    several = [probe for probe in probes if probe.in_flight > 1]
    best = max(probe.samples_per_second for probe in several) if several else 0.0
    alone = max((probe.samples_per_second for probe in probes if probe.in_flight == 1), default=0.0)
    return 1 if not several or alone > (1 + ALONE_GAIN) * best else chosen(several)


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
