"""How many runs are kept in flight: measured once for a model on this machine, and remembered."""

from __future__ import annotations

from dataclasses import replace

from modelport import __version__
from modelport.core import machine
from modelport.core.artifacts import Artifact, cache_folder, digest_json
from modelport.core.progress import Progress
from modelport.core.records import read_record, write_record
from modelport.engines.base import Engine, Options
from modelport.measure.probing import Probe, chosen, probe_concurrency, with_in_flight

# Seconds for which each candidate is kept busy.
SECONDS = 1.0
# One run on all cores must be this much faster than several on one each: its threads wait for each other, and all the
# more where a decoder takes a core from one of them.
ALONE_GAIN = 0.05
# A way through the data of fewer batches than this would not win back what the measuring costs.
WORTH_BATCHES = 100


def with_best_in_flight(
    engine: Engine, model: Artifact, options: Options, batches: int, progress: Progress
) -> tuple[Options, str]:
    """Return the options with the number of runs in flight that serves best, and how it was come by.

    What the user has set stays; an engine that runs one at a time is not asked.
    """
    if options.concurrency is not None:
        return with_in_flight(options, options.concurrency), "as set"
    if not engine.serves_several or machine.cores() == 1:
        return options, "the engine's own choice"
    key = [model.identity, engine.name, engine.available().version, options.precision, options.batch, options.threads]
    record = (
        cache_folder("in-flight") / f"{digest_json([*key, machine.processor(), machine.cores(), __version__])}.json"
    )
    known = read_record(record)
    if known is not None and isinstance(known.get("in_flight"), int):
        progress.detail(f"runs in flight from the cache: {known['in_flight']}")
        return with_in_flight(options, known["in_flight"]), "measured before"
    if batches < WORTH_BATCHES:
        return options, f"the engine's own choice: {batches} batches are too few to measure for"
    progress.note("measuring how many runs in flight serve best")
    found = beside_decoders(probe_concurrency(engine, model, replace(options, concurrency=None), SECONDS))
    write_record(record, {"in_flight": found})
    return with_in_flight(options, found), "measured"


def beside_decoders(probes: list[Probe]) -> int:
    """Return the number of runs in flight that serves best while other threads decode."""
    several = [probe for probe in probes if probe.in_flight > 1]
    best = max(probe.samples_per_second for probe in several) if several else 0.0
    alone = max((probe.samples_per_second for probe in probes if probe.in_flight == 1), default=0.0)
    return 1 if not several or alone > (1 + ALONE_GAIN) * best else chosen(several)
