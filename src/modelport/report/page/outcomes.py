"""What a file of another verb than ``run`` came to, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelport.core.text import plain
from modelport.report.page.found import Found
from modelport.report.page.parts import Cell
from modelport.report.page.reading import at, number_at, rows_at, words_at

LONGEST = 400
# Of compare's words, those that a tone belongs to; the others are a doubt.
COMPARED = {"worse": "fail", "not worse": "pass"}
WHAT = {
    "trace": "where the model departs from the source",
    "probe": "which setting explains the figures",
    "power": "which planted faults would be noticed",
    "bench": "speed of the engine alone",
    "tune": "search of the fastest setting",
    "compare": "results beside each other",
    "history": "what became of results over time",
}


def outcome(one: Found) -> list[Cell]:
    """Return what it came to; each cell names its key."""
    return _TELL[one.kind](one.value)


def _trace(value: Mapping[str, Any]) -> list[Cell]:
    stage, culprits = value.get("first_bad_stage"), rows_at(value, "culprits")
    if stage is None:
        return [Cell("no stage departs from the source", "first_bad_stage", "pass")]
    told = [Cell(f"stage {plain(stage, 80)} departs first", "first_bad_stage", "fail")]
    if culprits:
        node, op = (words_at(culprits[0], key, limit=120) for key in ("node", "op"))
        why = words_at(culprits[0], "why", limit=LONGEST)
        told += [Cell(f"at {node} ({op})", "culprits.0.node"), Cell(why, "culprits.0.why")]
    if at(value, "applied", "repaired") is True:
        told.append(Cell("repaired", "applied.repaired", "pass"))
    return told


def _probe(value: Mapping[str, Any]) -> list[Cell]:
    explained = words_at(value, "explanation", "sentence", limit=LONGEST)
    if not explained:
        return [Cell("no single change explains the figures", "explanation", "doubt")]
    return [Cell(explained, "explanation.sentence")]


def _power(value: Mapping[str, Any]) -> list[Cell]:
    noticed, planted = (_number(value, key) for key in ("noticed", "planted"))
    told = [Cell(f"{noticed} of {planted} planted faults noticed", "noticed")]
    least = number_at(value, "smallest_noticed_drop")
    if least is not None:
        told.append(Cell(f"the smallest loss that is noticed: {least:.3g}", "smallest_noticed_drop"))
    return told


def _bench(value: Mapping[str, Any]) -> list[Cell]:
    rate, batch, in_flight = (_number(value, "best", key) for key in ("value", "batch", "in_flight"))
    told = [Cell(f"{rate} samples/s at best", "best.value")]
    return [*told, Cell(f"batch {batch}, {in_flight} in flight", "best.batch")]


def _tune(value: Mapping[str, Any]) -> list[Cell]:
    words = " ".join(filter(None, (words_at(value, "chosen", key, limit=60) for key in ("engine", "precision"))))
    told = [Cell(f"chosen: {words}, batch {_number(value, 'chosen', 'batch')}", "chosen.engine")]
    return [*told, Cell(f"{_number(value, 'chosen', 'samples_per_second')} samples/s", "chosen.samples_per_second")]


def _compare(value: Mapping[str, Any]) -> list[Cell]:
    word, results = words_at(value, "verdict", limit=40), len(rows_at(value, "results"))
    return [
        Cell(word, "verdict", COMPARED.get(word, "doubt")),
        Cell(f"the last of {results} against the first", "results"),
    ]


def _history(value: Mapping[str, Any]) -> list[Cell]:
    rows = [row for group in rows_at(value, "groups") for row in rows_at(group, "rows")]
    marked = sum(row.get("significant") is True for row in rows)
    told = (
        f"{marked} of {len(rows)} results changed for certain"
        if marked
        else f"no certain change in {len(rows)} results"
    )
    return [Cell(told, "groups")]


def _number(value: Mapping[str, Any], *keys: str) -> str:
    """Return a figure for people, four digits of it; a question mark for what is none."""
    found = number_at(value, *keys)
    if found is None:
        return "?"
    return f"{found:.4g}" if abs(found) < 1e4 else f"{found:,.0f}"


_TELL: Mapping[str, Callable[[Mapping[str, Any]], list[Cell]]] = {
    "trace": _trace,
    "probe": _probe,
    "power": _power,
    "bench": _bench,
    "tune": _tune,
    "compare": _compare,
    "history": _history,
}
