"""The result: one JSON value, the truth from which every report is drawn."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from modelport.core import machine

SCHEMA = "modelport.result/1"
PACKAGES = (
    *("modelport", "numpy", "pillow", "opencv-python-headless", "torch", "onnx", "onnxscript", "onnxruntime"),
    *("openvino", "nncf", "faster-coco-eval"),
)
# A figure is printed with a warning where the spread of its runs is wider than this share of the median.
WIDE_SPREAD = 0.10
FEW_RUNS = 20


def environment() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    packages: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": machine.processor(),
        "cores": machine.cores(),
        "packages": packages,
        "executable": sys.executable,
    }


def latency_summary(milliseconds: Sequence[float]) -> dict[str, float | int]:
    """Return min, mean, median, p90, p95, p99, max (ms per run) and count. Percentiles interpolate linearly."""
    ordered = sorted(milliseconds)
    return {
        "min": ordered[0],
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        "p90": _percentile(ordered, 0.90),
        "p95": _percentile(ordered, 0.95),
        "p99": _percentile(ordered, 0.99),
        "max": ordered[-1],
        "count": len(ordered),
    }


def steadiness_warnings(summary: dict[str, float | int]) -> list[str]:
    """Return what to say beside a speed: a wide spread, or too few runs."""
    warnings = []
    spread = (summary["p90"] - summary["min"]) / summary["median"] if summary["median"] else 0.0
    if spread > WIDE_SPREAD:
        warnings.append(f"unsteady: the runs spread by {spread:.0%} of their median (p90 − min)")
    if summary["count"] < FEW_RUNS:
        warnings.append(f"only {summary['count']} runs: a rough figure")
    return warnings


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
