"""Two ways to run one model, measured in turn, each in a process of its own. Shared by the bench_vs_*.py scripts."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelport as mp
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure


@dataclass(frozen=True, slots=True)
class Ran:
    """One process that measured: its figure (samples/s here), and what it took as a whole, model loading included."""

    figure: float
    peak_mib: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Setting:
    """One model, batch, threads and runs in flight, and the seconds that each side is timed."""

    model: Path
    batch: int
    in_flight: int
    threads: int
    seconds: float


Side = Callable[[Setting], Ran]


def run_process(words: Sequence[str], read: Callable[[str], float], accepted: Collection[int] = (0,)) -> Ran:
    """Run a program and take its figure from what it printed. Leaves with what it said where it failed."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode not in accepted:
        raise SystemExit(f"{' '.join(words)} failed:\n{text[-2000:]}")
    return Ran(read(text), usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def ours(engine: str) -> Side:
    """Return the side that measures with modelport's own loop, as ``modelport bench`` does for one point."""

    def side(setting: Setting) -> Ran:
        arguments = [engine, str(setting.model)]
        arguments += [str(value) for value in (setting.batch, setting.in_flight, setting.threads, setting.seconds)]
        words = [sys.executable, str(Path(__file__).resolve()), *arguments]
        return run_process(words, lambda text: float(text.splitlines()[-1]))

    return side


def measure_ours(arguments: Sequence[str]) -> float:
    """Return samples/s of one point, in this process."""
    engine, model, seconds = arguments[0], arguments[1], float(arguments[5])
    batch, in_flight, threads = map(int, arguments[2:5])
    wish = mp.Wish(batch=batch, threads=threads, in_flight=in_flight)
    with mp.open_model(model, engine, "fp32", wish=wish) as runner:
        inputs = random_inputs(runner.signature.with_batch(batch), None, 0)
        return measure(Load(runner, inputs.buffers, batch, runner.concurrency, seconds)).timed.samples_per_second


def seeded_graph(name: str = "moco-v2") -> Path:
    """Return a recipe's network (moco-v2's is a ResNet-50) with seeded random weights as ONNX, from the cache."""
    recipe = mp.load_recipe(name)
    with tempfile.TemporaryDirectory() as folder:
        return mp.export(mp.source(recipe, mp.random_weights(recipe, Path(folder) / "seeded.pth"))).path


def compare(name: str, mine: Side, other: Side, setting: Setting, *, rounds: int, bar: float) -> dict[str, Any]:
    """Measure both sides in turn, first one and then the other first; return the row of the result file.

    ``ratio`` is the median over the rounds of ours / theirs, so a load on the machine hits both sides alike.
    """
    mine_ran, other_ran = list[Ran](), list[Ran]()
    for turn in range(rounds):
        sides = [(mine, mine_ran), (other, other_ran)]
        for side, ran in sides if turn % 2 == 0 else reversed(sides):
            ran.append(side(setting))
    pairs = [(a.figure, b.figure) for a, b in zip(mine_ran, other_ran, strict=True)]
    ratio = statistics.median(a / b for a, b in pairs)
    row = {
        "name": name,
        "ours": statistics.median(a for a, _ in pairs),
        "theirs": statistics.median(b for _, b in pairs),
        "ratio": ratio,
        "bar": bar,
        "met": ratio >= bar,
        "unit": "samples/s",
        "rounds": pairs,
        "batch": setting.batch,
        "in_flight": setting.in_flight,
        "threads": setting.threads,
        "seconds": setting.seconds,
        "machine": mp.environment(),
        "peak_mib": {key: max(run.peak_mib for run in ran) for key, ran in _named(mine_ran, other_ran)},
        "cpu_seconds": {key: sum(run.cpu_seconds for run in ran) for key, ran in _named(mine_ran, other_ran)},
    }
    print(f"{name:<44} ours {row['ours']:8.2f}  theirs {row['theirs']:8.2f} samples/s  ratio {ratio:.3f} (bar {bar})")
    return row


def arguments_of(about: str | None) -> argparse.Namespace:
    """Return what both scripts are asked for."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--duration", type=float, default=5.0, help="seconds that each side is timed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=mp.environment()["cores"])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def finish(rows: list[dict[str, Any]], out: Path | None) -> None:
    """Write the rows and leave with 1 where a bar was missed."""
    if out is not None:
        out.write_text(json.dumps(rows, indent=2) + "\n")
    raise SystemExit(0 if all(row["met"] for row in rows) else 1)


def _named(mine: list[Ran], other: list[Ran]) -> list[tuple[str, list[Ran]]]:
    return [("ours", mine), ("theirs", other)]


if __name__ == "__main__":
    print(measure_ours(sys.argv[1:]))
