"""``aipp``: the input stage of an Ascend device, checked and computed without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK
from modelport.cli.options import RECIPE
from modelport.core.errors import EXIT_FAIL, UsageError, unknown
from modelport.engines import help as engine_help

app = typer.Typer(help="Write or check an AIPP file, and compute off-device what it does.")
FILE = typer.Argument(help=engine_help.AIPP_FILE, metavar="FILE")


@app.command()
def write(
    recipe: str = RECIPE,
    out: Path = typer.Option(..., "--out", help="The file to write.", metavar="FILE"),
) -> None:
    """Write the file that does a recipe's normalisation, as `compile --input-type uint8` uses it."""
    from modelport.jobs.aipp import write_aipp

    value = write_aipp(recipe, out)

    def draw(console: Any) -> None:
        for note in value["notes"]:
            console.aside(note)
        console.print(value["path"])

    TALK.give(value, draw)


@app.command()
def check(
    file: Path = FILE,
    recipe: str = typer.Option(..., "--recipe", help="The recipe of the network behind it.", metavar="R"),
    tensors: Path | None = typer.Option(
        None, "--tensors", help="A folder of tensor files that are to be fed: are they what AIPP takes?", metavar="DIR"
    ),
) -> None:
    """Hold an AIPP file against a recipe (an error among the findings: exit 1)."""
    from modelport.jobs.aipp import check_aipp

    value = check_aipp(file, recipe, tensors)

    def draw(console: Any) -> None:
        for row in value["findings"]:
            console.aside(f"{row['level']}  {row['key']}: {row['found']}\n  fix: {row['fix']}")
        word = "no error found" if value["clean"] else "would break the accuracy or the compilation"
        console.print(f"{value['path']} for {value['recipe']}: {word}")

    TALK.give(value, draw)
    if not value["clean"]:
        raise typer.Exit(EXIT_FAIL)


@app.command()
def apply(
    file: Path = FILE,
    images: list[Path] = typer.Argument(help="Images, uint8 .bin or .npy files, or folders of them.", metavar="IMAGE…"),
    out: Path = typer.Option(..., "--out", help="The folder to write to.", metavar="DIR"),
    recipe: str | None = typer.Option(
        None, "--recipe", help="Resize and crop images as this recipe does first.", metavar="R"
    ),
    format: str = typer.Option("bin", "--format", help="Of the files written.", metavar="bin|npy"),
) -> None:
    """Write what the device would hand to the network, as float32 NCHW with float16's values, a file per image."""
    from modelport.jobs.aipp import FORMATS, apply_aipp

    if format not in FORMATS:
        raise UsageError(f"--format {format}", unknown("formats", format, FORMATS))
    value = apply_aipp(file, images, out, recipe, format, TALK.progress)

    def draw(console: Any) -> None:
        for note in value["notes"]:
            console.aside(note)
        shape = " × ".join(map(str, value["shape"]))
        console.print(f"{len(value['files'])} files of {value['dtype']} {shape} in {out}")

    TALK.give(value, draw)
