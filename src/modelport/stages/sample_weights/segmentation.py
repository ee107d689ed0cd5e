"""Weights of a segmentation network: calibrated batch norms, and a last convolution fitted in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.placement import Placement
from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.chain import pixel_shape
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.batches import training_batches
from modelport.tasks.segmentation.truth import Labels

if TYPE_CHECKING:
    from modelport.model.samples.fit_segmentation import Grid

# Images that go through at once, and those that the statistics of a batch norm settle with.
AT_ONCE = 4
FIRST = 3 * AT_ONCE


def fit_segmenter(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last 1×1 convolution to the masks, in closed form."""
    from modelport.model.samples.fit import calibrate_batch_norms
    from modelport.model.samples.fit_segmentation import fit_last_convolution

    canvas = pixel_shape(recipe.preprocess, recipe.signature.inputs[0])[:2]
    labels = Labels.of(recipe)
    with progress.bar("calibrating and fitting", len(dataset), "images") as bar:
        first = training_batches(recipe, dataset[:FIRST], seed, AT_ONCE)
        calibrate_batch_norms(module, (batch.inputs for batch in first))

        def known() -> Iterator[tuple[Array, list[Grid]]]:
            for batch in training_batches(recipe, dataset, seed, AT_ONCE):
                pairs = zip(batch.targets, batch.placements, strict=True)
                yield batch.inputs, [_Grid(labels.read(mask, place), place, canvas) for mask, place in pairs]

        fit_last_convolution(module, labels.classes, known(), bar.advance)


class _Grid:
    """The classes of one image (H, W) at places of the network's input of height and width ``canvas``."""

    def __init__(self, truth: Array, placement: Placement, canvas: tuple[int, int]) -> None:
        self._truth, self._placement, self._canvas = truth, placement, canvas

    def __call__(self, height: int, width: int) -> Array:
        """Return the classes at the middles of a grid (height, width) over the input; −1 outside the image."""
        place, truth = self._placement, self._truth
        rows = (np.arange(height) + 0.5) * self._canvas[0] / height
        columns = (np.arange(width) + 0.5) * self._canvas[1] / width
        down = np.floor((rows - place.pad_top) / place.scale_y).astype(np.int64)
        across = np.floor((columns - place.pad_left) / place.scale_x).astype(np.int64)
        lines = np.flatnonzero((down >= 0) & (down < truth.shape[0]))
        rays = np.flatnonzero((across >= 0) & (across < truth.shape[1]))
        found = np.full((height, width), -1, np.int64)
        found[np.ix_(lines, rays)] = truth[np.ix_(down[lines], across[rays])]
        return found
