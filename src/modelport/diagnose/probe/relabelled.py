"""Lines of a recipe that number a data set's classes otherwise: believed where the data set, opened with them, does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from modelport.core.errors import ModelportError
from modelport.core.values import DataSet
from modelport.diagnose.changes.base import Change
from modelport.recipes.schema import Recipe

# Opens the data set as a recipe says, in its order.
Reopened = Callable[[Recipe], DataSet]


def relabelled(recipe: Recipe, change: Change, samples: DataSet, reopened: Reopened) -> Recipe | None:
    """Return the recipe whose ``class_map`` makes of every sample's label what a change of labels does.

    None where no such map does: a data set may say its labels in a way that no map of names reaches, or a change may
    leave labels without a class.
    """
    if change.target is None:
        return None
    wanted = [change.target(sample.target) for sample in samples]
    for names in _called(recipe):
        mended = _mapped(recipe, change.target, names)
        if mended is not None and _targets(mended, reopened) == wanted:
            return mended
    return None


def _called(recipe: Recipe) -> Iterator[Sequence[str]]:
    """Yield what a data set may call its labels: their numbers, the recipe's names."""
    dataset = recipe.dataset
    if dataset.classes is not None:
        yield [str(label) for label in range(dataset.classes - dataset.label_offset)]
    if dataset.names is not None:
        yield dataset.names


def _mapped(recipe: Recipe, moved: Callable[[Any], Any], called: Sequence[str]) -> Recipe | None:
    names = recipe.dataset.names or ()
    own = {
        name: moved(names.index(label) if isinstance(label, str) else label)
        for name, label in (recipe.dataset.class_map or {}).items()
    }
    if None in own.values():
        return None
    moves = ((name, label, moved(label)) for label, name in enumerate(called))
    others = {name: to for name, label, to in moves if to not in (label, None)}
    dataset = recipe.dataset.model_copy(update={"class_map": others | own})
    return recipe.model_copy(update={"dataset": dataset})


def _targets(recipe: Recipe, reopened: Reopened) -> list[Any] | None:
    try:
        return [sample.target for sample in reopened(recipe)]
    except ModelportError:
        return None  # what the map names is not there, or reads otherwise: it is not the one that is wanted
