"""Weights of a network that answers numbers: calibrated batch norms, and a last layer in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError
from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.closed_form import fit_last_layer


def fit_numbers(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the numbers, in closed form.

    Raises DataError where the labels have another number of numbers than the layer has outputs.
    """

    def wanted(labels: Sequence[Any], outputs: int) -> Array:
        rows = np.array(labels, np.float64)
        if rows.shape[1] != outputs:
            raise DataError(f"labels of {rows.shape[1]} numbers, the last layer has {outputs} outputs", "give as many")
        return rows

    fit_last_layer(recipe, module, dataset, seed, progress, wanted)
