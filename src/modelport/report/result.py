"""The result: the truth from which every report is drawn."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from modelport.core import machine
from modelport.core.values import Check
from modelport.engines.registry import packages_of_engines
from modelport.report.histogram import histogram
from modelport.tasks.scoring import Score

SCHEMA = "modelport.result/1"
# Distributions whose versions a result tells: those before the engines' own, and those after them.
BEFORE_ENGINES = ("modelport", "numpy", "pillow", "opencv-python-headless", "torch", "onnx", "onnxscript")
AFTER_ENGINES = ("faster-coco-eval",)
# A figure is printed with a warning where the spread of its runs is wider than this share of the median.
WIDE_SPREAD = 0.10
FEW_RUNS = 20


@dataclass(frozen=True, slots=True)
class Speed:
    """Clocks of a run, in the form of the result file; all empty where nothing ran."""

    throughput: Mapping[str, Mapping[str, Any] | None]  # by what it covers: {value, unit, count}; None: not told
    latency_ms: Mapping[str, Mapping[str, Any]]
    """By clock what ``latency_summary`` tells; results of an older modelport have no histogram."""
    warnings: tuple[str, ...] = ()
    stages_ms: Mapping[str, float | None] = field(default_factory=dict)
    """Where the time of a sample goes, by stage (see report/clocks.py); empty where that was not told."""


NOTHING_RAN = Speed({"end_to_end": None, "host": None, "device": None}, {})


@dataclass(frozen=True, slots=True)
class SourceOrigin:
    """What defined the right answers: a checkpoint on its network, a program, an ONNX file, or nothing."""

    kind: str = "none"
    path: str | None = None
    sha256: str | None = None
    title: str = ""  # beside its figures


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """What the source scored on the same samples, and where the engine answers otherwise."""

    metrics: Mapping[str, Score]
    flip_count: int = 0
    flips: tuple[Mapping[str, Any], ...] = ()  # the first of them
    origin: SourceOrigin = SourceOrigin()


@dataclass(frozen=True, slots=True)
class Result:
    """One verdict with everything that it rests on. Console, Markdown and JSON are drawn from it."""

    recipe: str
    variant: str | None
    recipe_sha256: str
    engine: str | None
    precision: str | None
    batch: int | None
    verdict: str
    rests_on: str
    n: int  # samples scored, each content once
    skipped: int
    duplicates: int
    metrics: Mapping[str, Score]
    source: SourceFigures
    reference: Mapping[str, Mapping[str, Any]]
    published: tuple[Mapping[str, Any], ...]
    checks: tuple[Check, ...]
    speed: Speed
    artifacts: tuple[Mapping[str, Any], ...]
    dataset: Mapping[str, Any]  # name, n, fingerprint
    notes: tuple[str, ...]
    environment: Mapping[str, Any]
    seed: int = 0
    command: str = ""
    started: str = ""
    seconds: float = 0.0
    companions: Mapping[str, str] | None = None  # file beside the result → sha256
    further: Mapping[str, Any] = field(default_factory=dict)  # keys that one verb alone gives

    def check(self, name: str) -> Check:
        """Return the check of that name. Raises KeyError."""
        found = {check.name: check for check in self.checks}
        return found[name]

    @property
    def samples_per_second(self) -> float | None:
        """The throughput from files on disk to scored answers; None where nothing ran."""
        figure = self.speed.throughput["end_to_end"]
        return None if figure is None else float(figure["value"])

    def to_json(self) -> dict[str, Any]:
        """Return the result file's value, schema ``modelport.result/1``."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        value = {
            "schema": SCHEMA,
            **plain,
            "metrics": _scores(self.metrics),
            "source": {
                **asdict(self.source.origin),
                "metrics": _scores(self.source.metrics),
                "flip_count": self.source.flip_count,
                "flips": [dict(flip) for flip in self.source.flips],
            },
            "checks": [check.to_json() for check in self.checks],
            "throughput": self.speed.throughput,
            "latency_ms": self.speed.latency_ms,
            "speed_warnings": list(self.speed.warnings),
            **{name: list(getattr(self, name)) for name in _LISTS},
            **self.further,
        }
        if self.speed.stages_ms:
            value["stages_ms"] = self.speed.stages_ms
        return value if self.companions is None else value | {"companions": self.companions}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Result:
        """Return the result that a file holds. Raises KeyError or TypeError for a value of another schema."""
        if value["schema"] != SCHEMA:
            raise KeyError(f"schema {value['schema']}")
        source = value["source"]
        plain: dict[str, Any] = {name: value[name] for name in _PLAIN} | {name: tuple(value[name]) for name in _LISTS}
        return Result(
            **plain,
            metrics={name: Score(**score) for name, score in value["metrics"].items()},
            source=SourceFigures(
                {name: Score(**score) for name, score in source["metrics"].items()},
                source["flip_count"],
                tuple(source["flips"]),
                SourceOrigin(*(source.get(name, default) for name, default in asdict(SourceOrigin()).items())),
            ),
            checks=tuple(Check(**check) for check in value["checks"]),
            speed=Speed(
                value["throughput"], value["latency_ms"], tuple(value["speed_warnings"]), value.get("stages_ms", {})
            ),
            companions=value.get("companions"),
            further={name: entry for name, entry in value.items() if name not in _KNOWN},
        )


_PLAIN = (
    *("recipe", "variant", "recipe_sha256", "engine", "precision", "batch", "verdict", "rests_on", "n", "skipped"),
    *("duplicates", "reference", "dataset", "environment", "seed", "command", "started", "seconds"),
)
_LISTS = ("published", "artifacts", "notes")
_KNOWN = {
    *(*_PLAIN, *_LISTS, "schema", "metrics", "source", "checks", "companions"),
    *("throughput", "latency_ms", "speed_warnings", "stages_ms"),
}


def _scores(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: score.to_json() for name, score in scores.items()}


def environment() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    packages: dict[str, str | None] = {}
    for package in dict.fromkeys((*BEFORE_ENGINES, *packages_of_engines(), *AFTER_ENGINES)):
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


def latency_summary(milliseconds: Sequence[float]) -> dict[str, Any]:
    """Return min, mean, median, p90, p95, p99, max (ms per run), count and ``histogram``.

    Percentiles interpolate linearly; the histogram is {edges (ms), counts} of ``report/histogram.py``.
    """
    ordered = sorted(milliseconds)
    return {
        "min": ordered[0],
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        **{f"p{share}": float(np.percentile(ordered, share)) for share in (90, 95, 99)},
        "max": ordered[-1],
        "count": len(ordered),
        "histogram": histogram(ordered),
    }


def steadiness_warnings(summary: Mapping[str, Any]) -> list[str]:
    """Return what to say beside a speed: a wide spread, or too few runs."""
    warnings = []
    spread = (summary["p90"] - summary["min"]) / summary["median"] if summary["median"] else 0.0
    if spread > WIDE_SPREAD:
        warnings.append(f"unsteady: the runs spread by {spread:.0%} of their median (p90 − min)")
    if summary["count"] < FEW_RUNS:
        warnings.append(f"only {summary['count']} runs: a rough figure")
    return warnings
