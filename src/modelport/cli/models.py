"""``fetch``, ``check``, ``export``, ``compile``: the model's road, step by step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import typer

from modelport.cli.console import TALK
from modelport.core.errors import UsageError, unknown

RECIPE = typer.Argument(help="A recipe: its name, or the path of a .toml file.", metavar="RECIPE")
WEIGHTS = typer.Option(None, "--weights", help="The checkpoint; left out, the recipe's own is fetched.", metavar="FILE")


VARIANT = typer.Option(None, "--variant", help="A named departure from the recipe; see `show`.", metavar="V")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(fetch)
    app.command()(check)
    app.command()(export)
    app.command("compile")(compile_model)


def fetch(recipe: str = RECIPE) -> None:
    """Bring the recipe's weights into the cache, checked."""
    from modelport.jobs.port import fetched_weights
    from modelport.recipes.load import load_recipe

    weights = fetched_weights(load_recipe(recipe), TALK.progress)
    value = {
        "schema": "modelport.fetch/1",
        "path": str(weights.path),
        "sha256": weights.sha256,
        "verified": weights.verified,
    }
    _give_lines(value)


def check(recipe: str = RECIPE, weights: Path | None = WEIGHTS) -> None:
    """Load a checkpoint safely and strictly; list missing, unexpected and misshapen keys (any of them: exit 2)."""
    from modelport.jobs.checking import check_weights

    report = check_weights(recipe, weights, TALK.progress)

    def draw(console: Any) -> None:
        for key in ("missing", "unexpected", "misshapen", "miscast"):
            for name in report[key]:
                console.print(f"{key}: {name}", markup=False)
        for note in report["notes"]:
            console.print(note, markup=False)
        word = "fits" if report["fits"] else "does not fit"
        console.print(
            f"{report['path']} {word} {report['recipe']}: {report['tensors']} tensors, sha256 {report['sha256']}",
            markup=False,
        )

    TALK.give(report, draw)
    if not report["fits"]:
        from modelport.core.errors import EXIT_USAGE

        fix = "give the weights of this model, or the recipe of these weights"
        typer.echo(f"error: {report['path']} does not fit {report['recipe']}\n  fix: {fix}", err=True)
        raise typer.Exit(EXIT_USAGE)


def export(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    out: Path = typer.Option(..., "--out", help="The file to write.", metavar="FILE.onnx"),
    opset: int | None = typer.Option(
        None, "--opset", help="Operator set; ATC takes 11. Default: a current one.", metavar="N"
    ),
    batch: str = typer.Option("dynamic", "--batch", help="A number, or dynamic.", metavar="N|dynamic"),
    nms: str = typer.Option(
        "graph", "--nms", help="Where a detector's doubles are suppressed.", metavar="graph|host|ascend"
    ),
    variant: str | None = VARIANT,
) -> None:
    """Write ONNX with the recipe's tensor names, checked against the source model."""
    from modelport.jobs.exporting import export_checked
    from modelport.jobs.port import weights_file
    from modelport.model.export import DEFAULT_OPSET, Nms
    from modelport.model.source import load_source
    from modelport.recipes.load import load_recipe

    if out.suffix != ".onnx":
        raise UsageError(f"--out {out}: an ONNX file ends in .onnx", "rename it")
    size = _batch(batch)
    loaded = load_recipe(recipe).with_variant(variant)
    form = _one_of("--nms", nms, get_args(Nms))
    path, notes = weights_file(loaded, weights, TALK.progress)
    source = load_source(loaded, path)
    artifact, checks = export_checked(source, out, DEFAULT_OPSET if opset is None else opset, size, TALK.progress, form)
    value = {
        "schema": "modelport.export/1",
        "artifacts": [*source.checkpoint.to_json(), *artifact.to_json()],
        "checks": [asdict(entry) for entry in checks],
        "notes": [*notes, *source.notes],
    }

    def draw(console: Any) -> None:
        for note in (*notes, *source.notes):
            console.print(note, markup=False)
        for entry in checks:
            console.print(f"{entry.verdict}  {entry.name}: {entry.why}", markup=False)
        console.print(f"{artifact.path}  sha256 {artifact.sha256}", markup=False)

    TALK.give(value, draw)


def compile_model(
    recipe: str = RECIPE,
    model: Path = typer.Argument(help="The exported graph.", metavar="FILE.onnx"),
    engine: str = typer.Option(..., "--engine", help="The engine to compile for.", metavar="E"),
    out: Path = typer.Option(
        ..., "--out", help="The file to write (.xml for openvino, .onnx for onnxruntime).", metavar="PATH"
    ),
    precision: str = typer.Option("fp32", "--precision", help="See `modelport doctor`.", metavar="P"),
    batch: int | None = typer.Option(
        None, "--batch", help="Fix the batch; left out, it stays as in the graph.", metavar="N"
    ),
) -> None:
    """Write the artifact that an engine loads fastest."""
    from modelport.jobs.compiling import compile_checked

    value = compile_checked(recipe, model, engine, precision, batch, out)

    def draw(console: Any) -> None:
        for row in value["artifacts"]:
            console.print(f"{row['kind']}: {row['path']}  sha256 {row['sha256']}", markup=False)

    TALK.give(value, draw)


def _one_of(option: str, word: str, choices: tuple[str, ...]) -> Any:
    if word not in choices:
        raise UsageError(f"{option} {word}", unknown("choices", word, choices))
    return word


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch {text}", "give a number of at least 1, or dynamic")
    return int(text)


def _give_lines(value: dict[str, Any]) -> None:
    def draw(console: Any) -> None:
        for key, entry in value.items():
            if key != "schema":
                console.print(f"{key}: {entry}", markup=False)

    TALK.give(value, draw)
