"""Weights of a classifier: calibrated batch norms, and a last layer fitted in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.model.architectures.libraries import of_library
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.batches import training_batches

# Images that go through at once, and those that the statistics of a batch norm settle with: far fewer than a fit needs.
AT_ONCE = 25
FIRST = 3 * AT_ONCE


def fit_classifier(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the labels, in closed form.

    A library's network settles on white noise too, a row of it beside each batch: drawn pictures are smooth, and
    depthwise convolutions that were calibrated on them alone (EfficientNet, MobileNet) lift noise, which the export is
    tried with, beyond what float32 resolves.
    """
    from modelport.model.samples.fit import calibrate_batch_norms, fit_head

    offset = recipe.dataset.label_offset
    mixed = [dataset[int(index)] for index in np.random.default_rng(seed).permutation(len(dataset))]
    with progress.bar("calibrating and fitting", len(mixed), "images") as bar:
        first = training_batches(recipe, mixed[:FIRST], seed, AT_ONCE)
        inputs = (batch.inputs for batch in first)
        library = recipe.model is not None and of_library(recipe.model.architecture)
        calibrate_batch_norms(module, _with_noise(inputs, seed) if library else inputs)
        batches = training_batches(recipe, mixed, seed, AT_ONCE)
        fit_head(module, ((batch.inputs, np.asarray(batch.targets) + offset) for batch in batches), bar.advance)


def _with_noise(batches: Iterator[Array], seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    for batch in batches:
        yield np.concatenate([batch, rng.standard_normal((1, *batch.shape[1:]), dtype=batch.dtype)])
