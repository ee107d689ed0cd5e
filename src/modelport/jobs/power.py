"""``power``: which faults, planted into copies of the user's own model, a run would have noticed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import write_json
from modelport.core.errors import UsageError
from modelport.core.output_folder import drop_old_result, held_folder
from modelport.core.progress import Progress, stage
from modelport.core.scratch import scratch_folder
from modelport.core.text import listed
from modelport.core.values import DataSet, Sample
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.diagnose.asking import Answers, ask
from modelport.diagnose.faults.table import GRAPH_FAULTS
from modelport.diagnose.power.planting import UNCHANGED, Judge, Port, Reach, smallest_noticed_drop
from modelport.diagnose.power.plants import Plant, chosen, of_the_port
from modelport.diagnose.power.trial import MOST_REPLAYED, Found, Trial
from modelport.engines.source import Source
from modelport.model.graph.file import read_graph
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.report.result import environment
from modelport.stages.plan import Given, Plan, Wish
from modelport.stages.port import ported, source_for
from modelport.tasks.table import need_labels
from modelport.verdict.rules import is_full_set
from modelport.verdict.settings import Judging

SCHEMA = "modelport.power/1"
POWER = "power.json"
FAULTS_PLANTED = 24
MOST_FAULTS = 1000
# Samples that each faulty model answers, where the run would take more: its verdict is replayed from these.
MOST_ANSWERED = 256
# Of the answers of one model; those of the source, of the healthy port and of a faulty one are in memory together.
MOST_BYTES = 256 * 1024 * 1024
REPLAYS = 20
MOST_REPLAYS = 1000


@dataclass(frozen=True, slots=True)
class PowerRequest:
    """What ``modelport power`` is asked for."""

    recipe: str
    data: Path
    out: Path
    weights: Path | None = None
    source: Path | None = None
    wish: Wish = field(default_factory=Wish)
    faults: int = FAULTS_PLANTED
    replays: int = REPLAYS
    limit: int | None = None
    order: str | None = None
    judging: Judging = field(default_factory=Judging)
    variant: str | None = None
    seed: int = 0
    force: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        """Raise UsageError for numbers that are none."""
        for option, value, least, most in (
            ("--faults", self.faults, 1, MOST_FAULTS),
            ("--replays", self.replays, 0, MOST_REPLAYS),
        ):
            if not least <= value <= most:
                raise UsageError(f"{option} {value}", f"give a number from {least} to {most}")


def power(request: PowerRequest, progress: Progress) -> dict[str, Any]:
    """Plant, run and judge, write power.json and return what it holds (schema ``modelport.power/1``).

    Raises ModelportError for whatever the user can mend.
    """
    with ExitStack() as held:
        return _power(request, progress, held)


def _power(request: PowerRequest, progress: Progress, held: ExitStack) -> dict[str, Any]:
    clock, begun = time.perf_counter(), datetime.now(UTC)
    recipe = load_recipe(request.recipe).with_variant(request.variant)
    need_labels(recipe)
    plan = Plan.of(recipe, request.wish, Given(request.weights, source=request.source), request.seed)
    dataset = open_dataset(recipe, request.data)
    samples, said = chosen_samples(dataset, request.limit, request.order, request.seed)
    held.enter_context(held_folder(request.out, POWER, request.force))
    source = source_for(plan, progress)
    if source is None:
        raise UsageError("there is no source to hold answers against", "give --weights or --source")
    scratch = held.enter_context(scratch_folder(request.out, "planted"))
    port, made = _port(plan, source, samples, scratch, progress)
    right = _right(port, source, progress)
    trial = _trial(request, recipe, right, dataset, samples)
    with stage(progress, "healthy port"):
        judge = Judge.of(trial, port.answers(port.graph), request.replays)
    plants = chosen(port.graph, GRAPH_FAULTS, of_the_port(recipe), request.faults, request.seed)
    reached = _reached(port, judge, plants, progress)
    drop_old_result(request.out, POWER, ())
    value = _told(request, recipe, port, judge, reached) | {
        "notes": [*said, *made, *_notes(port, judge, reached)],
        "environment": environment(),
        "seed": request.seed,
        "command": request.command,
        "started": begun.isoformat(timespec="seconds"),
        "seconds": time.perf_counter() - clock,
    }
    write_json(request.out / POWER, value)
    return value


def _port(
    plan: Plan, source: Source, samples: Sequence[Sample], scratch: Path, progress: Progress
) -> tuple[Port, list[str]]:
    """Return the healthy port in float32, and what is to be said of it.

    Raises UsageError where no graph is made on the way.
    """
    if plan.precision != "fp32" or plan.pixels:
        raise UsageError(f"--precision {plan.precision}", "faults are planted into the float32 graph; leave it out")
    trail = ported(plan, source, samples, progress, build=False).trail
    if trail.model.kind != "onnx":
        raise UsageError(
            f"the engine '{plan.engine.name}' runs {trail.model.kind} files, and faults are planted into ONNX graphs",
            "choose another --engine",
        )
    few = _few(samples, plan, source)
    return Port(
        read_graph(trail.model.path), plan.engine, plan.recipe, plan.build, few, scratch, plan.seed
    ), trail.notes


def _few(samples: Sequence[Sample], plan: Plan, source: Source) -> list[Sample]:
    """Return the samples that each faulty model answers, drawn from the run's: as many as memory holds answers of."""
    batch = source.batch or plan.build.batch or 1
    with source.open(plan.build) as runner:
        first = ask(runner, plan.recipe, replace(plan.build, batch=batch), samples[:batch], seed=plan.seed)
    size = max(1, sum(array.nbytes for array in first.outputs.values()) // len(samples[:batch]))
    count = min(MOST_ANSWERED, max(1, MOST_BYTES // size))
    # In the order of the data, which is often sorted by class, the first ones would be of one class.
    drawn = np.random.default_rng(plan.seed).permutation(len(samples))[:count]
    return [samples[int(index)] for index in sorted(drawn)]


def _right(port: Port, source: Source, progress: Progress) -> Answers:
    """Return the source's answers."""
    build = replace(port.build, batch=source.batch or port.build.batch)
    with stage(progress, "source's answers"), source.open(build) as runner:
        return ask(runner, port.recipe, build, port.samples, seed=port.seed)


def _trial(request: PowerRequest, recipe: Recipe, right: Answers, dataset: DataSet, samples: Sequence[Sample]) -> Trial:
    full = is_full_set(recipe, (sample.id for sample in samples), skipped=0)
    return Trial(recipe, right, request.judging, len(samples), full, tuple(dataset.categories), request.seed)


def _reached(port: Port, judge: Judge, plants: Sequence[Plant], progress: Progress) -> list[Reach]:
    found = []
    with progress.bar("planting", len(plants), "faults") as bar:
        for number, plant in enumerate(plants):
            found.append(judge.judged(port.planted(plant, number)))
            bar.advance()
    return found


def _told(request: PowerRequest, recipe: Recipe, port: Port, judge: Judge, reached: Sequence[Reach]) -> dict[str, Any]:
    words = [row.noticed for row in reached if row.found.by != UNCHANGED]
    tolerance = request.judging.tolerance(recipe)
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "engine": port.engine.name,
        "n": judge.trial.n,
        "answered": len(port.samples),
        "tolerance": tolerance.model_dump(mode="json"),
        "confidence": request.judging.confidence,
        "healthy": {"verdict": judge.healthy.verdict, "by": list(judge.healthy.by), "drop": judge.healthy.drop}
        | {"share_of_replays": judge.healthy_share},
        "faults": [row.to_json() for row in reached],
        "noticed": words.count(True),
        "missed": words.count(False),
        "by_chance": words.count(None),
        "planted": len(words),
        "smallest_noticed_drop": smallest_noticed_drop(reached),
        "verdict": "told" if reached and _tells(judge.healthy) else "nothing can be told",
    }


def _tells(healthy: Found) -> bool:
    """Whether a healthy port is told from a failing one at all."""
    return healthy.verdict != "fail"


def _notes(port: Port, judge: Judge, reached: Sequence[Reach]) -> list[str]:
    notes = []
    if judge.healthy.verdict == "fail":
        notes.append(f"the healthy port fails itself ({', '.join(judge.healthy.by)}): nothing can be told from faults")
    elif judge.healthy.verdict != "pass":
        notes.append(
            f"the healthy port does not pass ({', '.join(judge.healthy.by)}): a fault counts as "
            "noticed where the run fails; more samples would settle it"
        )
    drawn = judge.healthy.can_be_drawn and judge.replays > 0
    if not judge.trial.is_whole:
        said = f"each faulty model answered {len(port.samples)} of the run's {judge.trial.n} samples"
        notes.append(f"{said}; the run's verdict is replayed from these, drawn with replacement" if drawn else said)
    if drawn and judge.trial.n > MOST_REPLAYED:
        notes.append(f"replayed with {MOST_REPLAYED} samples: a fault that these miss, all {judge.trial.n} may notice")
    if not drawn:
        why = "asked so" if not judge.replays else "the full published set, or no count of right answers"
        notes.append(f"nothing was replayed ({why}): these samples alone tell")
    if any(row.noticed is None for row in reached):
        notes.append("by chance: noticed or not, as samples are drawn")
    if same := [row.found.kind for row in reached if row.found.by == UNCHANGED]:
        notes.append(f"without any effect on these samples, and neither noticed nor missed: {listed(same, 5)}")
    return notes
