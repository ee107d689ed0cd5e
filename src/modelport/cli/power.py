"""``power``: which planted faults a run would have noticed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK, cell, grid, word
from modelport.cli.options import (
    CONFIDENCE,
    DATA,
    ENGINE,
    FORCE,
    LIMIT,
    MAX_DROP,
    ORDER,
    RECIPE,
    SOURCE,
    TIMEOUT,
    VARIANT,
    WEIGHTS,
    seed_option,
    source_file,
    trust_option,
)
from modelport.core.errors import EXIT_INCONCLUSIVE

WORDS = {True: "noticed", False: "missed", None: "by chance"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(power)


def power(
    recipe: str = RECIPE,
    data: Path = DATA,
    out: Path = typer.Option(..., "--out", help="power.json goes here.", metavar="DIR"),
    weights: Path | None = WEIGHTS,
    source: str | None = SOURCE,
    faults: int = typer.Option(24, "--faults", help="How many are planted.", metavar="N"),
    replays: int = typer.Option(20, "--replays", help="Draws of the samples for each fault.", metavar="N"),
    engine: str | None = ENGINE,
    batch: int | None = typer.Option(None, "--batch", help="Default: the recipe's.", metavar="N"),
    limit: int | None = LIMIT,
    order: str | None = ORDER,
    max_drop: float | None = MAX_DROP,
    confidence: float = CONFIDENCE,
    seed: int = seed_option("Draws samples, faults and replays."),
    variant: str | None = VARIANT,
    timeout: float = TIMEOUT,
    trust_code: bool = trust_option(),
    force: bool = FORCE,
) -> None:
    """Plant faults into copies of the model, and tell which of them `run` would notice on this data.

    Exit code: 0 ended, 2 wrong usage or bad input, 3 nothing can be told: the healthy port fails itself.
    """
    from modelport.engines.time_limit import limit_runs
    from modelport.jobs.power import PowerRequest
    from modelport.jobs.power import power as run_power
    from modelport.stages.plan import Wish
    from modelport.verdict.settings import Judging

    limit_runs(timeout)
    request = PowerRequest(
        recipe=recipe,
        data=data,
        out=out,
        weights=weights,
        source=source_file(source),
        wish=Wish(engine=engine, batch=batch),
        faults=faults,
        replays=replays,
        limit=limit,
        order=order,
        judging=Judging(confidence, max_drop),
        variant=variant,
        seed=seed,
        force=force,
        command=runs.COMMAND,
    )
    value = run_power(request, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))
    if value["verdict"] != "told":
        raise typer.Exit(EXIT_INCONCLUSIVE)


def _draw(console: Any, value: dict[str, Any]) -> None:
    console.aside(_table(value["faults"]))
    for note in value["notes"]:
        console.aside(f"note: {note}")
    unit = "% of the source's figure" if value["tolerance"]["unit"] == "percent_of_reference" else " points"
    smallest = value["smallest_noticed_drop"]
    least = "no drop was noticed" if smallest is None else f"every drop from {smallest:.3g}{unit} on was noticed"
    console.print(
        f"noticed {value['noticed']} of {value['planted']} planted faults, {value['by_chance']} by chance; {least} "
        f"(tolerance {value['tolerance']['value']:g}{unit}, {value['n']} samples)"
    )


def _table(rows: list[dict[str, Any]]) -> Any:
    from modelport.diagnose.power.planting import UNCHANGED

    table = grid(("fault", "where", "size"), ("drop",), ("", "by"))
    for row in rows:
        said = WORDS[row["noticed"]] if row["by"] != UNCHANGED else "no effect"
        drop = "–" if row["drop"] is None else f"{row['drop']:.3g}"
        told = (row["kind"], row["where"], f"{row['size']:g}", drop)
        table.add_row(*map(cell, told), word(said), cell(_short(row["by"])))
    return table


def _short(checks: str) -> str:
    """Return the first of the checks, and how many more there are."""
    first, *more = checks.split(", ")
    return f"{first} and {len(more)} more" if more else first
