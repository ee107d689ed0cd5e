"""``compare``: results side by side."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import COLOURS, TALK, cell, grid, word
from modelport.cli.options import MAX_DROP
from modelport.core.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS, UsageError
from modelport.core.guard import write_out
from modelport.core.text import plain

EXIT_CODES = {"not worse": EXIT_PASS, "worse": EXIT_FAIL, "cannot tell": EXIT_INCONCLUSIVE}
SHOWN_FLIPS = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    results: list[Path] = typer.Argument(
        help="Result folders, or their result.json; the first is the baseline.", metavar="RESULT"
    ),
    max_drop: float | None = MAX_DROP,
    github: bool = typer.Option(
        False, "--github", help="Print GitHub's workflow commands, and append a table to $GITHUB_STEP_SUMMARY."
    ),
    junit: Path | None = typer.Option(None, "--junit", help="A test case for each row goes here.", metavar="FILE"),
) -> None:
    """Results of engines, precisions, versions, days: what changed for certain, and what cannot be told.

    Exit code, about the last against the first: 0 not worse beyond the tolerance, 1 worse, 2 wrong usage or not
    comparable, 3 cannot tell.
    """
    from modelport.jobs.compare.compare import CompareRequest
    from modelport.jobs.compare.compare import compare as run_compare
    from modelport.report.ci_output import append_summary, github_commands, write_junit

    if github and TALK.json:
        raise UsageError("--github prints commands to stdout, and --json a result", "write that with --json-out FILE")
    value = run_compare(CompareRequest(tuple(results), max_drop, runs.COMMAND), TALK.progress)
    if junit is not None:
        write_junit(junit, value)
    if github:
        # Nothing in a name of others becomes a command of the workflow.
        token = secrets.token_hex(16)
        write_out(f"::stop-commands::{token}\n")
        TALK.give(value, lambda console: _draw(console, value))
        write_out(f"::{token}::\n{github_commands(value)}")
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            append_summary(Path(summary), value)
    else:
        TALK.give(value, lambda console: _draw(console, value))
    raise typer.Exit(EXIT_CODES[value["verdict"]])


def _draw(console: Any, value: dict[str, Any]) -> None:
    for place, result in enumerate(value["results"]):
        told = [result[key] for key in ("engine", "precision") if result[key] is not None]
        told.append(f"{result['n']} samples")
        role = "baseline" if place == 0 else str(place)
        console.aside(f"{role}: {result['name']} ({', '.join(told)})")
    console.aside(_table(value))
    for flips in value["flips"]:
        _draw_flips(console, flips)
    if value["differs"]:
        console.aside("differs:")
        for key, values in value["differs"].items():
            console.aside(f"  {key}: {', '.join('none' if one is None else plain(one, 40) for one in values)}")
    for note in value["notes"]:
        console.aside(f"note: {note}")
    console.print(cell("verdict: ") + word(value["verdict"]) + cell(_about(value)))


def _about(value: dict[str, Any]) -> str:
    """Return what the verdict rests on: the last result's figures that have a tolerance."""
    last = len(value["results"]) - 1
    held = [row for row in value["rows"] if row["of"] == last and row["tolerance"] is not None]
    if not held:
        return "   no figure decides"
    told = held[0]["tolerance"]
    unit = "% of the baseline" if told["unit"] == "percent_of_reference" else " points"
    names = ", ".join(row["metric"] for row in held)
    return f"   by {names}; tolerance {told['value']:g}{unit} ({told['from']})"


def _draw_flips(console: Any, flips: dict[str, Any]) -> None:
    ids = [f"{flip['flip']} {flip['id']}" for flip in flips["listed"][:SHOWN_FLIPS]]
    more = " …" if flips["lost"] + flips["gained"] > len(ids) else ""
    told = f": {', '.join(ids)}{more}" if ids else ""
    console.aside(f"flips of {flips['metric']} in {flips['of']}: {flips['lost']} lost, {flips['gained']} gained{told}")


def _table(value: dict[str, Any]) -> Any:
    """Return a row for each figure of each result; which result is told where there are several."""
    from modelport.report.ci_output import change_of, digits_of, word_of
    from modelport.report.markdown import number

    several = len(value["results"]) > 2
    table = grid((*(["of"] if several else []), "figure"), ("baseline", "this", "change"), ("verdict",))
    for row in value["rows"]:
        cells = [*([str(row["of"])] if several else []), row["metric"]]
        cells += [number(one, digits_of(row)) for one in row["values"]] + [change_of(row)]
        table.add_row(*map(cell, cells), cell(word_of(row), COLOURS.get(row["verdict"], "")))
    return table
