"""Changes of how labels and outputs number the classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from modelport.core.text import plain, some
from modelport.core.values import Array, RowId
from modelport.diagnose.changes.base import Change
from modelport.recipes.schema import Recipe
from modelport.tasks.answered import Answered
from modelport.verdict.alignment import permutation

OFFSET, ORDER = "label_offset", "class_order"
# Labels of these forms are numbers of classes that can be moved one by one.
NUMBERED = ("class", "classes")


def label_changes(recipe: Recipe) -> Iterator[Change]:
    """Yield labels moved by one, and classes sorted otherwise."""
    classes, offset = recipe.dataset.classes, recipe.dataset.label_offset
    if classes is None:
        return
    for moved in (-1, 1):
        to = offset + moved
        if 0 <= to < classes:
            yield Change(OFFSET, f"{to}", _offset_told(offset, to), recipe=partial(_with_offset, to))
        elif to < 0 and recipe.label_form in NUMBERED:
            told = "the labels count from 1, the model's classes from 0"
            yield Change(OFFSET, f"{to}", told, target=partial(_each, _less), mend="take 1 off every label")
    if recipe.label_form not in NUMBERED or classes - offset < 2:
        return
    labels = classes - offset
    for value, told, moves in _orders(labels, recipe.dataset.names):
        if any(label != to for label, to in enumerate(moves)):
            mend = f"number the labels so: {_shown(dict(enumerate(moves)))} (dataset.class_map, or the label file)"
            yield Change(ORDER, value, told, target=partial(_each, dict(enumerate(moves)).get), mend=mend)


def permutation_change(ids: Sequence[RowId], labels: Sequence[int], answers: Array, offset: int) -> Change | None:
    """Return the permutation that answers tell of, int (N,) as the output counts classes; None where they tell none.

    It is learned from these samples, and is to be held against others.
    """
    answered = Answered()
    answered.take(ids, [label + offset for label in labels], answers)
    moves = {label - offset: to - offset for label, to in permutation(answered.pairs).items() if to >= offset}
    if not moves:
        return None
    told = f"the labels number the classes in another order than the model: {_shown(moves)}, learned from the answers"
    mend = f"number the labels so: {_shown(moves)} (dataset.class_map, or the label file)"

    def moved(label: int) -> int:
        return moves.get(label, label)

    return Change(ORDER, "permutation", told, target=moved, mend=mend)


def _offset_told(offset: int, to: int) -> str:
    if to == offset + 1 == 1:
        return "the model's class 0 is the background, the labels begin with class 1"
    return f"label_offset is {to}, where the recipe says {offset}"


def _with_offset(to: int, recipe: Recipe) -> Recipe | None:
    return recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"label_offset": to})})


def _less(label: int) -> int | None:
    return label - 1 if label > 0 else None


def _each(one: Callable[[int], int | None], target: Any) -> Any:
    """Return the target with each of its labels moved; None where one has no class."""
    if not isinstance(target, tuple):
        return one(int(target))
    moved = tuple(one(int(label)) for label in target)
    return None if None in moved else moved


def _orders(labels: int, names: Sequence[str] | None) -> Iterator[tuple[str, str, list[int]]]:
    """Yield other orders of the classes: what each is called, what it means, and what each label becomes."""
    as_text = _ranks([str(label) for label in range(labels)])
    told = "the model's classes are sorted as text (0, 1, 10, 2), the labels as numbers"
    yield "as text", told, as_text
    yield "as numbers", "the labels are sorted as text (0, 1, 10, 2), the model's classes as numbers", _inverse(as_text)
    from_one = _ranks([str(label + 1) for label in range(labels)])
    if from_one != as_text:
        told = "the model's classes, which count from 1, are sorted as text (1, 10, 2), the labels as numbers"
        yield "as text from 1", told, from_one
        told = "the labels, which count from 1, are sorted as text (1, 10, 2), the model's classes as numbers"
        yield "as numbers from 1", told, _inverse(from_one)
    yield "turned round", "the model's classes are in the opposite order", list(range(labels))[::-1]
    if names is not None and len(names) == labels:
        by_name = _ranks(list(names))
        yield "by name", "the model's classes are sorted by name", by_name
        yield (
            "as listed",
            "the labels are sorted by name, the model's classes as the recipe lists them",
            _inverse(by_name),
        )
        caseless = _ranks([name.casefold() for name in names])
        if caseless != by_name:
            yield "by name, whatever the case", "the model's classes are sorted by name, whatever the case", caseless


def _ranks(words: Sequence[str]) -> list[int]:
    """Return the place of each word among all of them, sorted."""
    order = sorted(range(len(words)), key=lambda place: (words[place], place))
    return _inverse(order)


def _inverse(order: Sequence[int]) -> list[int]:
    found = [0] * len(order)
    for place, label in enumerate(order):
        found[label] = place
    return found


def _shown(moves: Mapping[int, int]) -> str:
    moved = [f"{label} → {to}" for label, to in sorted(moves.items()) if label != to]
    return plain(some(moved), 300)
