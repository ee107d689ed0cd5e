"""``preprocess`` and ``evaluate``: step by step through files, as the guides do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK
from modelport.cli.options import (
    COCO_JSON,
    DATA,
    DETECTIONS,
    DRAW,
    DRAW_THRESHOLD,
    FORCE,
    LIMIT,
    MAX_SKIPPED,
    NO_THUMBNAILS,
    ON_BAD_IMAGE,
    ORDER,
    RECIPE,
    STYLE,
    VARIANT,
    input_word,
    one_of,
    seed_option,
)
from modelport.core.errors import EXIT_INCONCLUSIVE

SEED = seed_option("Draws the views of contrastive data, and their pairs.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(preprocess)
    app.command()(evaluate)


def preprocess(
    recipe: str = RECIPE,
    data: Path = DATA,
    out: Path = typer.Option(
        ..., "--out", help="Where the tensors go; labels.npy goes beside it. What ais_bench takes.", metavar="DIR"
    ),
    format: str = typer.Option("bin", "--format", help="Raw bytes, or NumPy files.", metavar="bin|npy"),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Rows in a file. Default: 1.", metavar="N"),
    input_type: str | None = typer.Option(
        None,
        "--input-type",
        help="float32 NCHW, or uint8 NHWC before normalisation. Default: float32; in a guide's style the guide's.",
        metavar="float32|uint8",
    ),
    style: str = STYLE,
    seed: int = SEED,
    variant: str | None = VARIANT,
    limit: int | None = LIMIT,
    order: str | None = ORDER,
    max_skipped: float = MAX_SKIPPED,
    on_bad_image: str = ON_BAD_IMAGE,
    force: bool = typer.Option(False, "--force", help="Replace tensors that lie there."),
) -> None:
    """Write a data set as tensor files, with its labels and an index.

    Exit code 3 where more than --max-skipped of the images have no tensor.
    """
    from modelport.jobs.preprocess import PreprocessRequest
    from modelport.jobs.preprocess import preprocess as run_preprocess

    request = PreprocessRequest(
        recipe=recipe,
        data=data,
        out=out,
        format=one_of("--format", format, ("bin", "npy")),
        batch_size=batch_size,
        input_type=input_word(input_type),
        style=one_of("--style", style, ("modelport", "guide")),
        seed=seed,
        variant=variant,
        limit=limit,
        order=order,
        max_skipped=max_skipped,
        on_bad_image=one_of("--on-bad-image", on_bad_image, ("fail", "skip")),
        force=force,
        command=runs.COMMAND,
    )
    value = run_preprocess(request, TALK.progress)

    def draw(console: Any) -> None:
        for note in value["notes"]:
            console.aside(f"note: {note}")
        shape = " × ".join(map(str, value["shape"]))
        console.print(
            f"{value['files']} files, {value['rows']} rows of {value['dtype']} {shape} ({value['layout']}), "
            f"{value['size']} in {value['out']}",
            soft_wrap=True,
        )
        for path in (value["index"], *(value["labels"].get(key) for key in ("json", "npy")), value["info"]):
            if path:
                console.aside(path, soft_wrap=True)

    TALK.give(value, draw)
    if not value["complete"]:
        raise typer.Exit(EXIT_INCONCLUSIVE)


def evaluate(
    recipe: str = RECIPE,
    results: Path = typer.Option(
        ...,
        "--results",
        help="What ais_bench left: BIN, NPY or TXT files, or the folder of the one run.",
        metavar="DIR",
    ),
    data: Path = DATA,
    style: str = STYLE,
    tensors: Path | None = typer.Option(
        None, "--tensors", help="What preprocess wrote: pairs by its index, knows skipped images.", metavar="DIR"
    ),
    score_threshold: float | None = typer.Option(
        None,
        "--score-threshold",
        help="Detectors: drop boxes below it. Default: 0.05 in files and in the guide's figures.",
        metavar="X",
    ),
    draw: Path | None = DRAW,
    draw_threshold: float | None = DRAW_THRESHOLD,
    detections: Path | None = DETECTIONS,
    coco_json: Path | None = COCO_JSON,
    out: Path | None = typer.Option(
        None, "--out", help="result.json, report.md and predictions.jsonl go here.", metavar="DIR"
    ),
    no_thumbnails: bool = NO_THUMBNAILS,
    seed: int = SEED,
    variant: str | None = VARIANT,
    limit: int | None = LIMIT,
    order: str | None = ORDER,
    max_skipped: float = MAX_SKIPPED,
    force: bool = FORCE,
) -> None:
    """Score saved outputs: the figures that `run` gives.

    Exit code: as `run`; with --style guide 0, as the guide's scripts give no verdict.
    """
    from modelport.jobs.evaluate import EvaluateRequest
    from modelport.jobs.evaluate import evaluate as run_evaluate
    from modelport.report.detections import DetectionFiles
    from modelport.verdict.settings import Judging

    request = EvaluateRequest(
        recipe=recipe,
        results=results,
        data=data,
        style=one_of("--style", style, ("modelport", "guide")),
        tensors=tensors,
        out=out,
        variant=variant,
        seed=seed,
        limit=limit,
        order=order,
        judging=Judging(max_skipped=max_skipped),
        force=force,
        files=DetectionFiles(draw, detections, coco_json, score_threshold, draw_threshold),
        command=runs.COMMAND,
        thumbnails=not no_thumbnails,
    )
    found = run_evaluate(request, TALK.progress)
    if request.style == "guide":
        TALK.give(found.guide, lambda console: _draw_guide(console, found))
        return
    TALK.give(found.result.to_json(), lambda console: runs.draw_run(console, found.result, out))
    raise typer.Exit(runs.EXIT_CODES[found.result.verdict])


def _draw_guide(console: Any, found: Any) -> None:
    from modelport.report.guide_json import accuracy_line

    console.print(found.guide["title"])
    for row in found.guide["value"]:
        if row["key"] == "accuracy1":
            score = found.result.metrics["contrastive_top1"]
            console.print(accuracy_line(score.value, score.n), highlight=False)
            continue
        console.print(f"{row['key']}: {row['value']}")
