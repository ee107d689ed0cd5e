"""The stages of a port on the same samples: which of them is the first that leaves what its precision explains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import DataError, EngineError
from modelport.core.values import Sample, Tensors
from modelport.diagnose.asking import Answers, ask
from modelport.diagnose.distance import NOWHERE, Distance, distance, total_distance
from modelport.diagnose.trace.explained import LEAST, Explained
from modelport.diagnose.trace.findings import StageFound
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import opened
from modelport.engines.source import Source
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task
from modelport.tasks.scoring import Figures
from modelport.verdict.chance import agreement
from modelport.verdict.words import PASS

SOURCE = "source"
Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of the road: a model, what runs it, and the precision whose rounding explains its differences."""

    name: str  # onnx, fp16, int8, uint8, or the engine's name
    model: Artifact
    engine: Engine
    build: Build  # of the graph's form of the recipe
    precision: str
    pixels: bool = False  # it takes uint8 pixels and normalises by itself
    launch: Launch = field(default_factory=Launch)
    why: str = ""  # what is known against it before it has run
    given: bool = False  # the user's own file
    graph: Artifact | None = None  # the ONNX file that the engine's model was made from, where it is another

    def open(self) -> AbstractContextManager[Runner]:
        """Open it. Raises EngineError where the engine refuses it."""
        return opened(self.engine, self.model, self.build, self.launch)


@dataclass(slots=True)
class Stages:
    """Asks one model after the other the same samples; the first is the source."""

    recipe: Recipe
    task: Task
    samples: Sequence[Sample]
    seed: int
    expected: Callable[[str], Explained] = lambda precision: Explained(LEAST[precision])
    """Of a precision: what it explains of the outputs."""
    _source: Answers | None = None
    _last: Answers | None = None

    @property
    def source_answers(self) -> Answers:
        """What the source answered."""
        assert self._source is not None
        return self._source

    def source(self, source: Source, build: Build, why: str = "") -> StageFound:
        """Ask the source; ``why`` is what is known against it. Raises what its road raises."""
        with source.open(build) as runner:
            own = replace(build, recipe=self.recipe, precision="fp32", batch=source.batch or build.batch)
            self._source = ask(runner, self.recipe, own, self.samples, seed=self.seed)
        broken = _not_finite(self._source.outputs)
        why = why or (f"the source's own answers are not finite in {broken}" if broken else "")
        verdict: Verdict = "fail" if why else "pass"
        if not why and _all_alike(self._source.outputs):
            verdict, why = "inconclusive", "the source answers the same to every sample: any model would"
        still = total_distance((array, array) for array in self._source.outputs.values())
        return StageFound(SOURCE, self._metric(self._figures(self._source)), still, 0.0, verdict, why)

    def stage(self, step: Step) -> StageFound:
        """Ask one stage and hold it against the source. A graph that cannot be run fails with the engine's words.

        Raises EngineError for a compiled file of the user's that cannot be run.
        """
        expected = self.expected(step.precision)
        try:
            with step.open() as runner:
                got = ask(runner, self.recipe, step.build, self.samples, seed=self.seed, pixels=step.pixels)
        except EngineError as error:
            if step.given and step.model.kind != "onnx":
                raise  # nothing can be looked into
            why = f"{step.engine.name} does not run it: {error.found}"
            return StageFound(step.name, self._metric(None), NOWHERE, expected.rel_l2, "fail", why)
        self._last = got
        figures = self._figures(got)
        apart = total_distance((got.outputs[name], want) for name, want in self.source_answers.outputs.items())
        against = [step.why, self._against(got.outputs, apart, expected, step.precision)]
        against.append(self._answers_lost(figures, step.precision))
        said = f"the outputs are {apart.rel_l2:.2g} from the source's (relative L2), {step.precision} explains "
        said += f"{expected.rel_l2:.2g} of this model"
        found = [why for why in against if why]
        verdict: Verdict = "fail" if found else "pass"
        return StageFound(step.name, self._metric(figures), apart, expected.rel_l2, verdict, "; ".join([*found, said]))

    def worst(self, count: int) -> list[Sample]:
        """Return the samples whose answers are farthest from the source's, of the stage that was asked last."""
        far: dict[str, float] = {}
        if self._last is None:
            return list(self.samples[:count])
        pairs = [(self._last.outputs[name], want) for name, want in self.source_answers.outputs.items()]
        for place, row in enumerate(self._last.ids):
            apart = total_distance((got[place], want[place]) for got, want in pairs)
            far[row.sample] = max(far.get(row.sample, 0.0), apart.rel_l2)
        return sorted(self.samples, key=lambda sample: -far.get(sample.id, 0.0))[:count]

    def _against(self, got: Tensors, apart: Distance, expected: Explained, precision: str) -> str:
        """Return what in the outputs is more than is explained; empty where nothing is."""
        want = self.source_answers.outputs
        for name, array in want.items():
            if got[name].shape != array.shape:
                return f"'{name}' has the shape {got[name].shape}, the source's {array.shape}"
        if apart.nonfinite:
            return f"{apart.nonfinite} values are not finite where the source's are"
        # One output may be large, and what is wrong with another be hidden behind it.
        alone = {name: distance(got[name], array).rel_l2 for name, array in want.items()}
        times = {name: far / expected.each.get(name, expected.rel_l2) for name, far in alone.items()}
        worst = max(times, key=lambda name: times[name])
        if apart.rel_l2 <= expected.rel_l2 and times[worst] <= 1:
            return ""
        chosen = self.task.finds_boxes and expected.chooses
        if not (chosen or any(array.dtype.kind != "f" for array in want.values())):
            return f"'{worst}' is {times[worst]:.3g} times as far from the source's as is explained"
        # Boxes come in another order, and classes are whole numbers: no tensor is near another there.
        missed, floor = self.task.distance([got], [want]), 1 - self.task.agreement_floors[precision] / 100
        allowed = max(self.task.tolerated, floor if expected.missed is None else min(floor, expected.missed))
        told = f"{missed:.2%} of the source's answers are missed, {precision} explains {allowed:.2%}"
        return "" if missed <= allowed else told

    def _answers_lost(self, figures: Figures | None, precision: str) -> str:
        """Return that more answers are others than a precision explains of any model; empty where they are not."""
        if figures is None or not self.task.needs_labels:
            return ""
        check = agreement(figures, self.task.agreement_floors, precision)
        return "" if check is None or check.verdict == PASS else check.why

    def _figures(self, got: Answers) -> Figures | None:
        """Return what the task's scorer finds; None where the samples are too few for it."""
        blind = self.task.needs_labels and not self.recipe.dataset.labelled
        scorer = self.task.unlabelled_scorer(True) if blind else self.task.scorer(True)
        try:
            scorer.take(got.rows(self.source_answers))
            scorer.finish()
            return scorer.figures()
        except DataError:
            return None

    def _metric(self, figures: Figures | None) -> dict[str, Any]:
        """Return the deciding metric over the samples, the source's beside it, and how many answers flipped."""
        name = self.task.deciding
        told: dict[str, Any] = {"name": name, "value": None, "source": None, "n": 0, "flips": None}
        if figures is None:
            return told
        score, theirs = figures.metrics.get(name), (figures.source or {}).get(name)
        told |= {"n": len(self.samples), "flips": figures.flips.count}
        if score is not None:
            told |= {"value": _finite(score.value), "unit": score.unit, "n": score.n}
        if theirs is not None:
            told["source"] = _finite(theirs.value)
        return told


def _not_finite(outputs: Tensors) -> str:
    broken: Iterator[str] = (f"'{name}'" for name, array in outputs.items() if not np.isfinite(array).all())
    return ", ".join(broken)


def _all_alike(outputs: Tensors) -> bool:
    """Whether every row of every output is the first; of one row nothing tells."""
    return all(len(array) > 1 and bool((array == array[:1]).all()) for array in outputs.values())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
