"""The clocks of a run as the result file holds them."""

from __future__ import annotations

from typing import Any

from modelport.measure.timing import Clocks
from modelport.report.result import latency_summary


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
