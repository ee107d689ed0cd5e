"""Verbs of the command line in this process, and one model's pure speed: what several benchmarks measure."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import modelport as mp
from modelport.cli.main import main
from modelport.measure.inputs import random_inputs
from modelport.measure.load import Load, measure

# On random weights or drawn images a verdict may be any: pass, fail, inconclusive.
VERDICTS = (0, 1, 3)


def verb(*words: object) -> None:
    """Run ``modelport`` with these words. Leaves with what it said where it failed."""
    said, code = io.StringIO(), None
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main(["--quiet", *map(str, words)])
        except SystemExit as left:
            code = left.code
    if code not in VERDICTS:
        raise SystemExit(f"modelport {' '.join(map(str, words))} failed:\n{said.getvalue()[-2000:]}")


def run(*words: object, out: Path) -> mp.Result:
    """Walk the whole road as ``modelport run`` does, into ``out``, and return the result."""
    verb("run", *words, "--out", out, "--force")
    return mp.Result.from_json(json.loads((out / "result.json").read_text(encoding="utf-8")))


def speed(result: mp.Result) -> float:
    """Return samples/s from files on disk to the end of the road."""
    assert result.samples_per_second is not None
    return result.samples_per_second


def setting(recipe: mp.Recipe, wish: mp.Wish, out: Path) -> Path:
    """Write what ``run --setting`` takes: the one way to say how many runs are in flight."""
    values = {
        "schema": "modelport.setting/1",
        "recipe": recipe.name,
        "engine": wish.engine,
        "precision": wish.precision,
        "batch": wish.batch or recipe.run.batch,
        "concurrency": wish.in_flight,
        "threads": wish.threads or mp.environment()["cores"],
        "input_type": wish.input_type,
    }
    out.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()), encoding="utf-8")
    return out


def pure(model: mp.Model, recipe: mp.Recipe, batch: int, seconds: float) -> float:
    """Return samples/s of inference alone, on random inputs."""
    with model.open() as runner:
        inputs = random_inputs(runner.signature.with_batch(batch), recipe, 0)
        return measure(Load(runner, inputs.buffers, batch, runner.concurrency, seconds)).timed.samples_per_second
