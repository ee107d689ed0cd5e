"""``run`` and ``demo``: the whole road."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from modelport.cli.console import TALK, cell, grid, word
from modelport.cli.options import (
    CALIBRATION,
    CHECKPOINT_KEY,
    COCO_JSON,
    CONFIDENCE,
    DETECTIONS,
    DRAW,
    DRAW_THRESHOLD,
    ENGINE,
    FORCE,
    MAX_DROP,
    MAX_SKIPPED,
    NO_THUMBNAILS,
    ON_BAD_IMAGE,
    ORDER,
    RECIPE,
    SHAPE,
    SOURCE,
    TIMEOUT,
    VARIANT,
    WEIGHTS,
    input_word,
    one_of,
    seed_option,
    shapes_of,
    source_file,
    trust_option,
)
from modelport.core.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_PASS
from modelport.engines import help as engine_help

if TYPE_CHECKING:
    from modelport.report.result import Result

EXIT_CODES = {"pass": EXIT_PASS, "fail": EXIT_FAIL, "inconclusive": EXIT_INCONCLUSIVE, "incomplete": EXIT_INCONCLUSIVE}
# What fits into a column.
SHORT = {"contrastive_top1": "pairs"}
# The line that was typed, for the result file; main() sets it.
COMMAND = ""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(demo)


def run(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    checkpoint_key: str | None = CHECKPOINT_KEY,
    model: Path | None = typer.Option(None, "--model", help="A model file in place of weights.", metavar="FILE.onnx"),
    source: str | None = SOURCE,
    data: Path | None = typer.Option(
        None, "--data", help="The data set, laid out as the guide shows it.", metavar="DIR"
    ),
    images: Path | None = typer.Option(
        None, "--images", help="In place of --data: a folder of images without labels, nested or not.", metavar="DIR"
    ),
    labels: Path | None = typer.Option(
        None, "--labels", help="Of --images: a file or folder of labels, of any kind in docs/data.md.", metavar="PATH"
    ),
    predict: bool = typer.Option(False, "--predict", help="Look at no label: answers, and agreement with the source."),
    out: Path = typer.Option(
        ..., "--out", help="Where result.json, report.md and predictions.jsonl go.", metavar="DIR"
    ),
    engine: str | None = ENGINE,
    precision: str | None = typer.Option(None, "--precision", help=engine_help.PRECISION, metavar="P"),
    batch: int | None = typer.Option(None, "--batch", help="Default: the recipe's.", metavar="N"),
    limit: int | None = typer.Option(None, "--limit", help="Score N samples only, drawn by --order.", metavar="N"),
    order: str | None = ORDER,
    until_decided: bool = typer.Option(
        False, "--until-decided", help="Draw samples at random and stop as soon as the verdict is certain."
    ),
    confidence: float = CONFIDENCE,
    max_drop: float | None = MAX_DROP,
    max_skipped: float = MAX_SKIPPED,
    seed: int = seed_option(),
    variant: str | None = VARIANT,
    shape: list[str] = SHAPE,
    calibration: Path | None = CALIBRATION,
    input_type: str | None = typer.Option(
        None, "--input-type", help="uint8: the graph normalises by itself. Default: float32.", metavar="float32|uint8"
    ),
    on_bad_image: str = ON_BAD_IMAGE,
    setting: Path | None = typer.Option(
        None, "--setting", help="What `tune` wrote; flags that are given beat it.", metavar="FILE"
    ),
    device: int = typer.Option(0, "--device", help="Which device, for an engine that has several.", metavar="D", min=0),
    fast_preprocess: bool = typer.Option(
        False, "--fast-preprocess", help="Resize the quicker way; the result says how far the pixels are off."
    ),
    force: bool = FORCE,
    draw: Path | None = DRAW,
    draw_threshold: float | None = DRAW_THRESHOLD,
    detections: Path | None = DETECTIONS,
    coco_json: Path | None = COCO_JSON,
    no_thumbnails: bool = NO_THUMBNAILS,
    timeout: float = TIMEOUT,
    trust_code: bool = trust_option(),
) -> None:
    """Everything in one command: weights to engine, data to verdict, nothing in between on disk.

    Exit code: 0 pass, 1 fail, 2 wrong usage or bad input, 3 inconclusive or incomplete.
    """
    from modelport.engines.time_limit import limit_runs
    from modelport.jobs.run import run as run_recipe
    from modelport.jobs.run_request import RunRequest, wish_of
    from modelport.report.detections import DetectionFiles
    from modelport.verdict.settings import Judging

    limit_runs(timeout)
    input_type = input_word(input_type)
    given = {"engine": engine, "precision": precision, "batch": batch, "input_type": input_type, "device": device}
    request = RunRequest(
        recipe=recipe,
        data=data,
        out=out,
        weights=weights,
        model=model,
        source=source_file(source),
        limit=limit,
        order=order,
        judging=Judging(confidence, max_drop, max_skipped, until_decided),
        seed=seed,
        variant=variant,
        shapes=shapes_of(shape),
        checkpoint_key=checkpoint_key,
        on_bad_image=one_of("--on-bad-image", on_bad_image, ("fail", "skip")),
        force=force,
        files=DetectionFiles(draw, detections, coco_json, draw_threshold=draw_threshold),
        command=COMMAND,
        fast=fast_preprocess,
        images=images,
        labels=labels,
        predict=predict,
        thumbnails=not no_thumbnails,
        wish=wish_of(recipe, setting, given | {"calibration": calibration}),
    )
    result = run_recipe(request, TALK.progress)
    TALK.give(result.to_json(), lambda console: draw_run(console, result, out))
    raise typer.Exit(EXIT_CODES[result.verdict])


def demo(
    everything: bool = typer.Option(False, "--all", help="All five models; takes up to ten minutes on two cores."),
    out: Path = typer.Option(Path("demo"), "--out", help="Where samples and results go.", metavar="DIR"),
) -> None:
    """Make sample data and weights, then do the main job on every usable engine and compare.

    Exit code: 0 unless a verdict is fail.
    """
    from modelport.jobs.demo import demo as run_demo
    from modelport.report.sentence import sentence

    value = run_demo(out, everything, COMMAND, TALK.progress)

    def draw(console: Any) -> None:
        console.aside(_table(value.runs))
        for engine, why in value.skipped_engines.items():
            console.aside(f"not run: {engine}: {why}")
        console.aside("accuracy and agreement in percent, mAP 0 to 1; pairs: contrastive_top1; img/s end to end")
        console.aside("sample data and sample weights: the figures say nothing of the published model")
        for report in value.reports:
            console.aside(f"report: {report}", soft_wrap=True)
        for result in value.runs:
            console.aside(f"{result.recipe} on {result.engine}: {sentence(result)}", soft_wrap=True)
        console.print(cell("verdict: ") + word(value.verdict))
        if value.page is not None:
            console.print(value.page, soft_wrap=True)

    TALK.give(value.to_json(), draw)
    raise typer.Exit(EXIT_FAIL if value.verdict == "fail" else EXIT_PASS)


def draw_run(console: Any, result: Result, out: Path | None) -> None:
    """Show a result: its row, what did not pass, what is to be said, and where the report lies."""
    console.aside(_table([result]))
    for check in result.checks:
        if check.verdict not in ("pass", "not_applicable"):
            console.aside(word(check.verdict) + cell(f" {check.name}: {check.why}"))
    for note in (*result.notes, *result.speed.warnings):
        console.aside(f"note: {note}")
    console.aside(f"{result.n} samples, {result.skipped} skipped, {_rate(result)} samples/s end to end")
    from modelport.report.sentence import sentence

    console.aside(result.rests_on)
    console.aside(sentence(result))
    report = f"   report: {out / 'report.md'}" if out else ""
    console.print(cell("verdict: ") + word(result.verdict) + cell(report), soft_wrap=True)


def _rate(result: Result) -> str:
    """Return the throughput end to end; a dash where saved outputs were scored and nothing ran."""
    from modelport.report.markdown import number

    return number(result.samples_per_second, 1)


def _table(results: Sequence[Result]) -> Any:
    """Return one row per result."""
    from modelport.report.markdown import number

    table = grid(("model", "engine", "prec."), ("n", "accuracy", "source", "agree", "img/s"), ("verdict",))
    for result in results:
        metrics, source = result.metrics, result.source.metrics
        # The recipe's first metric is the one that it is known by.
        name, score = next((item for item in metrics.items() if item[0] != "source_agreement"), ("", None))
        digits = 2 if score is not None and score.unit == "percent" else 3
        agreement = metrics.get("source_agreement")
        cells = (
            result.recipe,
            number(result.engine),
            number(result.precision),
            str(result.n),
            f"{SHORT.get(name, name)} {number(score and score.value, digits)}",
            number(source[name].value, digits) if name in source else "–",
            number(agreement.value) if agreement else "–",
            _rate(result),
        )
        table.add_row(*map(cell, cells), word(result.verdict))
    return table
