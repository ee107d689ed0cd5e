"""``samples``: small data and weights made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK
from modelport.cli.options import RECIPE, seed_option, trust_option
from modelport.data.drawn.table import DRAWN

# What may be drawn: more than any published validation set.
MOST_IMAGES = 1_000_000

app = typer.Typer(help="Make small data sets and weights on the spot.")


@app.command()
def data(
    kind: str = typer.Argument(help=f"One of {', '.join(DRAWN)}.", metavar="KIND"),
    out: Path = typer.Option(..., "--out", help="A folder that does not exist yet, or is empty.", metavar="DIR"),
    count: int | None = typer.Option(None, "--count", help="Validation images.", metavar="N", min=1, max=MOST_IMAGES),
    seed: int = seed_option(),
) -> None:
    """Draw a small data set in the published layout, with a training and a validation split."""
    from modelport.jobs.samples import make_data

    value = make_data(kind, out, count, seed, TALK.progress) | {"path": str(out)}
    TALK.give(value, lambda console: _lines(console, value))


@app.command()
def weights(
    recipe: str = RECIPE,
    data: Path = typer.Option(..., "--data", help="A data set with a training split.", metavar="DIR"),
    out: Path = typer.Option(..., "--out", help="The checkpoint to write.", metavar="FILE"),
    seed: int = seed_option(),
    trust_code: bool = trust_option(),
) -> None:
    """Fit a checkpoint in the published wrapping on the training split."""
    from modelport.jobs.samples import make_weights

    artifact = make_weights(recipe, data, out, seed, TALK.progress)
    value = {"path": str(artifact.path), "sha256": artifact.sha256}
    TALK.give(value, lambda console: _lines(console, value))


def _lines(console: Any, value: dict[str, Any]) -> None:
    for key, entry in value.items():
        console.print(f"{key}: {entry}")
