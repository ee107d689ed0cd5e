"""Weights of a classifier: calibrated batch norms, and a last layer fitted in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.core.progress import Progress
from modelport.core.values import DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.batches import training_batches

# Images that go through at once, and those that the statistics of a batch norm settle with: far fewer than a fit needs.
AT_ONCE = 25
FIRST = 3 * AT_ONCE


def fit_classifier(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the labels, in closed form."""
    from modelport.model.samples.fit import calibrate_batch_norms, fit_head

    offset = recipe.dataset.label_offset
    mixed = [dataset[int(index)] for index in np.random.default_rng(seed).permutation(len(dataset))]
    with progress.bar("calibrating and fitting", len(mixed), "images") as bar:
        first = training_batches(recipe, mixed[:FIRST], seed, AT_ONCE)
        calibrate_batch_norms(module, (batch.inputs for batch in first))
        batches = training_batches(recipe, mixed, seed, AT_ONCE)
        fit_head(module, ((batch.inputs, np.asarray(batch.targets) + offset) for batch in batches), bar.advance)
