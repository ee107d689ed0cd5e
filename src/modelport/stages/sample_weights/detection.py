"""Weights of a detector: calibrated batch norms, and last layers fitted to the boxes in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.batches import training_batches

# Images that go through at once, and those that the statistics of a batch norm settle with.
AT_ONCE = 2
FIRST = 2 * AT_ONCE


def fit_boxes(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random detector and fit its last layers to the boxes, in closed form."""
    from modelport.model.samples.fit import calibrate_batch_norms
    from modelport.model.samples.fit_detector import fit_detector, soften

    index_of = {number: index for index, (number, _) in enumerate(dataset.categories)}
    first = dataset[:FIRST]
    soften(module)
    with progress.bar("calibrating and fitting", len(first) + len(dataset), "images") as bar:
        batches = training_batches(recipe, first, seed, AT_ONCE)
        calibrate_batch_norms(module, (batch.inputs for batch in batches))
        bar.advance(len(first))

        def known() -> Iterator[tuple[Array, list[Array], list[Array]]]:
            for batch in training_batches(recipe, dataset, seed, AT_ONCE):
                boxes, labels = [], []
                for truth, placement in zip(batch.targets, batch.placements, strict=True):
                    corners = np.concatenate([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]], axis=1)
                    boxes.append(placement.to_network(corners))
                    labels.append(np.array([index_of[int(number)] for number in truth.category_ids], np.int64))
                yield batch.inputs, boxes, labels

        fit_detector(module, known(), bar.advance)
