"""Result, bench and tune files as they lie in folders, for tests of the page."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from modelport.report.page.found import Found
from modelport.report.result import Result

TOP1 = {"value": 90.0, "unit": "percent", "n": 300, "stderr": 1.7}
SUMMARY = {"min": 9.0, "mean": 10.5, "median": 10.0, "p90": 11.0, "p95": 12.0, "p99": 15.0, "max": 20.0, "count": 40}


def check(name: str, verdict: str, **more: Any) -> dict[str, Any]:
    """Return a check of that name."""
    return {"name": name, "verdict": verdict, "got": 1, "want": 1, "why": f"why {name}"} | more


def result_value(**change: Any) -> dict[str, Any]:
    """Return a result file's value of the latest form, with these keys in place of its own."""
    value: dict[str, Any] = {
        "schema": "modelport.result/1",
        "recipe": "tiny",
        "variant": None,
        "recipe_sha256": "0" * 64,
        "engine": "null",
        "precision": "fp32",
        "batch": 8,
        "verdict": "pass",
        "rests_on": "The verdict rests on the source model alone.",
        "n": 300,
        "skipped": 0,
        "duplicates": 0,
        "metrics": {"top1": dict(TOP1), "source_agreement": {**TOP1, "value": 98.0}},
        "source": {"metrics": {"top1": {**TOP1, "value": 91.0}}, "flip_count": 6, "flips": []},
        "reference": {},
        "published": [
            {"metric": "top1", "value": 89.5, "unit": "percent", "device": "Ascend310P3", "source": "a guide"}
            | {"variant": None, "applies": False}
        ],
        "checks": [
            check("finite", "pass"),
            check("top1_vs_source", "pass", got=90.0, want=89.0, interval=[-0.5, 1.5]),
            check("samples", "pass"),
        ],
        "throughput": {
            "end_to_end": {"value": 50.0, "unit": "samples/s", "count": 40},
            "host": {"value": 60.0, "unit": "samples/s", "count": 40},
            "device": None,
        },
        "latency_ms": {"host": {**SUMMARY, "histogram": {"edges": [9.0, 10.0, 12.0, 20.0], "counts": [18, 20, 2]}}},
        "speed_warnings": [],
        "stages_ms": {"decode": 6.0, "resize": 4.0, "wait": 0.5, "run": 16.0, "score": 1.0},
        "artifacts": [],
        "environment": {"python": "3", "platform": "p", "processor": "c", "cores": 2, "packages": {}},
        "dataset": {"name": "imagenet", "n": 300, "fingerprint": "f" * 64},
        "seed": 0,
        "notes": [],
        "command": "modelport run",
        "started": "",
        "seconds": 1.0,
        "statistics": {"rule": "fixed", "tolerance": {"value": 2.0, "unit": "points"}, "confidence": 0.95},
    }
    return copy.deepcopy(value | change)


def found_result(**change: Any) -> Found:
    """Return such a result as it is found."""
    value = result_value(**change)
    return Found("result", Path("runs") / "one", value, None, Result.from_json(value))


def point(batch: int, in_flight: int, speed: float, *flags: str) -> dict[str, Any]:
    """Return a point of a bench."""
    return {
        "batch": batch,
        "in_flight": in_flight,
        "throughput": {"value": speed, "unit": "samples/s", "count": 40},
        "latency_ms": {**SUMMARY, "median": 1e3 * batch * in_flight / speed},
        "flags": [{"kind": "spread", "short": flag, "text": f"{flag} in words"} for flag in flags],
    }


def published_speed(device: str = "Ascend310P3") -> dict[str, Any]:
    """Return what a bench, or a result, tells of a device."""
    figures: list[dict[str, Any]] = [
        {"batch": batch, "value": value, "samples_per_second": value * batch, "ours": None, "ratio": None, "flags": []}
        for batch, value in ((1, 800.0), (8, 500.0))
    ]
    told: dict[str, Any] = {
        "device": device,
        "unit": "batches/s",
        "printed_unit": "fps",
        "source": "a guide",
        "note": "falls",
    }
    return told | {"figures": figures, "flags": []}


def found_bench(**change: Any) -> Found:
    """Return a bench as it is found."""
    value: dict[str, Any] = {
        "schema": "modelport.bench/1",
        "recipe": "tiny",
        "variant": None,
        "engine": "null",
        "precision": "fp32",
        "points": [point(1, 1, 40.0), point(1, 2, 55.0), point(8, 1, 70.0, "spread 21%"), point(8, 2, 66.0)],
        "published": [published_speed()],
        "best": {"batch": 8, "in_flight": 1, "value": 70.0, "unit": "samples/s", "flags": []},
        "speed_warnings": [],
    }
    return Found("bench", Path("bench.json"), copy.deepcopy(value | change))


def found_tune(**change: Any) -> Found:
    """Return what ``tune`` tells, as it is found."""

    def row(engine: str, speed: float | None, accuracy: float, holds: bool) -> dict[str, Any]:
        told: dict[str, Any] = {"engine": engine, "precision": "int8", "batch": 8, "in_flight": 2, "threads": 2}
        figure = {"value": accuracy, "unit": "percent", "n": 300, "stderr": 1.0}
        told |= {"samples_per_second": speed, "accuracy": figure, "within_tolerance": holds, "why": "so"}
        return told | {"chosen": engine == "b"}

    points = [row("a", 40.0, 91.0, True), row("b", 80.0, 90.0, True), row("c", 60.0, 70.0, False)]
    points.append(row("d", None, 91.0, True))
    value: dict[str, Any] = {
        "schema": "modelport.tune/1",
        "recipe": "tiny",
        "variant": None,
        "metric": "top1",
        "points": points,
    }
    value |= {"source": {"top1": {"value": 91.0, "unit": "percent"}}, "chosen": points[1]}
    return Found("tune", Path("tune.json"), copy.deepcopy(value | change))
