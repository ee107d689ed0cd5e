"""``init``: a recipe from a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK
from modelport.cli.options import SHAPE, shapes_of, trust_option


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    model: str = typer.Argument(
        help="FILE.onnx, FILE.pt2, PKG.MOD:FUNCTION, timm:NAME or torchvision:NAME.", metavar="MODEL"
    ),
    task: str | None = typer.Option(None, "--task", help="Default: told from the outputs.", metavar="T"),
    data: Path | None = typer.Option(None, "--data", help="Its layout decides the data set's lines.", metavar="DIR"),
    out: Path = typer.Option(..., "--out", help="The recipe to write.", metavar="RECIPE.toml"),
    shape: list[str] = SHAPE,
    trust_code: bool = trust_option(),
    force: bool = typer.Option(False, "--force", help="Replace a file that lies there."),
) -> None:
    """Write a recipe that `run` takes at once; what was guessed is marked in it."""
    from modelport.jobs.init import InitRequest
    from modelport.jobs.init import init as run_init

    value = run_init(InitRequest(model, out, task, data, shapes_of(shape), force, runs.COMMAND), TALK.progress)

    def draw(console: Any) -> None:
        for entry in value["guessed"]:
            console.aside(f"guessed: {entry['key']}: {entry['why']}")
        if "found" in value:
            console.aside(value["found"]["sentence"], soft_wrap=True)
        console.aside(f"next: {value['next']}", soft_wrap=True)
        console.print(value["path"])

    TALK.give(value, draw)
