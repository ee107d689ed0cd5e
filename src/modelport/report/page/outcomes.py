"""What a file of another verb than ``run`` came to, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from modelport.core.text import plain
from modelport.report.page.found import Found
from modelport.report.page.parts import Cell

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
    """Return what it came to; what it is where nothing more can be said. Each cell names its key."""
    tell = _TELL.get(one.kind)
    return tell(one.value) if tell is not None else [Cell("drawn below")]


def _trace(value: Mapping[str, Any]) -> list[Cell]:
    stage, culprits = value.get("first_bad_stage"), value.get("culprits") or []
    if stage is None:
        return [Cell("no stage departs from the source", "first_bad_stage", "pass")]
    told = [Cell(f"stage {plain(stage, 80)} departs first", "first_bad_stage", "fail")]
    if culprits:
        first = culprits[0]
        told.append(Cell(f"at {plain(first['node'], 120)} ({plain(first['op'], 40)})", "culprits.0.node"))
        told.append(Cell(plain(first["why"], LONGEST), "culprits.0.why"))
    applied = value.get("applied") or {}
    if applied.get("repaired"):
        told.append(Cell("repaired", "applied.repaired", "pass"))
    return told


def _probe(value: Mapping[str, Any]) -> list[Cell]:
    explanation = value.get("explanation")
    if explanation is None:
        return [Cell("no single change explains the figures", "explanation", "doubt")]
    return [Cell(plain(explanation["sentence"], LONGEST), "explanation.sentence")]


def _power(value: Mapping[str, Any]) -> list[Cell]:
    told = [Cell(f"{plain(value['noticed'], 20)} of {plain(value['planted'], 20)} planted faults noticed", "noticed")]
    least = value.get("smallest_noticed_drop")
    if isinstance(least, int | float):
        told.append(Cell(f"the smallest loss that is noticed: {least:.3g}", "smallest_noticed_drop"))
    return told


def _bench(value: Mapping[str, Any]) -> list[Cell]:
    best = value["best"]
    told = [Cell(f"{_rate(best['value'])} samples/s at best", "best.value")]
    return [*told, Cell(f"batch {plain(best['batch'], 20)}, {plain(best['in_flight'], 20)} in flight", "best.batch")]


def _tune(value: Mapping[str, Any]) -> list[Cell]:
    chosen = value["chosen"]
    words = [plain(chosen[key], 40) for key in ("engine", "precision") if chosen.get(key)]
    told = [Cell(f"chosen: {' '.join(words)}, batch {plain(chosen.get('batch'), 20)}", "chosen.engine")]
    rate = chosen.get("samples_per_second")
    return [*told, Cell(f"{_rate(rate)} samples/s", "chosen.samples_per_second")] if rate is not None else told


def _compare(value: Mapping[str, Any]) -> list[Cell]:
    word = plain(value["verdict"], 40)
    results = len(value["results"])
    return [
        Cell(word, "verdict", COMPARED.get(word, "doubt")),
        Cell(f"the last of {results} against the first", "results"),
    ]


def _rate(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and value < 1e4 else f"{value:,.0f}"


_TELL: Mapping[str, Callable[[Mapping[str, Any]], list[Cell]]] = {
    "trace": _trace,
    "probe": _probe,
    "power": _power,
    "bench": _bench,
    "tune": _tune,
    "compare": _compare,
}
