"""How many runs are kept in flight: measured once for a model on this machine, and remembered."""

from __future__ import annotations

import json
from dataclasses import replace

from modelport import __version__
from modelport.core import machine
from modelport.core.artifacts import Artifact, cache_folder, digest_json, write_json
from modelport.core.progress import Progress
from modelport.engines.base import Engine, Options
from modelport.jobs.probing import best_concurrency, with_in_flight

# Seconds for which each candidate is kept busy.
SECONDS = 1.0
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
    if engine.name not in ("openvino", "onnxruntime") or machine.cores() == 1:
        return options, "the engine's own choice"
    key = [model.sha256, engine.name, engine.available().version, options.precision, options.batch, options.threads]
    record = (
        cache_folder("in-flight") / f"{digest_json([*key, machine.processor(), machine.cores(), __version__])}.json"
    )
    try:
        known = int(json.loads(record.read_text(encoding="utf-8"))["in_flight"])
        return with_in_flight(options, known), "measured before"
    except (OSError, ValueError, KeyError, TypeError):
        if batches < WORTH_BATCHES:
            return options, f"the engine's own choice: {batches} batches are too few to measure for"
    progress.note("measuring how many runs in flight serve best")
    found = best_concurrency(engine, model, replace(options, concurrency=None), SECONDS)
    write_json(record, {"in_flight": found})
    return with_in_flight(options, found), "measured"
