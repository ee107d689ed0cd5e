"""``report``: one self-contained page over results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK
from modelport.cli.options import FORCE


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    results: list[Path] = typer.Argument(
        help="Folders that `run`, `evaluate`, `trace`, `probe` or `power` wrote, and what `bench`, `tune`, `compare` "
        "or `history` printed with --json.",
        metavar="RESULT",
    ),
    out: Path = typer.Option(..., "--out", help="The page goes here.", metavar="FILE.html"),
    title: str = typer.Option("modelport", "--title", help="What the page is called."),
    force: bool = FORCE,
) -> None:
    """One self-contained page over results: verdicts, figures, speed, cause, gallery. It asks nothing of any server."""
    from modelport.jobs.report import ReportRequest
    from modelport.jobs.report import report as run_report

    value = run_report(ReportRequest(tuple(results), out, title, force), TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))


def _draw(console: Any, value: dict[str, Any]) -> None:
    console.print(f"{value['out']}: {len(value['results'])} results, {value['bytes'] / 1024:.0f} KiB")
