"""``diff``: two models, or one on two engines, on the same inputs; no recipe, no labels."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import UsageError
from modelport.core.progress import Progress, stage
from modelport.core.values import Array, Tensors
from modelport.engines.base import Build, Engine, Runner
from modelport.engines.registry import defaults, engine_for, model_artifact, opened, reference_engine
from modelport.evaluate.feeds import Feeds, Shapes, given_feeds, image_feeds, random_feeds, settled, shapes_told
from modelport.evaluate.pairing import Pair, paired_inputs, paired_outputs
from modelport.report.result import environment
from modelport.tasks.outputs.nearness import Nearness

SCHEMA = "modelport.diff/1"
RANDOM = 4
MOST_RANDOM = 10_000
# The largest difference that passes, as a share of the largest output: in fp32 sums in another order, in fp16 and bf16
# roundings to 11 and 8 bits through many layers, in int8 steps of a 256th. Chosen, not measured.
SHARES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 2e-1}


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """What ``modelport diff`` is asked for. ``second`` None: the first file on two engines."""

    first: Path
    second: Path | None = None
    engines: tuple[str, ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input of A, its whole shape)
    data: Path | None = None
    inputs: Path | None = None
    random: int | None = None
    atol: float | None = None
    rtol: float = 0.0
    seed: int = 0
    command: str = ""


@dataclass(frozen=True, slots=True)
class _Side:
    model: Artifact
    engine: Engine

    def told(self, runner: Runner) -> dict[str, Any]:
        """Return what a result says of it."""
        return {
            "path": str(self.model.path),
            "sha256": self.model.sha256,
            "engine": self.engine.name,
            "precision": runner.precision,
        }


@dataclass(frozen=True, slots=True)
class _Tolerance:
    """``atol`` None: ``share`` of the output's largest value; of whole numbers nothing."""

    atol: float | None
    rtol: float
    share: float
    precision: str

    def allowed(self, found: Nearness, whole: bool) -> float:
        """Return the largest difference that passes, absolute, beside ``rtol``."""
        return self.atol if self.atol is not None else 0.0 if whole else self.share * found.largest

    def to_json(self) -> dict[str, Any]:
        """Return what a result says of it."""
        if self.atol is not None:
            about = f"{self.atol:g}"
        else:
            about = f"{self.share:g} of the largest output, the default for {self.precision}; whole numbers equal"
        about += f"; and {self.rtol:g} of each value" if self.rtol else ""
        share = self.share if self.atol is None else None
        return {"atol": self.atol, "share_of_largest": share, "rtol": self.rtol, "about": about}


def diff(request: DiffRequest, progress: Progress) -> dict[str, Any]:
    """Run both on the same inputs and return what lies between their outputs (schema ``modelport.diff/1``).

    Raises ModelportError for whatever the user can mend.
    """
    begun, started = time.perf_counter(), datetime.now(UTC)
    _check(request)
    sides = _sides(request)
    with ExitStack() as held:
        with stage(progress, "load both models"):
            first, second = (held.enter_context(opened(one.engine, one.model, Build(precision=None))) for one in sides)
        inputs = paired_inputs(first.signature.inputs, second.signature.inputs)
        outputs = paired_outputs(first.signature.outputs, second.signature.outputs)
        feeds = _feeds(request, inputs.pairs, first, second)
        tolerance = _tolerance(request, first.precision, second.precision)
        found = _compared(feeds, inputs.pairs, outputs.pairs, (first, second), request.rtol, progress)
        told = [side.told(runner) for side, runner in zip(sides, (first, second), strict=True)]
    rows = [_row(pair, near, tolerance) for pair, near in zip(outputs.pairs, found, strict=True)]
    return {
        "schema": SCHEMA,
        "a": told[0],
        "b": told[1],
        "inputs": feeds.to_json(),
        "tolerance": tolerance.to_json(),
        "outputs": rows,
        "within": all(row["within"] for row in rows),
        "notes": [*inputs.notes, *outputs.notes, *feeds.notes],
        "environment": environment(),
        "seed": request.seed,
        "command": request.command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - begun,
    }


def _check(request: DiffRequest) -> None:
    """Raise UsageError for options that do not go together, or no values of theirs."""
    ways = {"--data": request.data, "--inputs": request.inputs, "--random": request.random}
    if len(given := [name for name, value in ways.items() if value is not None]) > 1:
        raise UsageError(f"{given[0]} and {given[1]} both say what the models are fed", "give one of them")
    if request.inputs is not None and request.shapes:
        raise UsageError("--shape says nothing to --inputs: the arrays have their shapes", "leave --shape out")
    if request.random is not None and not 1 <= request.random <= MOST_RANDOM:
        raise UsageError(f"--random {request.random}", f"give a number from 1 to {MOST_RANDOM}")
    for option, value in (("--atol", request.atol), ("--rtol", request.rtol)):
        if value is not None and not 0 <= value < math.inf:
            raise UsageError(f"{option} {value}", "give a number of at least 0")


def _sides(request: DiffRequest) -> tuple[_Side, _Side]:
    """Return both models with their engines: as named, else the fastest usable one for the kind of file.

    Of one file the first runs on the first of two engines, else on the reference runtime of ONNX. Raises UsageError
    where a file would be held against itself on the same engine.
    """
    names = request.engines
    if len(names) > 2:
        raise UsageError(f"--engine {','.join(names)}: two models run on two engines at most", "name one or two")
    model = model_artifact(request.first)
    other = model if request.second is None else model_artifact(request.second)
    if request.second is not None or len(names) == 2:
        one, two = (names[0], names[-1]) if names else (None, None)
        sides = _Side(model, engine_for(model, one)), _Side(other, engine_for(other, two))
    else:
        base = reference_engine() if model.kind == "onnx" else engine_for(model, names[0] if names else None)
        sides = _Side(model, base), _Side(model, engine_for(model, names[0]) if names else _another(model, base))
    if sides[0].engine.name == sides[1].engine.name and model.identity == other.identity:
        raise UsageError(
            f"{request.first} on {sides[0].engine.name} would be held against itself",
            "give a second file, or two engines: --engine E,E",
        )
    return sides


def _another(model: Artifact, base: Engine) -> Engine:
    """Return the fastest usable engine for the file but ``base``; ``base`` where there is none."""
    able = (engine for engine in defaults() if model.kind in engine.consumes and engine.name != base.name)
    return next((engine for engine in able if engine.available().usable), base)


def _feeds(request: DiffRequest, pairs: Sequence[Pair], first: Runner, second: Runner) -> Feeds:
    """Return what both are fed. Raises UsageError for what they do not take."""
    if request.inputs is not None:
        return given_feeds(request.inputs, pairs)

    def runs(shapes: Shapes) -> None:
        feed = next(random_feeds(shapes, pairs, 1, request.seed).stream())
        for runner, side in ((first, 0), (second, 1)):
            runner.run(_for_side(feed, pairs, side))

    shapes, notes = settled(pairs, shapes_told(request.shapes, pairs), runs)
    if request.data is not None:
        return image_feeds(request.data, shapes, pairs, request.seed, notes)
    return random_feeds(shapes, pairs, request.random or RANDOM, request.seed, notes)


def _for_side(feed: Tensors, pairs: Sequence[Pair], side: int) -> dict[str, Array]:
    """Return the arrays by a model's own names and in its dtypes."""
    specs = [(pair.first, pair.second)[side] for pair in pairs]
    return {
        spec.name: feed[pair.first.name].astype(spec.dtype, copy=False) for spec, pair in zip(specs, pairs, strict=True)
    }


def _compared(
    feeds: Feeds,
    inputs: Sequence[Pair],
    outputs: Sequence[Pair],
    runners: tuple[Runner, Runner],
    rtol: float,
    progress: Progress,
) -> list[Nearness]:
    """Run both on everything and return what lies between each pair of outputs.

    Raises UsageError where two outputs have different shapes.
    """
    found = [Nearness(rtol) for _ in outputs]
    with progress.bar("comparing", feeds.count, "inputs") as bar:
        for feed in feeds.stream():
            mine, theirs = (runner.run(_for_side(feed, inputs, side)) for side, runner in enumerate(runners))
            for pair, near in zip(outputs, found, strict=True):
                want, got = mine[pair.first.name], theirs[pair.second.name]
                if want.shape != got.shape:
                    raise UsageError(
                        f"the output '{pair.first.name}' is {want.shape} from the first model and {got.shape} from "
                        "the second",
                        "compare models that answer in the same shape",
                    )
                near.take(got, want)
            bar.advance()
    return found


def _tolerance(request: DiffRequest, *precisions: str) -> _Tolerance:
    """Return the tolerance asked for, else the default of the coarser precision."""
    coarser = max(precisions, key=lambda name: SHARES.get(name, 0.0))
    return _Tolerance(request.atol, request.rtol, SHARES.get(coarser, SHARES["fp32"]), coarser)


def _row(pair: Pair, found: Nearness, tolerance: _Tolerance) -> dict[str, Any]:
    whole = all(np.dtype(spec.dtype).kind != "f" for spec in (pair.first, pair.second))
    allowed = tolerance.allowed(found, whole)
    return {
        "name": pair.first.name,
        "other_name": pair.second.name,
        "paired_by": pair.by,
        **found.near().to_json(),
        "allowed": allowed,
        "within": found.beyond <= allowed,
    }
