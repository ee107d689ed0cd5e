"""Weights of a network that answers vectors: calibrated batch norms, and a last layer fitted to points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet
from modelport.recipes.schema import Recipe
from modelport.stages.sample_weights.closed_form import fit_last_layer


def fit_identities(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer, in closed form.

    Each identity has a point of its own, drawn at random: in many dimensions these are nearly at right angles.
    """
    identities = sorted({sample.target for sample in dataset})
    places = {label: place for place, label in enumerate(identities)}

    def wanted(labels: Sequence[Any], outputs: int) -> Array:
        points: Array = np.random.default_rng(seed).standard_normal((len(identities), outputs))
        return points[[places[label] for label in labels]]

    fit_last_layer(recipe, module, dataset, seed, progress, wanted)
