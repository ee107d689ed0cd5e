"""Answers of one model to a few samples, kept in memory: what diagnosing asks over and over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelport.core.values import Batch, RowId, Sample, Tensors
from modelport.data.stream.feeding import feed
from modelport.diagnose.changes.base import OfInput
from modelport.engines.base import Build, Runner
from modelport.evaluate.loop import run_batches
from modelport.measure.timing import Clocks
from modelport.recipes.schema import Recipe
from modelport.tasks.scoring import Rows


@dataclass(frozen=True, slots=True)
class Answers:
    """Rows with what a model answered, in the samples' order."""

    ids: Sequence[RowId]
    targets: Sequence[Any]
    outputs: Tensors  # by name, rows first
    placements: Sequence[Any] = ()
    digests: Sequence[str] = ()

    def rows(self, source: Answers | None = None) -> Rows:
        """Return them as scorers take rows, beside another model's answers to the same samples."""
        return Rows(
            self.ids, self.targets, self.outputs, None if source is None else source.outputs, self.placements,
            self.digests,
        )  # fmt: skip


def ask(
    runner: Runner,
    recipe: Recipe,
    build: Build,
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    pixels: bool = False,
    inputs: OfInput | None = None,
) -> Answers:
    """Prepare ``samples`` as ``recipe`` says, run the model on them and return all answers.

    ``build`` has the batch; ``pixels`` as in ``feed``; ``inputs`` changes the prepared rows before they are run.
    Raises BadSampleError for a sample that cannot be read, EngineError where the model fails.
    """
    assert build.batch is not None
    name = recipe.tensors.sample.name
    with closing(feed(recipe, iter(samples), build.batch, seed=seed, pixels=pixels)) as batches:
        changed = (with_inputs(batch, name, inputs) for batch in batches)
        found = [answers_of(batch, outputs) for batch, outputs in run_batches(runner, changed, Clocks())]
    return _joined(found)


def with_inputs(batch: Batch, name: str, changed: OfInput | None) -> Batch:
    """Return the batch with the prepared rows of the input ``name`` changed; itself where nothing changes them."""
    if changed is None:
        return batch
    return replace(batch, inputs={**batch.inputs, name: np.ascontiguousarray(changed(batch.inputs[name]))})


def answers_of(batch: Batch, outputs: Tensors) -> Answers:
    """Return what a model answered to a batch, rows of padding cut off."""
    cut = {name: array[: len(batch.ids)] for name, array in outputs.items()}
    return Answers(batch.ids, batch.targets, cut, batch.placements, batch.digests)


def _joined(parts: Sequence[Answers]) -> Answers:
    """Return the answers of all batches as one."""
    names = parts[0].outputs if parts else ()
    return Answers(
        [one for part in parts for one in part.ids],
        [one for part in parts for one in part.targets],
        {name: np.concatenate([part.outputs[name] for part in parts]) for name in names},
        [one for part in parts for one in part.placements],
        [one for part in parts for one in part.digests],
    )
