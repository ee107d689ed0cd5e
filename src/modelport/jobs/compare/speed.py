"""The speeds of two results: observed, and certain only where the same machine ran both and the runs do not overlap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modelport.core.text import plain
from modelport.jobs.compare.reading import Read, is_number
from modelport.jobs.compare.rows import BETTER, UNTOLD, WORSE, Row

# What must be the same for one speed to be held against another.
PLACE = (
    ("environment", "processor"),
    ("environment", "cores"),
    ("batch",),
    ("runs_in_flight", "value"),
)
LATENCIES, THROUGHPUTS = ("host", "device"), ("end_to_end", "host", "device")


def speed_rows(first: Read, other: Read, of: int) -> list[Row]:
    """Return a row for each clock that both tell: median latency in ms, throughput in samples/s."""
    elsewhere = _elsewhere(first, other)
    rows, clear = [], dict[str, str]()
    for clock in LATENCIES:
        mine, theirs = (_spread(result.at("latency_ms", clock)) for result in (first, other))
        if mine is None or theirs is None:
            continue
        (low, median, high), (their_low, their_median, their_high) = mine, theirs
        row = Row(f"latency_{clock}", of, "ms", (median, their_median), their_median - median)
        told = f"min to p90 {low:.3g} to {high:.3g} and {their_low:.3g} to {their_high:.3g} ms"
        word = WORSE if their_low > high else BETTER if their_high < low else UNTOLD
        clear[clock] = word = UNTOLD if elsewhere else word
        rows.append(replace(row, verdict=word, why=elsewhere or f"{told}: {_apart(word)}"))
    for clock in THROUGHPUTS:
        figures = [result.at("throughput", clock, "value") for result in (first, other)]
        if not all(is_number(figure) for figure in figures):
            continue
        row = Row(f"throughput_{clock}", of, "samples/s", (figures[0], figures[1]), figures[1] - figures[0])
        word = clear.get(clock, UNTOLD)
        # A clock whose runs became slower while more came through is no evidence of either.
        if (row.values[0] == row.values[1]) or (word == WORSE) != (figures[1] < figures[0]):
            word = UNTOLD
        why = "by the runs' latencies" if word != UNTOLD else "measured once: no spread tells how far it would move"
        rows.append(replace(row, verdict=word, why=elsewhere or why))
    return rows


def _apart(word: str) -> str:
    return "they overlap" if word == UNTOLD else "they do not overlap"


def _elsewhere(first: Read, other: Read) -> str:
    """Return why speeds cannot be held against each other, empty where they can."""
    for keys in PLACE:
        mine, theirs = first.at(*keys), other.at(*keys)
        if mine is None or mine != theirs:
            return f"{'.'.join(keys)}: {plain(mine, 60)} and {plain(theirs, 60)}"
    return ""


def _spread(told: Any) -> tuple[float, float, float] | None:
    """Return min, median and p90 of a clock; None where it is not told."""
    if not isinstance(told, Mapping):
        return None
    found = [float(value) for key in ("min", "median", "p90") if is_number(value := told.get(key))]
    return (found[0], found[1], found[2]) if len(found) == 3 else None
