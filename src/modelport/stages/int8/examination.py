"""What a quantized model has lost against the source, on images that are held out and never scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import DataError, EngineError
from modelport.core.values import Array, Batch, Check, Sample, Tensors
from modelport.engines.base import Build, Engine
from modelport.engines.registry import opened
from modelport.stages.int8.calibrate import Calibration
from modelport.tasks.base import Task, judged_metrics
from modelport.tasks.scoring import SOURCE_AGREEMENT, Figures, Rows
from modelport.tasks.table import task_of
from modelport.verdict.rules import limit_of, loss_of
from modelport.verdict.soundness import Soundness
from modelport.verdict.words import FAIL, PASS

# Images on which the layers are compared; the loss is measured on all that are held out.
COMPARED = 32
# Of what the source itself fails, what is no mere want of images.
TOLD = ("finite", "labels_aligned")


@dataclass(frozen=True, slots=True)
class Reference:
    """What answers as the source model does; ``pixels`` where it takes uint8 pixels."""

    run: Callable[[Tensors], Mapping[str, Array]]
    pixels: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """The worst judged figure: the quantized model's, the source's, and how far it may fall. ``n`` samples."""

    metric: str
    got: float
    source: float
    allowed: float
    n: int
    unsound: tuple[
        str, ...
    ] = ()  # what keeps the quantized model's figures, and not the source's, from meaning anything
    rise_is_loss: bool = False

    @property
    def drop(self) -> float:
        """By how much the quantized model's figure is worse."""
        return self.got - self.source if self.rise_is_loss else self.source - self.got

    @property
    def excess(self) -> float:
        """How far the drop is above what is tolerated; 0 or below passes, infinite where the figures mean nothing."""
        excess = self.drop - self.allowed
        return math.inf if self.unsound or not math.isfinite(excess) else excess

    def to_json(self) -> dict[str, Any]:
        """Return the loss as the result file holds it."""
        return {
            "metric": self.metric,
            "got": self.got,
            "source": self.source,
            "drop": self.drop,
            "allowed": self.allowed,
            "n": self.n,
            "unsound": list(self.unsound),
        }


class Examination:
    """Holds the source's answers to the held-out images, and models against them."""

    def __init__(self, engine: Engine, calibration: Calibration, reference: Reference, build: Build, seed: int) -> None:
        recipe = calibration.recipe
        self._recipe, self._engine, self._calibration, self._seed = recipe, engine, calibration, seed
        self._task: Task = task_of(recipe, calibration.categories, seed)
        self._labelled = calibration.labelled or not self._task.needs_labels
        # Whether the scorer can tell the agreement: with labels, or with what stands for them.
        self._scores = self._labelled or self._task.placeholder is not None
        # Whatever a model on trial runs in: one that has too many layers back is no longer int8.
        self._build = replace(build, precision=None)
        self._samples = calibration.held_out or calibration.ranges[:COMPARED]
        form = build if reference.pixels else replace(build, recipe=recipe)
        self._asked: list[Batch] = []  # without their inputs
        self._answers: list[dict[str, Array]] = []
        for batch in self._batches(self._samples, form):
            self._asked.append(replace(batch, inputs={}))
            self._answers.append(self._cut(batch, reference.run(batch.inputs)))
        own = self._own_faults()
        # What the source itself fails is no fault of the quantized model.
        self._excused = {check.name for check in own}
        self.notes = tuple(check.why for check in own if check.name in TOLD)

    def loss(self, model: Artifact) -> Loss:
        """Return what a model loses. Raises DataError where the images are too few for the recipe's metric."""
        outputs = self._outputs(model, self._samples)
        if self._scores:
            return self._scored(outputs)
        missed, soundness = [], self._soundness()
        for (batch, mine), theirs in zip(outputs, self._answers, strict=True):
            soundness.take(batch.ids, mine, theirs)
            missed.append(self._task.difference(mine, theirs))
        checks = soundness.checks(Figures({}, None), "int8")
        return self._agreement(100.0 * (1.0 - float(np.mean(missed))), len(self._samples), self._unsound(checks))

    def distance(self, model: Artifact) -> float:
        """Return how far the outputs are from the source's on the first images, as the task measures it."""
        batches = list(self._outputs(model, self._samples[:COMPARED]))
        answers = self._answers[: len(batches)]
        return self._task.distance([mine for _, mine in batches], answers)

    def refuse_collapsed(self, model: Artifact) -> None:
        """Raise EngineError where the outputs hold NaN, are constant or of one class for all, and the source's not."""
        soundness = self._soundness()
        for (batch, mine), theirs in zip(self._outputs(model, self._samples), self._answers, strict=True):
            soundness.take(batch.ids, mine, theirs)
        for check in soundness.checks(Figures({}, None), "int8"):
            if check.verdict == FAIL:
                raise EngineError(
                    f"the int8 model has collapsed on calibration images: {check.why}",
                    "calibrate on images like those that are scored, or stay with --precision fp32",
                )

    def _soundness(self) -> Soundness:
        return Soundness(self._task)

    def _own_faults(self) -> list[Check]:
        """Return the checks that the source's answers do not pass by themselves."""
        pairs = list(zip(self._asked, self._answers, strict=True))
        if self._scores:
            try:
                return self._checks(pairs)[1]
            except DataError:
                pass  # too few images for the metric: said where the loss is asked for
        soundness = self._soundness()
        for batch, theirs in pairs:
            soundness.take(batch.ids, theirs, theirs)
        checks = soundness.checks(Figures({}, None), "int8")
        return [check for check in checks if check.verdict != PASS]

    def _checks(self, answered: Iterable[tuple[Batch, Mapping[str, Array]]]) -> tuple[Figures, list[Check]]:
        """Score answers against labels, where there are any, and the source's; return the checks that do not pass."""
        scorer, soundness = self._task.scorer(True), self._soundness()
        for (batch, mine), theirs in zip(answered, self._answers, strict=True):
            targets = batch.targets if self._labelled else (self._task.placeholder,) * len(batch.ids)
            soundness.take(batch.ids, mine, theirs)
            scorer.take(Rows(batch.ids, targets, mine, theirs, batch.placements))
        scorer.finish()
        # Of few images a flip or two may be chance: that is asked of the run itself.
        figures = replace(scorer.figures(), agreement_by_chance=None)
        if not self._labelled:
            figures = replace(figures, chance={}, numbering=None)
        checks = soundness.checks(figures, "int8")
        return figures, [check for check in checks if check.verdict != PASS]

    def _unsound(self, checks: Iterable[Check]) -> tuple[str, ...]:
        return tuple(check.why for check in checks if check.verdict != PASS and check.name not in self._excused)

    def _scored(self, outputs: Iterator[tuple[Batch, dict[str, Array]]]) -> Loss:
        figures, checks = self._checks(outputs)
        unsound = self._unsound(checks)
        if not self._labelled:
            return self._agreement(100.0 * figures.flips.met / figures.flips.of, figures.flips.of, unsound)
        losses = []
        for name in judged_metrics(self._recipe):
            got, source = figures.metrics.get(name), (figures.source or {}).get(name)
            if got is not None and source is not None:
                allowed = loss_of(limit_of(source, self._recipe.tolerance), source)
                rise = source.rise_is_loss
                losses.append(Loss(name, got.value, source.value, allowed, got.n, unsound, rise_is_loss=rise))
        if not losses:
            raise DataError("the held-out images give none of the judged metrics", "give more calibration images")
        return max(losses, key=lambda loss: loss.drop - loss.allowed)

    def _agreement(self, met: float, n: int, unsound: tuple[str, ...]) -> Loss:
        # No figure can fall by more than the share of answers that change.
        return Loss(SOURCE_AGREEMENT, met, 100.0, self._recipe.tolerance.value, n, unsound)

    def _outputs(self, model: Artifact, samples: Sequence[Sample]) -> Iterator[tuple[Batch, dict[str, Array]]]:
        with opened(self._engine, model, self._build) as runner:
            for batch in self._batches(samples, self._build):
                yield batch, self._cut(batch, runner.run(batch.inputs))

    def _batches(self, samples: Sequence[Sample], form: Build) -> Iterator[Batch]:
        with closing(self._calibration.batches(samples, form, self._seed)) as batches:
            yield from batches

    @staticmethod
    def _cut(batch: Batch, outputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[: len(batch.ids)] for name, array in outputs.items()}
