"""Weights of a network that answers sets of classes: calibrated batch norms, and a last layer in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.closed_form import fit_last_layer
from modelport.tasks.base import own_table
from modelport.tasks.multilabel.figures import truth_of
from modelport.tasks.multilabel.recipe_table import Threshold

# Logits of a class that is there, and the negative of one that is not: a sigmoid of 0.98 and 0.02.
LOGIT = 4.0


def fit_sets(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the sets of classes, in closed form."""
    table, offset = own_table(recipe, Threshold), recipe.dataset.label_offset
    present, absent = (LOGIT, -LOGIT) if table.activation == "sigmoid" else (1.0, 0.0)

    def wanted(labels: Sequence[Any], outputs: int) -> Array:
        return np.where(truth_of(labels, outputs, offset), present, absent)

    fit_last_layer(recipe, module, dataset, seed, progress, wanted)
