"""All single changes of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.core.errors import ModelportError
from modelport.diagnose.changes.arithmetic import arithmetic_changes
from modelport.diagnose.changes.base import Change
from modelport.diagnose.changes.chains import effect
from modelport.diagnose.changes.colour import colour_changes
from modelport.diagnose.changes.geometry import geometry_changes
from modelport.diagnose.changes.labels import OFFSET, ORDER, label_changes
from modelport.diagnose.changes.layout import layout_changes
from modelport.diagnose.changes.outputs import output_changes
from modelport.diagnose.changes.weights import weight_changes
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task
from modelport.tasks.table import task_of

# What yields the changes of a theme, in the order in which they are listed.
THEMES = (colour_changes, arithmetic_changes, geometry_changes, layout_changes, label_changes, output_changes)


@dataclass(frozen=True, slots=True)
class Changed:
    """A change and what it makes of the recipe; a change of inputs, outputs, labels or places leaves that as it is."""

    change: Change
    recipe: Recipe


def changes_for(recipe: Recipe, task: Task, weights: Path | None = None) -> Sequence[Change]:
    """Return the single changes that say something to a recipe and its task.

    None leaves the recipe as it is, and no two of them make the same of it. ``weights``: the checkpoint, of which
    other state dicts are changes too.
    """
    return [changed.change for changed in changed_recipes(recipe, task, weights)]


def changed_recipes(recipe: Recipe, task: Task, weights: Path | None = None) -> list[Changed]:
    """Return the same, each with what it makes of the recipe."""
    seen = {effect(recipe)}
    found: list[Changed] = []
    for change in _all(recipe, weights):
        if change.kind in (OFFSET, ORDER) and not task.needs_labels:
            continue
        made = recipe if change.recipe is None else change.recipe(recipe)
        if made is None or not _read(made):
            continue
        if change.recipe is not None:
            if (amounts_to := effect(made)) in seen:
                continue
            seen.add(amounts_to)
        found.append(Changed(change, made))
    return found


def _all(recipe: Recipe, weights: Path | None) -> Iterator[Change]:
    for theme in THEMES:
        yield from theme(recipe)
    yield from weight_changes(recipe, weights)


def _read(recipe: Recipe) -> bool:
    """Whether the recipe's task can read what the change makes of it."""
    try:
        task_of(recipe)
    except (ModelportError, ValueError):
        return False
    return True
