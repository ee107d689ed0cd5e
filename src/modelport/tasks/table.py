"""The tasks by the name that a recipe gives."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel

from modelport.core.errors import RecipeError, UsageError, unknown
from modelport.core.values import LabelForm
from modelport.recipes.checks import FORMS_OF_KIND
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task

# A task is one line here; its module is imported when a recipe names it. `init` asks them in this order: scores beside
# boxes are no classifier's.
TASKS: dict[str, str] = {
    "detection": "modelport.tasks.detection.task:Detection",
    "instances": "modelport.tasks.instances.task:InstanceMasks",
    "keypoints": "modelport.tasks.keypoints.task:Keypoints",
    "classification": "modelport.tasks.classification.task:Classification",
    "contrastive": "modelport.tasks.contrastive.task:ContrastivePairs",
    "segmentation": "modelport.tasks.segmentation.task:Segmentation",
    "multilabel": "modelport.tasks.multilabel.task:MultiLabel",
    "regression": "modelport.tasks.regression.task:Regression",
    "text": "modelport.tasks.text.task:Text",
    "embeddings": "modelport.tasks.embeddings.task:Embeddings",
    "outputs": "modelport.tasks.outputs.task:Outputs",
}
# Forms of labels that are classes: each is one of so many.
COUNTED = ("class", "classes", "boxes", "outlines", "keypoints", "mask")


def task_of(recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> Task:
    """Return the recipe's task. Raises RecipeError for a name that no task has.

    ``categories`` are a detection data set's (category id, name) by class index; ``seed`` draws what is drawn.
    """
    return task_class(recipe.task)(recipe, categories, seed)


def task_class(name: str) -> type[Task]:
    """Return the task of a name, for what it says without a recipe. Raises RecipeError for an unknown one."""
    if name not in TASKS:
        raise RecipeError(f"no task '{name}'", unknown("tasks", name, TASKS))
    found: type[Task] = resolve_name(TASKS[name])
    return found


def task_names() -> list[str]:
    """Return the names that a recipe can give, as the schema asks for them."""
    return list(TASKS)


def tolerance_of(task: object) -> dict[str, Any] | None:
    """Return what a recipe of that task tolerates where it does not tell it, as the schema asks for it.

    None for what is no task: the schema says so.
    """
    return task_class(task).tolerance.model_dump() if isinstance(task, str) and task in TASKS else None


def recipe_tables() -> dict[str, type[BaseModel]]:
    """Return the forms of the recipes' tables that one task alone reads, by the task's name."""
    found = {name: task_class(name).recipe_table for name in TASKS}
    return {name: form for name, form in found.items() if form is not None}


def label_form(task: str) -> LabelForm:
    """Return what a task takes for labels, as the schema asks for it."""
    return task_class(task).label_form


def need_labels(recipe: Recipe) -> None:
    """Raise UsageError where the task holds answers against labels, and the recipe's data set has none."""
    if task_class(recipe.task).needs_labels and not recipe.dataset.labelled:
        raise UsageError(
            f"{recipe.name}: the task {recipe.task} is scored against labels, a data set of the kind "
            f"'{recipe.dataset.kind}' has none",
            "`modelport run` with --predict scores the agreement with the source alone; or give labelled data",
        )


def check_recipe(recipe: Recipe) -> None:
    """Raise ValueError where a recipe's tables, metrics or shapes are not its task's."""
    task = task_class(recipe.task)
    for table in recipe.tables:
        if table in TASKS and table != recipe.task:
            raise ValueError(f"the table {table} belongs to the task {table}, and to it alone")
    if task.needs_table and recipe.task not in recipe.tables:
        raise ValueError(f"the task {recipe.task} needs the table [{recipe.task}]")
    for name in recipe.metrics:
        if name not in task.metrics:
            raise ValueError(
                f"metrics: '{name}' is no metric of {recipe.task}, {unknown('metrics', name, task.metrics)}"
            )
    if len(set(recipe.metrics)) < len(recipe.metrics):
        raise ValueError(f"metrics: one is named twice: {recipe.metrics}")
    _check_labels(recipe, task)
    task.check(recipe)


def _check_labels(recipe: Recipe, task: type[Task]) -> None:
    """Raise ValueError where the data set's labels are none that the task takes, or nothing tells how many classes."""
    kind, forms = recipe.dataset.kind, resolve_name(FORMS_OF_KIND)(recipe.dataset.kind)
    if not forms:
        return
    if task.needs_labels and task.label_form not in forms:
        found = f"dataset.kind {kind}: its labels are {' or '.join(forms)}"
        raise ValueError(f"{found}, {recipe.task} takes {task.label_form}")
    if recipe.dataset.classes is None and task.label_form in COUNTED:
        raise ValueError(f"dataset.classes is missing: labels of {kind} are held against classes")
