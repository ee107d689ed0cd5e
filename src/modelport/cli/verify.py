"""``verify``: a result folder held against itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK, cell, grid, word
from modelport.core.errors import EXIT_FAIL, EXIT_PASS
from modelport.core.text import plain

# Characters of a value, and of a digest, in the table.
SHOWN, OF_DIGEST = 40, 12
# What the table shows only where it does not fit: a figure once more, of how many it is, and those of single classes.
ASIDE, OF_CLASS = (".n", "samples.jsonl"), "per_class"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)


def verify(
    folder: Path = typer.Argument(help="What `run --out` or `evaluate --out` wrote.", metavar="DIR"),
) -> None:
    """Hold a result folder against itself: every digest; figures, checks and verdict computed anew, offline.

    Exit code: 0 all fits, 1 something does not, 2 no result folder.
    """
    from modelport.jobs.verify import verify as run_verify

    value = run_verify(folder, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))
    raise typer.Exit(EXIT_PASS if value["verdict"] == "pass" else EXIT_FAIL)


def _draw(console: Any, value: dict[str, Any]) -> None:
    rows = [*value["digests"], *value["figures"], *value["checks"]]
    wrong = [row for row in rows if not row["fits"]]
    figures = [row for row in value["figures"] if not row["name"].startswith(OF_CLASS)]
    shown = [row for row in (*figures, *value["checks"]) if not row["name"].endswith(ASIDE)]
    console.aside(_table([row for row in rows if row in wrong or row in shown]))
    for row in wrong:
        console.print(word("does not fit") + cell(f" {row['name']}: {row.get('why') or _beside(row)}"))
    reasons = dict.fromkeys(row["why"] for row in value["not_recomputed"])
    for why in reasons:
        names = ", ".join(row["name"] for row in value["not_recomputed"] if row["why"] == why)
        console.aside(f"not recomputed, digests alone hold it ({why}): {names}")
    for name in value["unlisted"]:
        console.aside(f"not in the manifest: {name}")
    held = f"{len(value['digests'])} digests, {len(value['figures'])} figures, {len(value['checks'])} checks"
    if wrong:
        console.print(word("fail") + cell(f": {len(wrong)} of {held} do not fit"))
    else:
        console.print(word("pass") + cell(f": {held}, and all fit"))


def _beside(row: dict[str, Any]) -> str:
    return f"{_short(row['recorded'])} is recorded, {_short(row['recomputed'])} is found"


def _table(rows: list[dict[str, Any]]) -> Any:
    table = grid(("what", "recorded", "recomputed", "fits"))
    for row in rows:
        fits = word("yes" if row["fits"] else "no")
        table.add_row(cell(row["name"]), *(cell(_short(row[side])) for side in ("recorded", "recomputed")), fits)
    return table


def _short(value: Any) -> str:
    """Return a value in a few characters: a check by its word, counts as they are, a digest by its first digits."""
    if isinstance(value, dict):
        value = value.get("verdict", " ".join(map(str, value.values())))
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.10g}"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return plain(text[:OF_DIGEST] + "…" if len(text) == 64 else text, SHOWN)
