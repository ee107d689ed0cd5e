"""The tasks by the name that a recipe gives."""

from __future__ import annotations

from collections.abc import Sequence

from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task
from modelport.tasks.classification.task import Classification
from modelport.tasks.contrastive.task import ContrastivePairs
from modelport.tasks.detection.task import Detection


def task_of(recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> Task:
    """Return the recipe's task.

    ``categories`` are a detection data set's (category id, name) by class index; ``seed`` draws what is drawn.
    """
    match recipe.task:
        case "classification":
            return Classification(recipe)
        case "contrastive":
            return ContrastivePairs(recipe, seed)
        case "detection":
            return Detection(recipe, categories)
