"""The clocks of a run as the result file holds them."""

from __future__ import annotations

from typing import Any

from modelport.evaluate.score import Scored
from modelport.measure.timing import Clocks
from modelport.report.result import latency_summary

STAGES = ("decode", "resize", "wait", "run", "score")


def throughputs(clocks: Clocks, rows: int) -> dict[str, Any]:
    """Return the three throughputs; the device's own where the engine tells it, else null."""
    seconds = {"end_to_end": clocks.seconds, "host": clocks.busy_seconds}
    if clocks.device:
        seconds["device"] = sum(times.compute_ms for times in clocks.device) / 1000
    figures = {
        name: {"value": rows / time, "unit": "samples/s", "count": len(clocks.runs)} for name, time in seconds.items()
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


def stages_ms(scored: Scored, clocks: Clocks | None = None, rows: int = 0) -> dict[str, float | None]:
    """Return where the time of a sample goes, in ms by stage; None for a stage that there was not.

    As in the throughputs each of two views counts as a sample. CPU time of one thread, summed over the threads:
    ``decode`` (reading, digesting and decoding), ``resize`` (all preprocessing after that), ``score`` (finding the
    source's kept answer, scoring and writing). Wall time: ``run`` (at least one run under way, so that its inverse is
    the throughput ``host``), ``wait`` (inputs were waited for, and no run was under way). The stages go on at the same
    time, so their sum is not the time from end to end.
    """
    found: dict[str, float | None] = dict.fromkeys(STAGES)
    if clocks is not None and rows:
        found |= {"wait": 1e3 * clocks.starved_seconds / rows, "run": 1e3 * clocks.busy_seconds / rows}
        prepared = clocks.prepared
        if prepared.rows:
            found |= {stage: getattr(prepared, f"{stage}_ns") / prepared.rows / 1e6 for stage in ("decode", "resize")}
    if scored.rows:
        looked_up = clocks.looked_up / rows if clocks is not None and rows else 0.0
        found["score"] = (scored.scoring_ns / scored.rows + looked_up) / 1e6
    return found
