"""What a quantized model has lost against the source, on images that are held out and never scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import DataError, EngineError
from modelport.core.values import Array, Batch, Sample, Tensors
from modelport.engines.base import Engine, Options
from modelport.engines.registry import opened
from modelport.jobs.calibration import Calibration
from modelport.scoring.base import Rows, Task
from modelport.scoring.tasks import task_of
from modelport.scoring.verdict import floor_of, judged_metrics

# Images on which the layers are compared; the loss is measured on all that are held out.
COMPARED = 32
AGREEMENT = "source_agreement"


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

    @property
    def excess(self) -> float:
        """How far the drop is above what is tolerated; 0 or below passes."""
        return self.source - self.got - self.allowed

    def to_json(self) -> dict[str, Any]:
        """Return the loss as the result file holds it."""
        return {
            "metric": self.metric,
            "got": self.got,
            "source": self.source,
            "drop": self.source - self.got,
            "allowed": self.allowed,
            "n": self.n,
        }


class Examination:
    """Holds the source's answers to the held-out images, and models against them."""

    def __init__(
        self, engine: Engine, calibration: Calibration, reference: Reference, options: Options, seed: int
    ) -> None:
        recipe = calibration.recipe
        self._recipe, self._engine, self._calibration, self._seed = recipe, engine, calibration, seed
        self._labelled = calibration.labelled or recipe.task == "contrastive"
        self._task: Task = task_of(recipe, calibration.categories, seed)
        # Whatever a model on trial runs in: one that has too many layers back is no longer int8.
        self._options = replace(options, precision=None)
        self._samples = calibration.held_out or calibration.ranges[:COMPARED]
        form = options if reference.pixels else replace(options, recipe=recipe)
        self._answers = [self._cut(batch, reference.run(batch.inputs)) for batch in self._batches(self._samples, form)]

    def loss(self, model: Artifact) -> Loss:
        """Return what a model loses. Raises DataError where the images are too few for the recipe's metric."""
        outputs = self._outputs(model, self._samples)
        if self._labelled or self._recipe.task == "classification":
            return self._scored(outputs)
        pairs = zip(outputs, self._answers, strict=True)
        missed = [self._task.difference(mine, theirs) for (_, mine), theirs in pairs]
        return self._agreement(100.0 * (1.0 - float(np.mean(missed))), len(self._samples))

    def distance(self, model: Artifact) -> float:
        """Return how far the outputs are from the source's on the first images: relative L2, or boxes not met."""
        batches = list(self._outputs(model, self._samples[:COMPARED]))
        answers = self._answers[: len(batches)]
        if self._recipe.task == "detection":
            pairs = zip(batches, answers, strict=True)
            return float(np.mean([self._task.difference(mine, theirs) for (_, mine), theirs in pairs]))
        wrong = right = 0.0
        for (_, mine), theirs in zip(batches, answers, strict=True):
            for name, want in theirs.items():
                # The last batch of these may be cut shorter than the same of all.
                rows = min(len(want), len(mine[name]))
                wide = want[:rows].astype(np.float64)
                wrong += float(np.square(mine[name][:rows] - wide).sum())
                right += float(np.square(wide).sum())
        return float(np.sqrt(wrong / right)) if right else float(np.sqrt(wrong))

    def refuse_collapsed(self, model: Artifact) -> None:
        """Raise EngineError where the outputs are not finite, the same for all samples, or of one class for all."""
        mine = _joined([outputs for _, outputs in self._outputs(model, self._samples)])
        theirs = _joined(self._answers)
        for name, want in theirs.items():
            what = _collapse(mine[name], want, self._recipe.task == "classification")
            if what:
                raise EngineError(
                    f"the int8 model has collapsed: '{name}' {what} on {len(want)} calibration rows",
                    "calibrate on images like those that are scored, or stay with --precision fp32",
                )

    def _scored(self, outputs: Iterator[tuple[Batch, dict[str, Array]]]) -> Loss:
        scorer = self._task.scorer(True)
        for (batch, mine), theirs in zip(outputs, self._answers, strict=True):
            targets = batch.targets if self._labelled else (0,) * len(batch.ids)
            scorer.take(Rows(batch.ids, targets, mine, theirs, batch.placements))
        scorer.finish()
        figures = scorer.figures()
        if not self._labelled:
            return self._agreement(100.0 * figures.met / figures.of, figures.of)
        losses = []
        for name in judged_metrics(self._recipe):
            got, source = figures.metrics.get(name), (figures.source or {}).get(name)
            if got is not None and source is not None:
                allowed = source.value - floor_of(source.value, self._recipe.tolerance)
                losses.append(Loss(name, got.value, source.value, allowed, got.n))
        if not losses:
            raise DataError("the held-out images give none of the judged metrics", "give more calibration images")
        return max(losses, key=lambda loss: loss.excess)

    def _agreement(self, met: float, n: int) -> Loss:
        # No figure can fall by more than the share of answers that change.
        return Loss(AGREEMENT, met, 100.0, self._recipe.tolerance.value, n)

    def _outputs(self, model: Artifact, samples: Sequence[Sample]) -> Iterator[tuple[Batch, dict[str, Array]]]:
        with opened(self._engine, model, self._options) as runner:
            for batch in self._batches(samples, self._options):
                yield batch, self._cut(batch, runner.run(batch.inputs))

    def _batches(self, samples: Sequence[Sample], form: Options) -> Iterator[Batch]:
        with closing(self._calibration.batches(samples, form, self._seed)) as batches:
            yield from batches

    @staticmethod
    def _cut(batch: Batch, outputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array[: len(batch.ids)] for name, array in outputs.items()}


def _joined(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _collapse(got: Array, want: Array, classes: bool) -> str:
    """Return in what way an output has collapsed where the source's has not; empty where it has not."""
    if not np.isfinite(got).all():
        return "" if not np.isfinite(want).all() else "holds NaN or infinity"
    if len(got) < 2:
        return ""
    if (got == got[0]).all() and not (want == want[0]).all():
        return "is the same for every sample"
    if classes and len(set(got.argmax(axis=1))) == 1 < len(set(want.argmax(axis=1))):
        return "gives one class for everything"
    return ""
