"""A probe: the changes that were tried, the one that explains, its lines, and what cannot be told from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain, plain_lines
from modelport.report.markdown import number
from modelport.report.page.cause.telling import cut, notes
from modelport.report.page.found import Found
from modelport.report.page.parts import Cell, Table

# Changes that the table lists, those that are named in a sentence, and lines of a recipe that are shown.
TRIED, NAMED, LINES = 60, 12, 200
# Characters of such a line.
LONG = 2000
FILE = "probe.json"


def probe_values(found: Found) -> dict[str, Any]:
    """Return what the template draws of one probe. Raises what malformed values raise."""
    value = found.value
    told, base = value["explanation"], value["baseline"]
    metric = base["metric"]
    as_it_is = "not told" if metric is None else f"{metric['name']} {metric['value']:.4g} on {base['n']} samples"
    sentence = "no single change of the recipe explains the figure" if told is None else told["sentence"]
    return {
        "name": found.name,
        "sentence": Cell(cut(sentence), _key("explanation.sentence" if told else "explanation")),
        "baseline": Cell(cut(as_it_is), _key("baseline.metric.value")),
        "held_against": Cell(plain(value["held_against"], 60), _key("held_against")),
        "confidence": Cell(_percent(value["confidence"]), _key("confidence")),
        "tried": _tried(value["tried"], told),
        "more": max(0, len(value["tried"]) - TRIED),
        "lines": [] if told is None else _lines(told["lines"]),
        "mend": Cell(cut(told["mend"]), _key("explanation.mend")) if told and told["mend"] else None,
        "alike": Cell(_names(told["alike"]), _key("explanation.alike")) if told and told["alike"] else None,
        "as_good": Cell(_names(value["as_good"]), _key("as_good")) if value.get("as_good") else None,
        "notes": notes(FILE, value["notes"]),
    }


def _lines(lines: Sequence[str]) -> list[str]:
    """Return lines of a recipe; one that is cut, or left out, says so as a comment."""
    shown = [plain_lines(line) for line in lines[:LINES]]
    cut_off = [line if len(line) <= LONG else f"# {line[:LONG]} … the whole line is in {FILE}" for line in shown]
    more = len(lines) - len(shown)
    return [*cut_off, f"# {more} more lines are in {FILE}"] if more else cut_off


def _tried(rows: Sequence[Mapping[str, Any]], told: Mapping[str, Any] | None) -> Table:
    header = ("change", "becomes", "n", "metric", "delta", "between", "evidence", "between", "p", "")
    return Table(
        header,
        [_row(row, place, told) for place, row in enumerate(rows[:TRIED])],
        "Changes that were tried, each alone; deltas in points",
        frozenset(range(2, 9)),
    )


def _row(row: Mapping[str, Any], place: int, told: Mapping[str, Any] | None) -> list[Cell]:
    key = _key(f"tried.{place}")
    best = told is not None and _same(row, told)
    word = "explains" if best else "alike" if told and any(_same(row, one) for one in told["alike"]) else ""
    figures = [
        Cell(number(row["metric"]), f"{key}.metric"),
        Cell(_signed(row["delta"]), f"{key}.delta"),
        Cell(_between(row["interval"]), f"{key}.interval"),
    ]
    # A change that made the same input, or was given up, tells neither.
    count, evidence = (Cell(number(row["n"]), f"{key}.n") if "n" in row else Cell("–")), [Cell("–")] * 3
    if told_of := row.get("evidence"):
        evidence = [
            Cell(_signed(told_of["delta"]), f"{key}.evidence.delta"),
            Cell(_between(told_of["interval"]), f"{key}.evidence.interval"),
            Cell(f"{told_of['p_value']:.2g}", f"{key}.evidence.p_value"),
        ]
    said = word or plain(row.get("why", ""), 120)
    names = [Cell(plain(row["change"], 60), f"{key}.change"), Cell(plain(row["value"], 120), f"{key}.value")]
    return [
        *names,
        count,
        *figures,
        *evidence,
        Cell(said, f"{key}.why" if row.get("why") else "", "pass" if best else ""),
    ]


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["change"] == other["change"] and one["value"] == other["value"])


def _names(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = ", ".join(f"{row['change']} = {row['value']}" for row in rows[:NAMED])
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return cut(shown) + more


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1f}"


def _between(interval: Sequence[float | None] | None) -> str:
    return "–" if interval is None else " … ".join(_signed(end) for end in interval[:2])


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100.0 * value:.4g} %"


def _key(name: str) -> str:
    return f"{FILE}: {name}"
