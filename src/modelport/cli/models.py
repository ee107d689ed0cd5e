"""``fetch``, ``check``, ``export``, ``compile``: the model's road, step by step."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK
from modelport.cli.words import batch_size, one_of
from modelport.core import options
from modelport.core.errors import UsageError
from modelport.core.text import plain_lines

RECIPE = typer.Argument(help="A recipe: its name, or the path of a .toml file.", metavar="RECIPE")
WEIGHTS = typer.Option(None, "--weights", help="The checkpoint; left out, the recipe's own is fetched.", metavar="FILE")


CALIBRATION = typer.Option(
    None,
    "--calibration",
    help="Images for int8: a data set (its training split), or a folder of images; none that is scored.",
    metavar="DIR",
)
TIMEOUT = typer.Option(
    options.RUN_SECONDS, "--timeout", help="Seconds that one run of one batch may take.", metavar="SECONDS"
)
ORDER = typer.Option(
    None,
    "--order",
    help="Which samples --limit takes. Default: random under --limit, else data.",
    metavar="data|random",
)
MAX_SKIPPED = typer.Option(
    options.MAX_SKIPPED, "--max-skipped", help="The share of unreadable images above which nothing passes.", metavar="X"
)
VARIANT = typer.Option(None, "--variant", help="A named departure from the recipe; see `show`.", metavar="V")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(fetch)
    app.command()(check)
    app.command()(export)
    app.command("compile")(compile_model)


def fetch(recipe: str = RECIPE) -> None:
    """Bring the recipe's weights into the cache, checked."""
    from modelport.recipes.load import load_recipe
    from modelport.stages.source import fetched_weights

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
    from modelport.jobs.check import check_weights

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
    input_type: str = typer.Option(
        "float32", "--input-type", help="uint8: pixels (N, H, W, 3), the graph normalises.", metavar="float32|uint8"
    ),
    variant: str | None = VARIANT,
) -> None:
    """Write ONNX with the recipe's tensor names, checked against the source model."""
    from modelport.engines.registry import endings
    from modelport.model.graph.export import DEFAULT_OPSET
    from modelport.model.source import load_source
    from modelport.recipes.load import load_recipe
    from modelport.stages.export import export_checked
    from modelport.stages.source import weights_file

    if out.suffix != ".onnx":
        raise UsageError(f"--out {out}: an ONNX file ends in .onnx", "rename it")
    size = _batch(batch)
    loaded = load_recipe(recipe).with_variant(variant)
    known = endings()
    ending = known[one_of("--nms", nms, tuple(known))]
    pixels = one_of("--input-type", input_type, ("float32", "uint8")) == "uint8"
    path, notes = weights_file(loaded, weights, TALK.progress)
    source = load_source(loaded, path)
    number = DEFAULT_OPSET if opset is None else opset
    artifact, checks = export_checked(source, out, number, size, TALK.progress, ending, pixels=pixels)
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
        ...,
        "--out",
        help="The file to write (.xml for openvino, .onnx for onnxruntime, .om for ascend).",
        metavar="PATH",
    ),
    precision: str | None = typer.Option(
        None,
        "--precision",
        help="See `modelport doctor`; ascend also takes ATC's own modes. Default: fp32, ATC's own.",
        metavar="P",
    ),
    batch: int | None = typer.Option(
        None, "--batch", help="Fix the batch; left out, it stays as in the graph (ascend: the recipe's).", metavar="N"
    ),
    plan: Path | None = typer.Option(None, "--plan", help="A precision plan, JSON or TOML.", metavar="FILE"),
    calibration: Path | None = CALIBRATION,
    soc: str | None = typer.Option(
        None, "--soc", help="The chip, such as 310P3; left out, npu-smi tells it (ascend).", metavar="NAME"
    ),
    device: int | None = typer.Option(None, "--device", help="The device whose chip it is (ascend).", metavar="D"),
    input_type: str | None = typer.Option(
        None, "--input-type", help="uint8: AIPP normalises on the device (ascend).", metavar="float32|uint8"
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the vendor command; write and run nothing."),
) -> None:
    """Write the artifact that an engine loads fastest."""
    from modelport.jobs.compile import CompileRequest, compile_checked

    if input_type is not None:
        one_of("--input-type", input_type, ("float32", "uint8"))
    request = CompileRequest(
        recipe, model, engine, out, precision, batch, soc, device, plan, input_type, dry_run, calibration
    )
    value = compile_checked(request, TALK.progress)

    def draw(console: Any) -> None:
        if value.get("line"):
            # A line to be copied: never wrapped.
            console.print(value["line"], markup=False, soft_wrap=True)
        for row in value.get("artifacts", ()):
            console.print(f"{row['kind']}: {row['path']}  sha256 {row['sha256']}", markup=False)

    TALK.give(value, draw)
    if not TALK.json:
        for note in value["notes"]:
            typer.echo(plain_lines(f"note: {note}"), err=True)


def _batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    return batch_size(text, "give a number of at least 1, or dynamic")


def _give_lines(value: dict[str, Any]) -> None:
    def draw(console: Any) -> None:
        for key, entry in value.items():
            if key != "schema":
                console.print(f"{key}: {entry}", markup=False)

    TALK.give(value, draw)
