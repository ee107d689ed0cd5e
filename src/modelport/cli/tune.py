"""``tune``: the fastest setting that keeps the accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK, cell, grid, word
from modelport.cli.options import DATA, RECIPE, SHAPE, VARIANT, WEIGHTS, seed_option, shapes_of, trust_option


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tune)


def tune(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    model: Path | None = typer.Option(
        None, "--model", help="An ONNX file in float32 in place of weights; it is held against itself.", metavar="FILE"
    ),
    data: Path = DATA,
    out: Path = typer.Option(..., "--out", help="The setting to write; `run --setting` takes it.", metavar="FILE.toml"),
    max_drop: float | None = typer.Option(
        None, "--max-drop", help="Default: the recipe's tolerance, in its unit.", metavar="X"
    ),
    calibration: Path | None = typer.Option(
        None, "--calibration", help="Images for int8. Default: the training split of --data.", metavar="DIR"
    ),
    engines: str | None = typer.Option(None, "--engines", help="Default: every usable one.", metavar="E,E,…"),
    limit: int | None = typer.Option(None, "--limit", help="The first N samples only.", metavar="N"),
    seconds: float = typer.Option(0.5, "--seconds", help="Of each probe.", metavar="S"),
    seed: int = seed_option(),
    variant: str | None = VARIANT,
    shape: list[str] = SHAPE,
    trust_code: bool = trust_option(),
) -> None:
    """Search engine, precision, batch and runs in flight for the highest throughput within the tolerance."""
    from modelport.jobs.tune.search import TuneRequest
    from modelport.jobs.tune.tune import tune as run_tune

    request = TuneRequest(
        recipe=recipe,
        data=data,
        out=out,
        weights=weights,
        model=model,
        max_drop=max_drop,
        calibration=calibration,
        engines=tuple(word.strip() for word in engines.split(",")) if engines else (),
        limit=limit,
        seed=seed,
        variant=variant,
        shapes=shapes_of(shape),
        seconds=seconds,
        command=runs.COMMAND,
    )
    value = run_tune(request, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))


def _draw(console: Any, value: dict[str, Any]) -> None:
    from modelport.report.markdown import number

    metric = runs.SHORT.get(value["metric"], value["metric"])
    figures = ("batch", "in flight", "threads", "pure/s", "end to end/s", metric, "n")
    table = grid(("engine", "prec."), figures, ("",))
    for row in sorted(value["points"], key=lambda row: -(row["samples_per_second"] or 0)):
        if row["samples_per_second"] is None:
            continue
        said = "chosen" if row["chosen"] else "" if row["within_tolerance"] else "loses too much"
        accuracy = row["accuracy"]
        cells = (
            row["engine"],
            row["precision"],
            str(row["batch"]),
            str(row["in_flight"]),
            str(row["threads"]),
            number(row["pure_samples_per_second"], 1),
            number(row["samples_per_second"], 1),
            number(accuracy["value"], 2 if accuracy["unit"] == "percent" else 3),
            str(accuracy["n"]),
        )
        table.add_row(*map(cell, cells), word(said))
    console.aside(table)
    for row in value["not_scored"]:
        console.aside(f"{row['engine']} {row['precision']}: {row['probed']:.1f}/s pure, {row['why']}")
    for note in value["notes"]:
        console.aside(f"note: {note}")
    chosen = value["chosen"]
    console.print(
        f"chosen: {chosen['engine']} {chosen['precision']}, batch {chosen['batch']}, {chosen['in_flight']} in flight, "
        f"{chosen['threads']} threads: "
        f"{number(chosen['samples_per_second'], 1)} samples/s end to end; {chosen['why']}",
    )
    for check in value["checks"]:
        if check["verdict"] not in ("pass", "not_applicable"):
            console.aside(f"{check['verdict']} {check['name']}: {check['why']}")
    console.print(f"verdict on the chosen one: {value['verdict']}")
    console.print(f"setting: {value['out']}", soft_wrap=True)
