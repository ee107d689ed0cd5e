"""Weights in closed form: calibrated batch norms, and a last layer fitted by ridge regression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


def fit_last_layer(
    recipe: Recipe,
    module: Any,
    dataset: DataSet,
    seed: int,
    progress: Progress,
    wanted: Callable[[Sequence[Any], int], Array],
) -> None:
    """Settle the batch norms of a random network and fit its last linear layer, in closed form.

    ``wanted`` returns what the layer is to answer for some labels, given how many outputs it has: (n, outputs), or
    (n, positions, outputs), float64.
    A library's network settles on white noise too, a row of it beside each batch: drawn pictures are smooth, and
    depthwise convolutions that were calibrated on them alone (EfficientNet, MobileNet) lift noise, which the export is
    tried with, beyond what float32 resolves.
    Raises UsageError where the network has no linear layer.
    """
    from modelport.model.samples.fit import calibrate_batch_norms, fit_head, last_linear

    width = last_linear(module).out_features
    mixed = [dataset[int(index)] for index in np.random.default_rng(seed).permutation(len(dataset))]
    with progress.bar("calibrating and fitting", len(mixed), "images") as bar:
        first = training_batches(recipe, mixed[:FIRST], seed, AT_ONCE)
        inputs = (batch.inputs for batch in first)
        library = recipe.model is not None and of_library(recipe.model.architecture)
        calibrate_batch_norms(module, with_noise(inputs, seed) if library else inputs)
        batches = training_batches(recipe, mixed, seed, AT_ONCE)
        fit_head(module, ((batch.inputs, wanted(batch.targets, width)) for batch in batches), bar.advance)


def with_noise(batches: Iterator[Array], seed: int) -> Iterator[Array]:
    """Yield each batch with a row of white noise at its end."""
    rng = np.random.default_rng(seed)
    for batch in batches:
        yield np.concatenate([batch, rng.standard_normal((1, *batch.shape[1:]), dtype=batch.dtype)])
