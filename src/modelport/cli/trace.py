"""``trace``: the first stage, and in it the first node, that departs from the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK, cell, grid, word
from modelport.cli.options import (
    CALIBRATION,
    CHECKPOINT_KEY,
    DATA,
    ENGINE,
    FORCE,
    RECIPE,
    SHAPE,
    TIMEOUT,
    VARIANT,
    WEIGHTS,
    input_word,
    seed_option,
    shapes_of,
    source_file,
    trust_option,
)
from modelport.core.errors import EXIT_INCONCLUSIVE, EXIT_PASS
from modelport.engines import help as engine_help


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(trace)


def trace(
    recipe: str = RECIPE,
    weights: Path | None = WEIGHTS,
    checkpoint_key: str | None = CHECKPOINT_KEY,
    source: str | None = typer.Option(
        None, "--source", help="What defines the right answer, where no checkpoint does.", metavar="FILE.onnx|FILE.pt2"
    ),
    model: Path | None = typer.Option(
        None, "--model", help="The file that is off: ONNX, or what an engine compiled of it.", metavar="FILE"
    ),
    data: Path = DATA,
    out: Path = typer.Option(..., "--out", help="Where trace.json and trace.md go.", metavar="DIR"),
    engine: str | None = ENGINE,
    precision: str | None = typer.Option(
        None, "--precision", help=f"{engine_help.PRECISION} With an ONNX --model: what that computes in.", metavar="P"
    ),
    batch: int | None = typer.Option(None, "--batch", help="Default: the recipe's.", metavar="N"),
    samples: int = typer.Option(
        32, "--samples", help="Samples that go through the stages, drawn by --seed.", metavar="N"
    ),
    calibration: Path | None = CALIBRATION,
    input_type: str | None = typer.Option(
        None, "--input-type", help="uint8: the graph normalises by itself. Default: float32.", metavar="float32|uint8"
    ),
    explorer: Path | None = typer.Option(
        None, "--explorer", help="Node data for Model Explorer goes here.", metavar="FILE"
    ),
    plan_out: Path | None = typer.Option(
        None, "--plan-out", help="The precision plan that keeps the culprits in float goes here.", metavar="FILE"
    ),
    apply: bool = typer.Option(False, "--apply", help="Make the repaired file, and judge both before and after."),
    limit: int | None = typer.Option(
        None, "--limit", help="Samples of --data that --apply judges on. Default: all.", metavar="N"
    ),
    seed: int = seed_option(),
    variant: str | None = VARIANT,
    shape: list[str] = SHAPE,
    force: bool = FORCE,
    timeout: float = TIMEOUT,
    trust_code: bool = trust_option(),
) -> None:
    """Where a port departs from its source: the stage, the node, the cause and what mends it.

    Exit code: 0 ended, 2 wrong usage or bad input, 3 nothing could be told.
    """
    from modelport.engines.time_limit import limit_runs
    from modelport.jobs.trace.request import TraceRequest
    from modelport.jobs.trace.trace import trace as run_trace
    from modelport.report.trace_text import nothing_told
    from modelport.stages.plan import Wish

    limit_runs(timeout)
    request = TraceRequest(
        recipe=recipe,
        data=data,
        out=out,
        weights=weights,
        source=source_file(source),
        model=model,
        wish=Wish(engine, precision, batch, input_word(input_type) or "float32", calibration=calibration),
        samples=samples,
        seed=seed,
        variant=variant,
        shapes=shapes_of(shape),
        checkpoint_key=checkpoint_key,
        explorer=explorer,
        plan_out=plan_out,
        apply=apply,
        limit=limit,
        force=force,
        command=runs.COMMAND,
    )
    value = run_trace(request, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value, out))
    raise typer.Exit(EXIT_INCONCLUSIVE if nothing_told(value) else EXIT_PASS)


def _draw(console: Any, value: dict[str, Any], out: Path) -> None:
    from modelport.report.trace_text import COLUMNS, error, sentence, stage_row

    name, *figures, last = COLUMNS
    table = grid((name,), figures, (last,))
    for stage in value["stages"]:
        *cells, verdict = stage_row(stage)
        table.add_row(*map(cell, cells), word(verdict))
    console.aside(table)
    for stage in value["stages"]:
        if stage["verdict"] != "pass":
            console.aside(f"{stage['name']}: {stage['why']}")
    for row in value["culprits"]:
        module = f" (module {row['module']})" if row["module"] else ""
        errors = f"local error {error(row['local_error'])}, explained {error(row['expected_error'])}"
        console.aside(f"{row['op']} '{row['node']}'{module}: {errors}", soft_wrap=True)
        console.aside(f"  why: {row['why']}", soft_wrap=True)
        console.aside(f"  fix: {row['fix']}", soft_wrap=True)
    if (applied := value.get("applied")) is not None:
        _draw_applied(console, applied)
    for note in value["notes"]:
        console.aside(f"note: {note}", soft_wrap=True)
    console.print(sentence(value), soft_wrap=True)
    console.print(f"report: {out / 'trace.md'}", soft_wrap=True)


def _draw_applied(console: Any, applied: dict[str, Any]) -> None:
    from modelport.report.trace_text import JUDGED, judged_row

    if applied["before"] is not None:
        table = grid(JUDGED)
        for name in ("before", "after"):
            table.add_row(*map(cell, judged_row(name, applied[name])))
        console.aside(table)
    console.print(
        word("repaired" if applied["repaired"] else "not repaired") + cell(f": {applied['why']}"), soft_wrap=True
    )
    if applied["repaired"]:
        console.print(f"{applied['by']}: {applied['file']}", soft_wrap=True)
