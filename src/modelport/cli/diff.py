"""``diff``: how far two models' outputs lie apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import BAD, TALK, cell, grid, word
from modelport.cli.options import SHAPE, TIMEOUT, seed_option, shapes_of
from modelport.core.errors import EXIT_FAIL, EXIT_PASS

COLUMNS = ("largest diff.", "allowed", "mean diff.", "rel. L2", "cosine", "PSNR dB", "argmax %", "NaN/inf")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(diff)


def diff(
    first: Path = typer.Argument(help="A model file; the other is held against it.", metavar="A"),
    second: Path | None = typer.Argument(None, help="Another; left out, A on two engines.", metavar="[B]"),
    engine: str | None = typer.Option(
        None, "--engine", help="For both, or one for each. Default: the fastest usable ones.", metavar="E[,E2]"
    ),
    shape: list[str] = SHAPE,
    data: Path | None = typer.Option(
        None, "--data", help="A folder of images, resized to the input and scaled to 0…1.", metavar="DIR"
    ),
    inputs: Path | None = typer.Option(
        None, "--inputs", help="Arrays by the inputs' names, prepared by yourself.", metavar="FILE.npz"
    ),
    random: int | None = typer.Option(None, "--random", help="N drawn inputs. Default: 4 of them.", metavar="N"),
    atol: float | None = typer.Option(
        None, "--atol", help="Largest difference that passes. Default: 1e-4 of the largest output in fp32.", metavar="X"
    ),
    rtol: float = typer.Option(0.0, "--rtol", help="And this share of each of A's values.", metavar="X"),
    seed: int = seed_option("Draws the inputs."),
    timeout: float = TIMEOUT,
) -> None:
    """Two model files, or one on two engines, on the same inputs: how far their outputs lie apart.

    No recipe, no labels. Exit code: 0 within the tolerance, 1 beyond, 2 wrong usage or bad input.
    """
    from modelport.engines.time_limit import limit_runs
    from modelport.jobs.diff import DiffRequest
    from modelport.jobs.diff import diff as run_diff

    limit_runs(timeout)
    request = DiffRequest(
        first=first,
        second=second,
        engines=() if engine is None else tuple(word.strip() for word in engine.split(",")),
        shapes=shapes_of(shape),
        data=data,
        inputs=inputs,
        random=random,
        atol=atol,
        rtol=rtol,
        seed=seed,
        command=runs.COMMAND,
    )
    value = run_diff(request, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))
    raise typer.Exit(EXIT_PASS if value["within"] else EXIT_FAIL)


def _draw(console: Any, value: dict[str, Any]) -> None:
    for side in ("a", "b"):
        told = value[side]
        console.aside(f"{side.upper()}: {told['path']} on {told['engine']}, {told['precision']}")
    console.aside(_table(value["outputs"]))
    shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in value["inputs"]["shapes"].items())
    console.aside(f"inputs: {value['inputs']['about']}; {shapes}")
    console.aside(f"tolerance: {value['tolerance']['about']}")
    for note in value["notes"]:
        console.aside(f"note: {note}")
    console.print(word("within" if value["within"] else "beyond") + cell(" the tolerance"))


def _table(rows: list[dict[str, Any]]) -> Any:
    table = grid(("output",), COLUMNS)
    for row in rows:
        broken = row["nonfinite"]
        cells = [_short(row[key]) for key in ("max_abs", "allowed", "mean_abs", "rel_l2")]
        cells += [_fixed(row["cosine"], 6), _fixed(row["psnr"], 1), _fixed(row["argmax"], 2)]
        cells.append(f"{broken['want']}, {broken['got']}" if broken["want"] or broken["got"] else "–")
        table.add_row(cell(row["name"]), *(cell(text, "" if row["within"] else BAD) for text in cells))
    return table


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _fixed(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
