"""Answers of one model to a few samples, kept in memory: what diagnosing asks over and over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from modelport.core.values import Array, Batch, RowId, Sample, Tensors
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
    ids, targets, placements, digests = list[RowId](), list[Any](), list[Any](), list[str]()
    outputs: dict[str, list[Array]] = {}
    name = recipe.tensors.sample.name

    def changed() -> Iterator[Batch]:
        for batch in batches:
            if inputs is None:
                yield batch
            else:
                yield replace(batch, inputs={**batch.inputs, name: np.ascontiguousarray(inputs(batch.inputs[name]))})

    with closing(feed(recipe, iter(samples), build.batch, seed=seed, pixels=pixels)) as batches:
        for batch, answered in run_batches(runner, changed(), Clocks()):
            ids += batch.ids
            targets += batch.targets
            placements += batch.placements
            digests += batch.digests
            for key, array in answered.items():
                outputs.setdefault(key, []).append(array)
    joined = {key: np.concatenate(arrays) for key, arrays in outputs.items()}
    return Answers(ids, targets, joined, placements, digests)
