"""Weights of a contrastive network, trained shortly."""

from __future__ import annotations

from typing import Any

from modelport.core.progress import Progress
from modelport.core.values import DataSet
from modelport.data.prepare.views import Views
from modelport.data.sets.cifar10 import Cifar10
from modelport.data.stream.view_batches import training_views
from modelport.recipes.schema import Recipe


def fit_contrastive(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Train a random network, shortly, to find the other view of an image."""
    from modelport.model.samples.fit_contrastive import PAIRS, STEPS, train_simclr

    assert isinstance(dataset, Cifar10)
    views = training_views(dataset, Views(recipe.preprocess), pairs=PAIRS, steps=STEPS, seed=seed)
    with progress.bar("training", STEPS, "steps") as bar:
        train_simclr(module, views, seed=seed, after_step=lambda _: bar.advance())
