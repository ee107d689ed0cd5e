"""``fetch``, ``check``, ``export``, ``compile``: the model's road, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK
from modelport.cli.options import (
    CALIBRATION,
    CHECKPOINT_KEY,
    RECIPE,
    SHAPE,
    VARIANT,
    WEIGHTS,
    batch_or_dynamic,
    input_word,
    shapes_of,
    trust_option,
)
from modelport.core.errors import EXIT_USAGE, UsageError
from modelport.engines import help as engine_help


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(fetch)
    app.command()(check)
    app.command()(export)
    app.command("compile")(compile_model)


def fetch(recipe: str = RECIPE) -> None:
    """Bring the recipe's weights into the cache, checked."""
    from modelport.jobs.fetch import fetch as run_fetch

    value = run_fetch(recipe, TALK.progress)

    def draw(console: Any) -> None:
        for key, entry in value.items():
            if key != "schema":
                console.print(f"{key}: {entry}")

    TALK.give(value, draw)


def check(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    checkpoint_key: str | None = CHECKPOINT_KEY,
    trust_code: bool = trust_option(),
) -> None:
    """Load a checkpoint safely and strictly; list missing, unexpected and misshapen keys (any of them: exit 2)."""
    from modelport.jobs.check import check_weights

    report = check_weights(recipe, weights, TALK.progress, checkpoint_key)

    def draw(console: Any) -> None:
        for key in ("missing", "unexpected", "misshapen", "miscast"):
            for name in report[key]:
                console.print(f"{key}: {name}")
        for note in report["notes"]:
            console.aside(note)
        word = "fits" if report["fits"] else "does not fit"
        console.print(
            f"{report['path']} {word} {report['recipe']}: {report['tensors']} tensors, sha256 {report['sha256']}"
        )

    TALK.give(report, draw)
    if not report["fits"]:
        fix = "give the weights of this model, or the recipe of these weights"
        typer.echo(f"error: {report['path']} does not fit {report['recipe']}\n  fix: {fix}", err=True)
        raise typer.Exit(EXIT_USAGE)


def export(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    checkpoint_key: str | None = CHECKPOINT_KEY,
    out: Path = typer.Option(..., "--out", help="The file to write.", metavar="FILE.onnx"),
    opset: int | None = typer.Option(None, "--opset", help=engine_help.OPSET, metavar="N"),
    batch: str = typer.Option("dynamic", "--batch", help="A number, or dynamic.", metavar="N|dynamic"),
    nms: str = typer.Option(
        "graph", "--nms", help="Where a detector's doubles are suppressed.", metavar=engine_help.NMS
    ),
    input_type: str = typer.Option(
        "float32", "--input-type", help="uint8: pixels (N, H, W, 3), the graph normalises.", metavar="float32|uint8"
    ),
    variant: str | None = VARIANT,
    trust_code: bool = trust_option(),
) -> None:
    """Write ONNX with the recipe's tensor names, checked against the source model."""
    from modelport.jobs.export import ExportRequest
    from modelport.jobs.export import export as run_export

    pixels = input_word(input_type) == "uint8"
    request = ExportRequest(recipe, out, weights, opset, batch_or_dynamic(batch), nms, pixels, variant, checkpoint_key)
    value = run_export(request, TALK.progress)

    def draw(console: Any) -> None:
        for note in value["notes"]:
            console.aside(note)
        for entry in value["checks"]:
            console.aside(f"{entry['verdict']}  {entry['name']}: {entry['why']}")
        written = next(row for row in value["artifacts"] if row["path"] == str(out))
        console.print(f"{written['path']}  sha256 {written['sha256']}")

    TALK.give(value, draw)


def compile_model(
    recipe: str | None = typer.Argument(None, help="A recipe: its name, or a .toml file.", metavar="RECIPE"),
    graph: Path | None = typer.Argument(None, help="The exported graph.", metavar="FILE.onnx"),
    model: Path | None = typer.Option(None, "--model", help="A graph that needs no recipe.", metavar="FILE.onnx"),
    engine: str = typer.Option(..., "--engine", help="The engine to compile for.", metavar="E"),
    out: Path = typer.Option(
        ...,
        "--out",
        help=engine_help.COMPILED_FILE,
        metavar="PATH",
    ),
    precision: str | None = typer.Option(
        None,
        "--precision",
        help=engine_help.COMPILED_PRECISION,
        metavar="P",
    ),
    batch: int | None = typer.Option(None, "--batch", help=engine_help.COMPILED_BATCH, metavar="N"),
    plan: Path | None = typer.Option(None, "--plan", help="A precision plan, JSON or TOML.", metavar="FILE"),
    calibration: Path | None = CALIBRATION,
    soc: str | None = typer.Option(None, "--soc", help=engine_help.SOC, metavar="NAME"),
    device: int | None = typer.Option(None, "--device", help=engine_help.SOC_DEVICE, metavar="D"),
    input_type: str | None = typer.Option(
        None, "--input-type", help=engine_help.COMPILED_INPUT, metavar="float32|uint8"
    ),
    shape: list[str] = SHAPE,
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the vendor command; write and run nothing."),
) -> None:
    """Write the artifact that an engine loads fastest."""
    from modelport.jobs.compile import CompileRequest, compile_checked

    file = graph or model
    if file is None or (graph is not None and model is not None):
        raise UsageError("compile of what?", "name a recipe and its FILE.onnx, or give --model FILE.onnx alone")
    pixels, shapes = input_word(input_type), shapes_of(shape)
    request = CompileRequest(
        recipe, file, engine, out, precision, batch, soc, device, plan, pixels, dry_run, calibration, shapes
    )
    value = compile_checked(request, TALK.progress)

    def draw(console: Any) -> None:
        if value.get("line"):
            # A line to be copied: never wrapped.
            console.print(value["line"], soft_wrap=True)
        for row in value.get("artifacts", ()):
            console.print(f"{row['kind']}: {row['path']}  sha256 {row['sha256']}")

    TALK.give(value, draw)
    for note in value["notes"]:
        TALK.note(note)
