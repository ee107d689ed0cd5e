"""Weights of a classifier: calibrated batch norms, and a last layer fitted in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.closed_form import fit_last_layer


def fit_classifier(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the labels, in closed form."""
    from modelport.model.samples.fit import last_linear, rule_out

    offset, width = recipe.dataset.label_offset, last_linear(module).out_features

    def wanted(labels: Sequence[Any], outputs: int) -> Array:
        rows: Array = np.eye(outputs)[np.asarray(labels) + offset]
        return rows

    fit_last_layer(recipe, module, dataset, seed, progress, wanted)
    present = [sample.target + offset for sample in dataset]
    rule_out(module, ~np.isin(np.arange(width), present))
