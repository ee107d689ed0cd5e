"""The clocks of a call, the summary file and the lines that tell it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelport.ais_bench.log import Log
from modelport.measure.timing import busy

PERCENTILE = 99
Interval = tuple[float, float]  # start, end


@dataclass(slots=True)
class Clocks:
    """Milliseconds, a start and end per execution; copies once per batch, before its first and after its last."""

    runs: list[Interval] = field(default_factory=list)
    h2d: list[float] = field(default_factory=list)
    d2h: list[float] = field(default_factory=list)
    batchsizes: list[int] = field(default_factory=list)  # per batch, where each has its own
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, runs: list[Interval], h2d: float, d2h: float) -> None:
        """Take a batch's times down."""
        with self._lock:
            self.runs += runs
            self.h2d.append(h2d)
            self.d2h.append(d2h)


def summarise(clocks: Clocks, batchsize: float, overlapped: bool) -> dict[str, Any]:
    """Return the summary's figures: with ``overlapped`` runs only means, the computing's from merged busy time."""
    durations = [end - start for start, end in clocks.runs]
    compute = _means(durations) if overlapped else _statistics(durations)
    if overlapped and durations:
        compute["mean"] = busy(clocks.runs) / len(durations)
    copies = _means if overlapped else _statistics
    mean = compute["mean"]
    return {
        "NPU_compute_time": compute,
        "H2D_latency": copies(clocks.h2d),
        "D2H_latency": copies(clocks.d2h),
        "npu_compute_time_list": [list(run) for run in clocks.runs] if overlapped else durations,
        "throughput": 1000 * batchsize / mean if mean else 0.0,
        "pid": os.getpid(),
    }


def tell(log: Log, figures: dict[str, Any], batchsize: float, everything: bool) -> None:
    """Print the lines in which readers of logs look for the figures."""
    log.info("-----------------Performance Summary------------------")
    for name in ("H2D_latency", "NPU_compute_time", "D2H_latency"):
        if everything or name == "NPU_compute_time":
            values = ", ".join(f"{key} = {value}" for key, value in figures[name].items() if key != "count")
            log.info(f"{name} (ms): {values}")
    mean = figures["NPU_compute_time"]["mean"]
    log.info(f"throughput 1000*batchsize.mean({batchsize})/NPU_compute_time.mean({mean}): {figures['throughput']}")
    log.info("------------------------------------------------------")


def _means(values: list[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)) if values else 0.0, "count": len(values)}


def _statistics(values: list[float]) -> dict[str, Any]:
    some = values or [0.0]
    return {
        "min": min(some),
        "max": max(some),
        "mean": float(np.mean(some)),
        "median": float(np.median(some)),
        f"percentile({PERCENTILE}%)": float(np.percentile(some, PERCENTILE)),
        "count": len(values),
    }
