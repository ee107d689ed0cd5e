"""Verdicts replayed 2,000 times where the true loss is the tolerance: each rule may err in 5 % of them.

Usage: python benchmarks/verdict_validity.py [--replays 2000] [--json FILE]. Minutes on two cores. Exit code 1 where a
bar is missed: where the lower bound of the 95 % Clopper-Pearson interval of the share that errs is above 5 %.

Answers are simulated, or drawn from recorded ones: `data/resnet18_int8.csv.gz` holds what a ResNet-18 in int8 on ONNX
Runtime and its source answered, with the source's margins. It was made by `modelport samples data imagenet --count 2000
--seed 5`, `samples weights resnet-18` and `run resnet-18 --engine onnxruntime --precision int8`, from samples.jsonl.
The tolerance is then what they lose. Stopping times are those of 50,000 planned samples.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import modelport as mp
import replays
from modelport.verdict.binomial import clopper_pearson
from replays import ERROR, Places, World, recorded, simulated

UNITS: Sequence[Any] = ("points", "percent_of_reference")
ENDS: Sequence[Places] = ("small", "large")
RECORDED: Sequence[Places] = ("recorded",)
UNIT_WORDS = {"points": "points", "percent_of_reference": "percent"}
PLANNED = 50_000
# (what, shares of both, only_source, only_engine, neither), on a tolerance of 1 point.
STOPS: dict[str, tuple[float, float, float, float]] = {
    "no flips": (0.7, 0.0, 0.0, 0.3),
    "1 % flips, as many either way": (0.7, 0.005, 0.005, 0.29),
    "7 points lost, 10 % flips": (0.65, 0.085, 0.015, 0.25),
}
SAYS = {
    "pass": "passes at a loss of the tolerance",
    "fail": "fails at a loss of the tolerance",
    "missed_above": "upper bound below the loss",
    "missed_below": "lower bound above the loss",
    "missed": "interval misses the loss when it stops",
}


def worlds(unit: Any) -> list[World]:
    """Return the simulated and the recorded one."""
    return [simulated(unit), recorded(unit)]


def error_row(name: str, hits: int, count: int, allowed: float = ERROR) -> dict[str, Any]:
    """Return the row of a share that may be at most ``allowed``: met unless the replays show that it is more."""
    low, high = clopper_pearson(hits, count, 0.05)
    row = {"name": name, "ours": 100 * hits / count, "theirs": 100 * allowed, "unit": "% of replays"}
    row |= {"ratio": low / allowed, "bar": 1.0, "lower_is_better": True, "met": low <= allowed}
    print(
        f"{'PASS' if row['met'] else 'FAIL'}  {name:<92} {hits:4d} of {count}: {row['ours']:5.2f} % "
        f"[{100 * low:.2f}, {100 * high:.2f}]",
        flush=True,
    )
    return row | {"machine": mp.environment()}


def stop_row(name: str, stops: Sequence[int]) -> dict[str, Any]:
    """Return the row of stopping times: their median beside all that was planned."""
    median, p90 = float(np.median(stops)), float(np.quantile(stops, 0.9))
    print(f"      {name:<92} median {median:6.0f}, p90 {p90:6.0f} of {PLANNED:,}", flush=True)
    row = {"name": f"{name}: median until decided (p90 {p90:.0f})", "ours": median, "theirs": float(PLANNED)}
    row |= {"unit": "samples", "ratio": median / PLANNED, "bar": 1.0, "lower_is_better": True, "met": median < PLANNED}
    return row | {"machine": mp.environment()}


def errors(pool: ProcessPoolExecutor, count: int, most: int, planned: int) -> list[tuple[str, Future[dict[str, int]]]]:
    """Start the replays at a loss of the tolerance; return what each is called."""
    jobs: list[tuple[str, Callable[..., dict[str, int]], tuple[Any, ...]]] = []
    for unit in UNITS:
        for world in worlds(unit):
            told, n = f"{world.name}, {UNIT_WORDS[unit]}", 300 if unit == "points" else 60
            jobs.append((f"fixed, {n} samples, {told}", replays.fixed, (world, n)))
            jobs.append((f"sequential, {told}", replays.sequential, (world, most)))
            for places in ENDS if world.name == "simulated" else RECORDED:
                where = "" if places == "recorded" else f", flips in {places} margins"
                jobs.append((f"by margin, {told}{where}", replays.margin, (world, places, planned)))
    jobs.append(("bootstrap, F1 of 200 images", replays.resampled, (replays.Found, 200)))
    jobs.append(("bootstrap, a skewed mean of 200 images", replays.resampled, (replays.skewed, 200)))
    return [(name, pool.submit(call, *words, count, 1 + seed)) for seed, (name, call, words) in enumerate(jobs)]


def stopping(pool: ProcessPoolExecutor, count: int) -> list[tuple[str, Future[tuple[list[int], int]]]]:
    """Start the replays until decided, of a tolerance of 1 point; return what each is called."""
    started, call = [], pool.submit
    for name, shares in STOPS.items():
        world = World(name, "points", shares)
        started.append((f"sequential, {name}", call(replays.sequential_stops, world, 1.0, PLANNED, count, 1)))
        for places in ENDS if shares[1] else ENDS[:1]:
            where = f", flips in {places} margins" if shares[1] else ""
            future = call(replays.margin_stops, world, places, 1.0, PLANNED, count, 2)
            started.append((f"by margin, {name}{where}", future))
    world = recorded("points")
    started.append(("sequential, recorded", call(replays.sequential_stops, world, 1.0, PLANNED, count, 1)))
    started.append(("by margin, recorded", call(replays.margin_stops, world, "recorded", 1.0, PLANNED, count, 2)))
    return started


def replayed(count: int, most: int = 20_000, planned: int = 10_000, processes: int = 2) -> list[dict[str, Any]]:
    """Replay everything and return the rows. Stopping times take a tenth of the replays."""
    rows = list[dict[str, Any]]()
    with ProcessPoolExecutor(processes) as pool:
        started, stops = errors(pool, count, most, planned), stopping(pool, max(20, count // 10))
        for name, found in started:
            rows += [error_row(f"{name}: {SAYS[what]}", hits, count) for what, hits in found.result().items()]
        for name, stopped in stops:
            times, missed = stopped.result()
            rows.append(stop_row(name, times))
            # Both bounds may err.
            rows.append(error_row(f"{name}: {SAYS['missed']}", missed, len(times), 2 * ERROR))
    return rows


def main() -> None:
    """Replay, print PASS or FAIL of each bar, and leave with 1 where one was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replays", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    rows = replayed(options.replays)
    met = sum(row["met"] for row in rows)
    print(f"{met} of {len(rows)} bars met in {time.perf_counter() - start:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if met == len(rows) else 1)


if __name__ == "__main__":
    main()
