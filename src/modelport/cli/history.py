"""``history``: past results as tables and small plots over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK, cell, grid, word
from modelport.core.text import plain

# Heights of a small plot, and how many results it shows: the newest.
HEIGHTS, SHOWN = "▁▂▃▄▅▆▇█", 50
# Below it, what is certain.
MARKS = {"better": "▲", "worse": "▼"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(history)


def history(
    folder: Path = typer.Argument(help="A folder under which results of `run` or `evaluate` lie.", metavar="DIR"),
    out: Path | None = typer.Option(None, "--out", help="A page with a plot over time goes here.", metavar="FILE.html"),
    force: bool = typer.Option(False, "--force", help="Replace a page that lies there."),
) -> None:
    """Past results of a folder tree in the order of time, by recipe, engine and precision; changes that are certain.

    Exit code: 0 told, damaged results being named; 2 no result lies there, or none can be read.
    """
    from modelport.jobs.history.history import HistoryRequest
    from modelport.jobs.history.history import history as run_history

    value = run_history(HistoryRequest(folder, out, force, runs.COMMAND), TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))


def _draw(console: Any, value: dict[str, Any]) -> None:
    for group in value["groups"]:
        _draw_group(console, group)
    for one in value["skipped"]:
        console.print(word("skipped") + cell(f" {one['path']}: {one['why']}"), soft_wrap=True)
    for note in value["notes"]:
        console.aside(f"note: {note}")
    rows = [row for group in value["groups"] for row in group["rows"]]
    significant = sum(row["significant"] for row in rows)
    told = (_count(len(rows), "result"), _count(len(value["groups"]), "group"), _count(significant, "certain change"))
    console.print(f"{', '.join(told)}, {len(value['skipped'])} skipped")
    if "out" in value:
        console.print(value["out"], soft_wrap=True)


def _draw_group(console: Any, group: dict[str, Any]) -> None:
    rows = group["rows"]
    names = [group[key] for key in ("recipe", "variant", "engine", "precision") if group[key]]
    console.aside(f"{', '.join(names)}: {_count(len(rows), 'result')}")
    told = [row["value"] if row["metric"] == group["metric"] else None for row in rows]
    _plot(console, plain(group["metric"], 40), told)
    if any(row["significant"] for row in rows):
        marks = "".join(MARKS.get(row["change"] and row["change"]["verdict"], " ") for row in rows[-SHOWN:])
        console.aside(f"{'certain':<10} {marks}")
    _plot(console, "samples/s", [row["samples_per_second"] for row in rows])
    table = grid(("", "started", "verdict"), (f"{plain(group['metric'], 24)}", "drop", "img/s"), ("change", "by"))
    for place, row in enumerate(rows, 1):
        table.add_row(*_cells(place, row, group["metric"]))
    console.aside(table)
    commands: dict[str, list[str]] = {}
    for place, row in enumerate(rows, 1):
        if row["command"]:
            commands.setdefault(row["command"], []).append(str(place))
    for command, places in commands.items():
        console.aside(f"{', '.join(places)}: {command}", soft_wrap=True)
    for place, row in enumerate(rows, 1):
        if row["change"] is not None and row["change"]["verdict"] == "cannot tell":
            console.aside(f"{place}: cannot tell: {row['change']['why']}")
    console.aside()


def _cells(place: int, row: dict[str, Any], metric: str) -> list[Any]:
    """Return the cells of a result in two lines: the figures, and below them between which bounds they lie."""
    digits, other = (2 if row["unit"] == "percent" else 4), "" if row["metric"] == metric else f"{row['metric']} "
    drop, change = row["drop"] or {"value": None, "interval": None, "unit": ""}, row["change"]
    unit = "" if drop["value"] is None else "%" if drop["unit"] == "percent_of_reference" else " points"
    told = cell("") if change is None else cell(_signed(change["change"], digits) + "\n") + word(change["verdict"])
    date, _, time = row["started"].partition("T")
    return [
        cell(place),
        cell(f"{date}\n{time[:5]}"),
        word(row["verdict"]) + cell(f"\nn {row['n']}"),
        cell(f"{other}{_number(row['value'], digits)}\n{_ends(row['interval'], digits)}"),
        cell(f"{_number(drop['value'], 2)}{unit}\n{_ends(drop['interval'], 2)}"),
        cell(_number(row["samples_per_second"], 1)),
        told,
        cell(row["version"] or "–"),
    ]


def _plot(console: Any, name: str, values: Sequence[float | None]) -> None:
    """Print what became of a figure in one line, where it is told more than once."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return
    low, high = min(known), max(known)
    between = f"{low:.4g} to {high:.4g}" if low < high else f"{low:.4g} each time"
    console.aside(f"{name:<10} {sparkline(values[-SHOWN:], low, high)}  {between}")


def sparkline(values: Sequence[float | None], low: float, high: float) -> str:
    """Return a character for each value, the higher the fuller; a blank where there is none."""
    span = high - low

    def height(value: float) -> str:
        share = (value - low) / span if span > 0 else 0.5
        return HEIGHTS[min(int(share * len(HEIGHTS)), len(HEIGHTS) - 1)]

    return "".join(" " if value is None else height(value) for value in values)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:+.{digits}f}"


def _ends(interval: Sequence[float | None] | None, digits: int) -> str:
    if interval is None:
        return ""
    low, high = ("?" if end is None else f"{end:.{digits}f}" for end in interval)
    return f"[{low}, {high}]"
