"""``bench``: how fast a model runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli import runs
from modelport.cli.console import TALK, cell, grid
from modelport.cli.options import (
    ENGINE,
    SHAPE,
    TIMEOUT,
    VARIANT,
    WEIGHTS,
    batch_size,
    input_word,
    seed_option,
    shapes_of,
    trust_option,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(bench)


def bench(
    recipe: str | None = typer.Argument(None, help="A recipe: its name, or a .toml file.", metavar="RECIPE"),
    weights: Path | None = WEIGHTS,
    model: Path | None = typer.Option(None, "--model", help="A model file; it needs no recipe.", metavar="FILE"),
    engine: str | None = ENGINE,
    precision: str | None = typer.Option(
        None, "--precision", help="Default: fp32; a --model FILE runs in what it is.", metavar="P"
    ),
    batch: str | None = typer.Option(None, "--batch", help="Default: the recipe's list.", metavar="N,N,…"),
    duration: float = typer.Option(5.0, "--duration", help="Seconds of each point, warm-up apart.", metavar="S"),
    concurrency: int | None = typer.Option(
        None, "--concurrency", help="Runs in flight. Default: the best, found by measuring.", metavar="N"
    ),
    threads: int | None = typer.Option(None, "--threads", help="Default: all cores.", metavar="N"),
    seed: int = seed_option("Draws the inputs."),
    variant: str | None = VARIANT,
    shape: list[str] = SHAPE,
    calibration: Path | None = typer.Option(
        None, "--calibration", help="Images that --precision int8 is calibrated on.", metavar="DIR"
    ),
    input_type: str = typer.Option(
        "float32", "--input-type", help="uint8: the graph normalises by itself.", metavar="float32|uint8"
    ),
    timeout: float = TIMEOUT,
    trust_code: bool = trust_option(),
) -> None:
    """Pure inference on random inputs: samples/s and latency by batch, beside the published speeds."""
    from modelport.engines.time_limit import limit_runs
    from modelport.jobs.bench import bench as run_bench
    from modelport.stages.bench_model import BenchRequest

    limit_runs(timeout)
    request = BenchRequest(
        recipe=recipe,
        weights=weights,
        model=model,
        engine=engine,
        precision=precision,
        batches=None if batch is None else _batches(batch),
        duration=duration,
        concurrency=concurrency,
        threads=threads,
        variant=variant,
        shapes=shapes_of(shape),
        calibration=calibration,
        input_type=input_word(input_type),
        seed=seed,
        command=runs.COMMAND,
    )
    value = run_bench(request, TALK.progress)
    TALK.give(value, lambda console: _draw(console, value))


def _batches(text: str) -> tuple[int, ...]:
    fix = "give numbers with commas between, as in --batch 1,4,8"
    sizes = {batch_size(word.strip(), fix) for word in text.split(",")}
    return tuple(sorted(sizes))


def _draw(console: Any, value: dict[str, Any]) -> None:
    from modelport.report.markdown import number

    name = value["recipe"] or Path(value["artifacts"][-1]["path"]).name
    console.aside(f"{name} on {value['engine']}, {value['precision']}, {value['threads']} threads")
    console.aside(_points(value["points"]))
    best = value["best"]
    said = f"best: batch {best['batch']}, {best['in_flight']} in flight: {number(best['value'], 1)} samples/s"
    console.print(" ".join([said, *(f"({flag['short']})" for flag in best["flags"])]))
    for warning in value["speed_warnings"]:
        console.aside(warning)
    for speed in value["published"]:
        console.aside()
        console.aside(f"published: {speed['device']}, {speed['source']}")
        console.aside(_published(speed))
        for said in (speed["note"], *(flag["text"] for flag in speed["flags"])):
            if said:
                console.aside(f"note: {said}")
    console.aside()
    console.aside("latency: of one run of one batch, host to host; samples/s: tensors in memory to outputs in memory")
    if value["copies"]:
        console.aside(f"copies: {value['copies']}")
    console.aside(f"inputs: {value['inputs']}")
    for check in value["checks"]:
        if check["verdict"] != "fail":  # that one is a warning
            console.aside(f"answers: {check['why']}")
    for note in value["notes"]:
        console.aside(f"note: {note}")


def _points(points: list[dict[str, Any]]) -> Any:
    from modelport.report.markdown import number

    copies = any(point["device"] for point in points)
    columns = ("batch", "in flight", "samples/s", "latency ms", "p99 ms", "runs")
    table = grid((), columns + (("h2d ms", "compute", "d2h") if copies else ()), ("beside it",))
    for point in points:
        latency = point["latency_ms"]
        cells = [
            str(point["batch"]),
            str(point["in_flight"]),
            number(point["throughput"]["value"], 1),
            number(latency["median"]),
            number(latency["p99"]),
            str(latency["count"]),
        ]
        if copies:
            clocks = (point["device"] or {}).get("latency_ms", {})
            cells += [number(clocks.get(name, {}).get("median"), 3) for name in ("h2d", "compute", "d2h")]
        table.add_row(*map(cell, cells), cell(", ".join(flag["short"] for flag in point["flags"])))
    return table


def _published(speed: dict[str, Any]) -> Any:
    from modelport.report.markdown import number

    columns = ("batch", f"printed {speed['printed_unit']}", "samples/s", "here", "here / there")
    table = grid((), columns, ("beside it",))
    for row in speed["figures"]:
        flags = [flag["short"] for flag in (*row["flags"], *speed["flags"])]
        printed = row.get("printed_batch")
        flags += [f"printed as batch {printed}"] * bool(printed)
        said = (
            str(row["batch"]),
            number(row["value"], 1),
            number(row["samples_per_second"], 1),
            number(row["ours"], 1),
            number(row["ratio"], 3),
            ", ".join(flags),
        )
        table.add_row(*map(cell, said))
    best = speed["best"]
    cells = (f"best {best['batch']}", "", number(best["samples_per_second"], 1), "", number(best["ratio"], 3))
    table.add_row(*cells, "this machine's best by it")
    return table
