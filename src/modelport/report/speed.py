"""What may be said of a speed: figures of raw runs, what makes them doubtful, and how published ones compare."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelport.measure.timing import Timed
from modelport.recipes.published_speed import PublishedSpeed
from modelport.report.result import FEW_RUNS, WIDE_SPREAD, latency_summary

SCHEMA = "modelport.bench/1"
# The second half of the runs slower or faster than the first by more than this is a drift.
DRIFT = 0.05
# samples/s, batch and latency may miss their identity by this share: the loop's own time between two runs.
IDENTITY_TOLERANCE = 0.05
# A device can run the rows of a batch one by one, so a speed below this share of batch 1's is no samples/s.
FALLEN = 0.5


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing to be said beside a figure: ``short`` in a table, ``text`` where there is room."""

    kind: str
    short: str
    text: str


def figures_of(timed: Timed) -> dict[str, Any]:
    """Return throughput (samples/s), latency (ms), raw runs (ns) and flags of one setting, as the result holds them."""
    latencies = timed.latencies_ms
    latency = latency_summary(latencies)
    throughput = timed.samples_per_second
    return {
        "batch": timed.batch,
        "in_flight": timed.in_flight,
        "throughput": {"value": throughput, "unit": "samples/s", "count": len(latencies)},
        "latency_ms": latency,
        "flags": [asdict(flag) for flag in flags_of(timed)],
        "runs_ns": [[end - start for start, end in worker] for worker in timed.runs],
    }


def flags_of(timed: Timed) -> list[Flag]:
    """Return what makes the figures of these runs doubtful; nothing where they are sound."""
    latencies = timed.latencies_ms
    found = [flag for flag in (_spread(latencies), _tail(latencies), _drift(latencies)) if flag]
    if len(latencies) < FEW_RUNS:
        found.append(Flag("few_runs", f"{len(latencies)} runs", f"only {len(latencies)} runs: a rough figure"))
    if not timed.steady:
        found.append(Flag("warm_up", "not steady", "the warm-up ended at its limit, before the runs were steady"))
    said = identity_violation(timed.samples_per_second, timed.batch, statistics.fmean(latencies), timed.in_flight)
    return [*found, said] if said else found


def identity_violation(samples_per_s: float, batch: int, latency_ms: float, in_flight: int = 1) -> Flag | None:
    """Return a flag unless samples/s = batch × runs in flight / latency, within 5 %.

    The figures are those of one device or machine; the latency is the mean time of one run.
    """
    follows = batch * in_flight * 1e3 / latency_ms
    if abs(samples_per_s / follows - 1) <= IDENTITY_TOLERANCE:
        return None
    implied = samples_per_s * latency_ms / 1e3 / in_flight
    text = (
        f"{samples_per_s:.4g} samples/s do not follow from batch {batch}, {in_flight} in flight and "
        f"{latency_ms:.4g} ms ({follows:.4g} would); they belong to {implied:.3g} samples a run"
    )
    return Flag("identity", f"≠ {follows:.4g}/s", text)


def batches_not_samples(figures: Sequence[tuple[int, float]]) -> Flag | None:
    """Return a flag where (batch, figure) pairs that are called samples/s can hardly be such.

    That is where a figure is less than half of the smallest batch's: rows can always be run one by one.
    """
    batch, first = min(figures)
    fallen = [(size, value) for size, value in figures if size > batch and value < FALLEN * first]
    if not fallen:
        return None
    size, value = fallen[-1]
    text = (
        f"{value:g} at batch {size} against {first:g} at batch {batch}: no samples/s, since rows can be run "
        f"one by one; as batches/s it is {value * size:g} samples/s"
    )
    return Flag("unit", "batches/s?", text)


def best_of(points: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return batch, runs in flight and samples/s of the point with the highest throughput."""
    top = max(points, key=lambda point: float(point["throughput"]["value"]))
    return {
        "batch": top["batch"],
        "in_flight": top["in_flight"],
        "value": top["throughput"]["value"],
        "unit": "samples/s",
        "flags": top["flags"],
    }


def compare(speeds: Iterable[PublishedSpeed], points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the published speeds, each beside this machine's best at the same batch.

    ``ratio`` is this machine's samples/s by the published; None where the batch was not measured.
    """
    ours: dict[int, float] = {}
    for point in points:
        ours[point["batch"]] = max(ours.get(point["batch"], 0.0), point["throughput"]["value"])
    return [_compared(speed, ours) for speed in speeds]


def _compared(speed: PublishedSpeed, ours: dict[int, float]) -> dict[str, Any]:
    rows = []
    for figure in speed.figures:
        samples = speed.samples_per_second(figure)
        flag = None
        if figure.latency_ms is not None:
            flag = identity_violation(figure.value, figure.printed_batch or figure.batch, figure.latency_ms)
        rows.append(
            figure.model_dump(mode="json", exclude_none=True)
            | {
                "samples_per_second": samples,
                "ours": ours.get(figure.batch),
                "ratio": ours[figure.batch] / samples if figure.batch in ours else None,
                "flags": [asdict(flag)] if flag else [],
            }
        )
    best = max(rows, key=lambda row: float(row["samples_per_second"]))
    wrong_unit = batches_not_samples([(figure.batch, figure.value) for figure in speed.figures])
    return {
        "device": speed.device,
        "unit": speed.unit,
        "printed_unit": speed.printed_unit,
        "source": speed.source,
        "note": speed.note,
        "figures": rows,
        "best": {
            "batch": best["batch"],
            "samples_per_second": best["samples_per_second"],
            "ratio": max(ours.values()) / best["samples_per_second"] if ours else None,
        },
        "flags": [asdict(wrong_unit)] if wrong_unit else [],
    }


def _spread(latencies: Sequence[float]) -> Flag | None:
    summary = latency_summary(latencies)
    spread = (summary["p90"] - summary["min"]) / summary["median"] if summary["median"] else 0.0
    if spread <= WIDE_SPREAD:
        return None
    return Flag("spread", f"spread {spread:.0%}", f"the runs spread by {spread:.0%} of their median (p90 − min)")


def _tail(latencies: Sequence[float]) -> Flag | None:
    """Tell where the mean, on which the throughput rests, is not what most runs took."""
    above = statistics.fmean(latencies) / statistics.median(latencies) - 1
    if above <= WIDE_SPREAD:
        return None
    return Flag("tail", f"tail +{above:.0%}", f"a few long runs: the mean is {above:.0%} above the median")


def _drift(latencies: Sequence[float]) -> Flag | None:
    """Compare the medians of the first and the second half; four runs are the fewest that can tell."""
    half = len(latencies) // 2
    if half < 2:
        return None
    first, second = statistics.median(latencies[:half]), statistics.median(latencies[half:])
    change = second / first - 1
    if abs(change) <= DRIFT:
        return None
    word = "longer" if change > 0 else "shorter"
    text = f"the runs became {word}: the second half took {change:+.0%} of the first half's time"
    return Flag("drift", f"drift {change:+.0%}", text)
