"""Planted faults, run: what a model with each of them answers, and what the run's verdict makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, GraphError, SignatureError
from modelport.core.values import Sample
from modelport.diagnose.asking import Answers, ask
from modelport.diagnose.changes.base import Change
from modelport.diagnose.faults.base import FaultFound
from modelport.diagnose.power.plants import Plant
from modelport.diagnose.power.trial import Found, Trial
from modelport.engines.base import Build, Engine
from modelport.engines.registry import opened
from modelport.recipes.schema import Recipe
from modelport.verdict.words import INCONCLUSIVE, PASS

if TYPE_CHECKING:
    import onnx

REFUSED = "refused"
UNCHANGED = "no output changed"
# A share of the replays from which on a fault counts as noticed whichever samples are drawn, and as missed below the
# rest: what lies between hangs on the draw, and is told as that.
SURE = 0.9


@dataclass(frozen=True, slots=True)
class FaultyAnswers:
    """What a model with one fault answers; None where the engine refuses it."""

    plant: Plant
    about: str
    family: str
    answers: Answers | None


@dataclass(frozen=True, slots=True)
class Port:
    """A healthy port: its graph, and what runs it."""

    graph: onnx.ModelProto
    engine: Engine
    recipe: Recipe
    build: Build
    samples: Sequence[Sample]
    scratch: Path
    seed: int = 0

    def answers(self, graph: onnx.ModelProto, change: Change | None = None) -> Answers:
        """Return what a graph answers, prepared or read otherwise where there is a ``change``.

        Raises ModelportError where the engine refuses it.
        """
        path = self.scratch / "planted.onnx"
        path.write_bytes(graph.SerializeToString())
        recipe, inputs = self.recipe, None
        if change is not None:
            recipe = (change.recipe and change.recipe(recipe)) or recipe
            inputs = change.inputs
        with opened(self.engine, Artifact.of(path, "onnx"), self.build) as runner:
            found = ask(runner, recipe, self.build, self.samples, seed=self.seed, inputs=inputs)
        if change is not None and change.outputs is not None:
            found = replace(found, outputs=change.outputs(found.outputs))
        return found

    def planted(self, plant: Plant, number: int) -> FaultyAnswers:
        """Return what the model with a fault answers; ``number`` is the plant's, and decides what is drawn for it."""
        if plant.fault is None:
            assert plant.change is not None
            about, family, graph = plant.change.sentence, "port", self.graph
        else:
            made = plant.fault.plant(self.graph, plant.where, plant.size, np.random.default_rng([self.seed, number]))
            about, family, graph = made.about, plant.fault.family, made.graph
        try:
            return FaultyAnswers(plant, about, family, self.answers(graph, plant.change))
        except (EngineError, GraphError, SignatureError) as error:
            return FaultyAnswers(plant, f"{about}: {error.found}", family, None)


@dataclass(frozen=True, slots=True)
class Reach:
    """What became of one plant: its row, and the shares of replays that noticed it."""

    found: FaultFound
    about: str
    share: float | None  # of the replays; None where they were not drawn
    family: str

    def to_json(self) -> dict[str, Any]:
        """Return it as power.json holds it."""
        row = self.found.to_json() | {"about": self.about, "family": self.family, "share_of_replays": self.share}
        return row | {"noticed": self.noticed, "by_the_run": self.found.noticed}

    @property
    def noticed(self) -> bool | None:
        """Whether a run notices it whichever samples it draws; None where that hangs on the draw."""
        if self.share is None or self.found.by == REFUSED:
            return self.found.noticed
        return True if self.share >= SURE else False if self.share <= 1.0 - SURE else None


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges what faulty models answer as the run would."""

    trial: Trial
    healthy: Found
    answers: Answers  # of the healthy port
    replays: int  # draws for each fault; 0: none
    healthy_share: float | None  # of the replays of the healthy port, those that pass; None where none was drawn

    @staticmethod
    def of(trial: Trial, answers: Answers, replays: int) -> Judge:
        """Return what judges beside a healthy port's ``answers``."""
        healthy, drawn = trial.told(answers, replays)
        share = mean(float(one.verdict == PASS) for one in drawn) if drawn else None
        return Judge(trial, healthy, answers, replays, share)

    def judged(self, faulty: FaultyAnswers) -> Reach:
        """Return what the run makes of a fault, on these samples and on draws of them."""
        plant, answers = faulty.plant, faulty.answers
        if answers is None:
            row = FaultFound(plant.kind, plant.where, plant.size, True, None, REFUSED)
            return Reach(row, faulty.about, None, faulty.family)
        if self._is_unchanged(answers):
            # Nothing was planted as far as these samples go (a padding that is cut off, a rotation that no file tells).
            row = FaultFound(plant.kind, plant.where, plant.size, False, self.healthy.drop, UNCHANGED)
            return Reach(row, faulty.about, None, faulty.family)
        found, drawn = self.trial.told(answers, self.replays)
        noticed = found.is_noticed(self.healthy.verdict)
        row = FaultFound(plant.kind, plant.where, plant.size, noticed, found.drop, ", ".join(found.by))
        if not drawn:
            return Reach(row, faulty.about, None, faulty.family)
        # Of a healthy port that passes in half of the draws, not to pass tells nothing.
        usual = PASS if (self.healthy_share or 0.0) >= SURE else INCONCLUSIVE
        return Reach(row, faulty.about, mean(float(one.is_noticed(usual)) for one in drawn), faulty.family)

    def _is_unchanged(self, answers: Answers) -> bool:
        own = self.answers.outputs
        return all(np.array_equal(array, own[name], equal_nan=True) for name, array in answers.outputs.items())


def smallest_noticed_drop(reached: Sequence[Reach]) -> float | None:
    """Return the smallest loss from which on every planted fault was noticed, in the tolerance's unit; None: none was.

    Of faults that changed an output and whose loss is known and above 0: one that was refused has none.
    """
    changing = (row for row in reached if row.found.by != UNCHANGED)
    lossy = sorted(
        ((row.found.drop, row.noticed) for row in changing if row.found.drop is not None and row.found.drop > 0.0),
        key=lambda pair: -pair[0],
    )
    smallest = None
    for drop, noticed in lossy:
        if not noticed:
            break
        smallest = drop
    return smallest
