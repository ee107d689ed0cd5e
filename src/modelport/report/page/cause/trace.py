"""A trace: the strip of stages, the first bad node between its neighbours, errors along the depth, and the repair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain
from modelport.report.markdown import number
from modelport.report.page.cause.telling import cut, notes
from modelport.report.page.charts.depth import Point, depth_chart
from modelport.report.page.found import Found
from modelport.report.page.parts import TONES, Cell, Table
from modelport.report.trace_text import error, sentence

# Neighbours on either side that are drawn, culprits and figures that are listed, stages.
NEIGHBOURS, CULPRITS, METRICS, STAGES = 4, 20, 20, 12
# Nodes that are drawn along the depth: trace.json holds no more.
NODES = 400
FILE = "trace.json"


def trace_values(found: Found) -> dict[str, Any]:
    """Return what the template draws of one trace. Raises what malformed values raise."""
    value = found.value
    rows = value.get("nodes", [])[:NODES]
    points = [_point(row, place) for place, row in enumerate(rows)]
    names = [row["node"] for row in value["culprits"]]
    return {
        "name": found.name,
        "sentence": Cell(cut(sentence(value)), _key("first_bad_stage")),
        "facts": Cell(_facts(value), _key("samples")),
        "stages": [_stage(row, place, value) for place, row in enumerate(value["stages"][:STAGES])],
        "flow": _flow(value, rows, points) if names else None,
        "culprits": _culprits(value["culprits"]) if len(names) > 1 else None,
        "depth": depth_chart(points, names, value.get("nodes_compared", len(points))) if points else None,
        "untold": _untold(value, points, names),
        "applied": None if value.get("applied") is None else _applied(value["applied"]),
        "notes": notes(FILE, value["notes"]),
    }


def _facts(value: Mapping[str, Any]) -> str:
    told = f"{value['samples']} samples, engine {value['engine']}, precision {value['precision']}"
    return cut(f"{told}; {value['runs']} runs to find the node")


def _stage(row: Mapping[str, Any], place: int, value: Mapping[str, Any]) -> dict[str, Any]:
    metric, tensors, key = row["metric"], row["tensors"], _key(f"stages.{place}")
    cosine = "–" if tensors["cosine"] is None else f"{tensors['cosine']:.6f}"
    figure = f"{number(metric['value'])}, the source's {number(metric['source'])}"
    rows = [
        (plain(metric["name"], 60), Cell(figure, f"{key}.metric.value")),
        ("flips", Cell(f"{number(metric['flips'])} of {number(metric['n'])}", f"{key}.metric.flips")),
        ("cosine", Cell(cosine, f"{key}.tensors.cosine")),
        ("largest", Cell(error(tensors["max_abs"]), f"{key}.tensors.max_abs")),
        ("relative L2", Cell(error(tensors["rel_l2"]), f"{key}.tensors.rel_l2")),
        ("explained", Cell(error(row["expected_error"]), f"{key}.expected_error")),
    ]
    return {
        "name": plain(row["name"], 60),
        "verdict": Cell(plain(row["verdict"], 40), f"{key}.verdict", TONES.get(row["verdict"], "")),
        "first_bad": row["name"] == value["first_bad_stage"],
        "rows": rows,
        "why": Cell(cut(row["why"]), f"{key}.why") if row["why"] else None,
    }


def _point(row: Mapping[str, Any], place: int) -> Point:
    local, accumulated, expected = (_error(row, f"{name}_error") for name in ("local", "accumulated", "expected"))
    words = str(row["node"]), str(row["op"]), str(row["module"])
    return Point(int(row["place"]), *words, local, accumulated, expected, _key(f"nodes.{place}"))


def _error(row: Mapping[str, Any], name: str) -> float | None:
    """Return an error; None where nobody measured it, infinite where it is not finite."""
    if name not in row:
        return None
    return math.inf if row[name] is None else abs(float(row[name]))


def _flow(value: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], points: Sequence[Point]) -> dict[str, Any]:
    """Return the likeliest culprit between the nodes before and behind it."""
    first, key = value["culprits"][0], _key("culprits.0")
    by_name = {one.node: one for one in points}
    before = next((list(row["before"]) for row in rows if row["node"] == first["node"]), [])
    behind = [row["node"] for row in rows if first["node"] in row["before"]]
    culprit = {
        "node": Cell(plain(first["node"], 120), f"{key}.node"),
        "op": Cell(plain(first["op"], 60), f"{key}.op"),
        "module": Cell(plain(first["module"], 120), f"{key}.module") if first["module"] else None,
        "local": Cell(error(first["local_error"]), f"{key}.local_error", "fail"),
        "accumulated": Cell(error(first["accumulated_error"]), f"{key}.accumulated_error"),
        "expected": Cell(error(first["expected_error"]), f"{key}.expected_error"),
        "why": Cell(cut(first["why"]), f"{key}.why"),
        "fix": Cell(cut(first["fix"]), f"{key}.fix"),
    }
    sides = {
        name: {"nodes": [_neighbour(one, by_name.get(one)) for one in side[:NEIGHBOURS]], "more": side[NEIGHBOURS:]}
        for name, side in (("before", before), ("behind", behind))
    }
    return {"culprit": culprit} | {name: side | {"more": len(side["more"])} for name, side in sides.items()}


def _neighbour(name: object, point: Point | None) -> dict[str, Any]:
    """Return a node before or behind the culprit; of one that the file does not list, the name alone."""
    told: dict[str, Any] = {"node": Cell(plain(name, 120), point.key if point else ""), "op": None, "module": None}
    if point is None:
        return told | {"local": None, "accumulated": None}
    errors = {
        side: None
        if value is None
        else Cell("infinite" if value == math.inf else error(value), f"{point.key}.{side}_error")
        for side, value in (("local", point.local), ("accumulated", point.accumulated))
    }
    words = {
        side: Cell(plain(word, 120)) if word else None for side, word in (("op", point.op), ("module", point.module))
    }
    return told | words | errors


def _culprits(rows: Sequence[Mapping[str, Any]]) -> Table:
    header = ("node", "operator", "module", "local", "accumulated", "explained", "why", "what mends it")
    shown = [
        [
            *(Cell(plain(row[name], 120), _key(f"culprits.{place}.{name}")) for name in ("node", "op", "module")),
            *(Cell(error(row[name]), _key(f"culprits.{place}.{name}")) for name in ERRORS),
            *(Cell(cut(row[name]), _key(f"culprits.{place}.{name}")) for name in ("why", "fix")),
        ]
        for place, row in enumerate(rows[:CULPRITS])
    ]
    more = f"; {len(rows) - CULPRITS} more are in {FILE}" if len(rows) > CULPRITS else ""
    caption = f"Nodes whose own error is more than explained, the likeliest first{more}"
    return Table(header, shown, caption, frozenset({3, 4, 5}))


ERRORS = ("local_error", "accumulated_error", "expected_error")


def _untold(value: Mapping[str, Any], points: Sequence[Point], names: Sequence[str]) -> str:
    """Return why there is no chart; empty where there is one, or nothing to look for."""
    if points or value["first_bad_stage"] is None:
        return ""
    if not names:
        return "No node is named: what departs is the sum of many, or the engine shows no tensors."
    if "nodes" not in value:
        return "The errors along the depth and the neighbours are not told: an older modelport made this trace."
    return "No error of another node was measured: there is none to draw along the depth."


def _applied(value: Mapping[str, Any]) -> dict[str, Any]:
    head = "Repaired" if value["repaired"] else "Not repaired"
    by = f" by {value['by']}" if value["by"] else ""
    return {
        "head": Cell(plain(head + by, 120), _key("applied.repaired"), "pass" if value["repaired"] else "fail"),
        "why": Cell(cut(value["why"]), _key("applied.why")),
        "table": _before_after(value["before"], value["after"]) if value["before"] is not None else None,
    }


def _before_after(before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
    rows = [[Cell("verdict"), *(_judged(run, side) for run, side in ((before, "before"), (after, "after"))), Cell("")]]
    names = list(dict.fromkeys([*before["metrics"], *after["metrics"]]))[:METRICS]
    for name in names:
        pair = [run["metrics"].get(name, {}).get("value") for run in (before, after)]
        rows.append(_row(plain(name, 60), f"metrics.{name}.value", pair, 2))
    rows.append(_row("samples", "n", [before["n"], after["n"]], 0))
    for word, key in (("samples/s", "samples_per_second"), ("median ms a run", "latency_ms")):
        pair = [before[key], after[key]]
        rows.append([*_row(word, key, pair, 2)[:3], Cell(_share(*pair))])
    return Table(("", "before", "after", "change"), rows, "Before and after the repair", frozenset({1, 2, 3}))


def _judged(run: Mapping[str, Any], side: str) -> Cell:
    return Cell(plain(run["verdict"], 40), _key(f"applied.{side}.verdict"), TONES.get(run["verdict"], ""))


def _row(word: str, key: str, pair: Sequence[Any], digits: int) -> list[Cell]:
    cells = [
        Cell(number(value, digits), _key(f"applied.{side}.{key}"))
        for value, side in zip(pair, ("before", "after"), strict=True)
    ]
    known = all(isinstance(value, int | float) for value in pair)
    change = f"{float(pair[1] - pair[0]):+.{digits}f}" if known else "–"
    return [Cell(word), *cells, Cell(change)]


def _share(before: float | None, after: float | None) -> str:
    """Return the cost of speed, as a share."""
    return f"{100.0 * (after / before - 1):+.1f} %" if before and after is not None else "–"


def _key(name: str) -> str:
    return f"{FILE}: {plain(name, 120)}"
