"""``probe``: which knob."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import GOOD, TALK, cell, grid
from modelport.cli.options import (
    CHECKPOINT_KEY,
    DATA,
    FORCE,
    RECIPE,
    SOURCE,
    TIMEOUT,
    VARIANT,
    WEIGHTS,
    seed_option,
    source_file,
    trust_option,
)
from modelport.core.errors import EXIT_INCONCLUSIVE, EXIT_PASS

# Changes that the table shows; probe.json holds all.
SHOWN = 12


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(probe)


def probe(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    checkpoint_key: str | None = CHECKPOINT_KEY,
    source: str | None = SOURCE,
    model: Path | None = typer.Option(
        None,
        "--model",
        help="A model file; held against --weights or --source beside it.",
        metavar="FILE",
    ),
    results: Path | None = typer.Option(
        None, "--results", help="In place of a model: saved outputs of any inference.", metavar="DIR"
    ),
    tensors: Path | None = typer.Option(
        None, "--tensors", help="Of --results: the folder that `preprocess` wrote.", metavar="DIR"
    ),
    data: Path = DATA,
    labels: Path | None = typer.Option(
        None, "--labels", help="Of the images in --data: a file or folder of labels.", metavar="PATH"
    ),
    out: Path = typer.Option(..., "--out", help="Where probe.json goes.", metavar="DIR"),
    engine: str | None = typer.Option(
        None, "--engine", help="That runs --model. Default: the reference runtime for ONNX.", metavar="E"
    ),
    limit: int | None = typer.Option(
        None, "--limit", help="Samples of the last round. Default: 256; of --results all.", metavar="N"
    ),
    seed: int = seed_option("Draws the samples."),
    variant: str | None = VARIANT,
    force: bool = FORCE,
    timeout: float = TIMEOUT,
    trust_code: bool = trust_option(),
) -> None:
    """Try single changes of preprocessing, labels, layout and tensor order: which of them explains the accuracy.

    Exit code: 0 ended, whether one does or none; 2 wrong usage or bad input; 3 nothing could be told.
    """
    from modelport.engines.time_limit import limit_runs
    from modelport.jobs.probe import ProbeRequest
    from modelport.jobs.probe import probe as run_probe
    from modelport.stages.plan import Given

    limit_runs(timeout)
    request = ProbeRequest(
        recipe=recipe,
        data=data,
        out=out,
        given=Given(weights, model, source_file(source)),
        results=results,
        tensors=tensors,
        labels=labels,
        engine=engine,
        variant=variant,
        checkpoint_key=checkpoint_key,
        limit=limit,
        seed=seed,
        force=force,
        command=runs.COMMAND,
    )
    value = run_probe(request, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value, out))
    told = value["explanation"] is not None or value["held_against"] in ("labels", "agreement")
    raise typer.Exit(EXIT_PASS if told else EXIT_INCONCLUSIVE)


def _draw(console: Any, value: dict[str, Any], out: Path) -> None:
    base = value["baseline"]
    if (metric := base["metric"]) is not None:
        console.aside(f"as it is: {metric['name']} {metric['value']:.4g} on {base['n']} samples")
    if value["tried"]:
        console.aside(_table(value["tried"]))
    for note in value["notes"]:
        console.aside(f"note: {note}")
    found = value["explanation"]
    report = cell(f"   {out / 'probe.json'}")
    if found is None:
        console.print(cell("no single change explains it") + report, soft_wrap=True)
        return
    console.aside(found["sentence"])
    if found["lines"]:
        console.aside("lines of the recipe that would mend it:")
        for line in found["lines"]:
            console.aside(cell(f"  {line}"), soft_wrap=True)
    if found["mend"]:
        console.aside(f"to mend it: {found['mend']}")
    console.print(cell("explained by ") + cell(f"{found['change']} = {found['value']}", GOOD) + report, soft_wrap=True)


def _table(rows: list[dict[str, Any]]) -> Any:
    table = grid(("change", "becomes"), ("n", "figure", "change", "between", "evidence"))
    for row in rows[:SHOWN]:
        if "evidence" not in row:
            continue
        between = "–" if row["interval"] is None else f"{row['interval'][0]:+.1f} … {row['interval'][1]:+.1f}"
        numbers = [_number(row["metric"], "{:.4g}"), _number(row["delta"], "{:+.1f}"), between]
        table.add_row(
            *map(cell, (row["change"], row["value"], str(row["n"]), *numbers, f"{row['evidence']['delta']:+.1f}"))
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
