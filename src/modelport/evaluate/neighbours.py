"""What a contrastive model's features are worth: nearest-neighbour accuracy with the training split as the bank."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from modelport.core import machine
from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet, Sample
from modelport.data.prepare.views import Views, without_random_steps
from modelport.data.stream.view_batches import plain_batches
from modelport.engines.base import Build, Runner
from modelport.evaluate.loop import run_batches
from modelport.measure.timing import Clocks
from modelport.tasks.contrastive.knn import knn_top1
from modelport.tasks.scoring import Score

Samples = DataSet | Sequence[Sample]


def neighbour_accuracy(
    runner: Runner, build: Build, bank: Samples, queries: Samples, progress: Progress
) -> dict[str, Score]:
    """Return ``knn_top1``: the engine's features of the untouched images, ``queries`` looked up among ``bank``.

    Features of both splits are held in memory: 512 bytes an image.
    """
    with progress.bar("features for knn", len(bank) + len(queries), "images") as bar:

        def features(dataset: Samples) -> tuple[Array, Array]:
            assert build.batch is not None
            spec = build.signature.inputs[0]
            views = Views(without_random_steps(build.needed_recipe.preprocess), pixels=spec.dtype == "uint8")
            batches = plain_batches(dataset, views, input_name=spec.name, batch=build.batch, workers=machine.cores())
            rows: list[Array] = []
            labels: list[int] = []
            with closing(batches):
                for batch, outputs in run_batches(runner, batches, Clocks()):
                    rows.append(outputs[build.needed_recipe.tensors.outputs[0].name])
                    labels += batch.targets
                    bar.advance(len(batch.ids))
            return np.concatenate(rows), np.asarray(labels)

        known, asked = features(bank), features(queries)
    return {"knn_top1": knn_top1(*known, *asked)}
