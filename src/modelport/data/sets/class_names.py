"""What a data set calls its classes, and which classes of the model these are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.errors import DataError, did_you_mean
from modelport.core.text import plain, some
from modelport.data.sets.base import Wanted

# A label as digits; more of them are no class of any model.
NUMBER = re.compile("[0-9]{1,9}")


def like(name: str) -> str:
    """Return a name without what spellings of it differ in: capitals, and underscores for spaces."""
    return " ".join(name.replace("_", " ").split()).casefold()


class ClassNames:
    """Finds the label of what a data set calls a class, by the recipe's map and the model's names of the classes."""

    def __init__(self, wanted: Wanted) -> None:
        """Take what is wanted. Raises DataError where the number of classes is not told."""
        self.classes = wanted.known
        self.names = wanted.names
        self._map: Mapping[str, int | str] = wanted.class_map
        self._exact = {name: label for label, name in enumerate(wanted.names)}
        spelled = [like(name) for name in wanted.names]
        times = Counter(spelled)
        # Two names that differ in capitals alone are told apart by them.
        self._alike = {key: label for label, key in enumerate(spelled) if times[key] == 1}
        self._respelled: dict[str, str] = {}

    def named(self, name: str) -> int | None:
        """Return the label of a name that the recipe's map has, else of one of the model's; None for another name."""
        if (mapped := self._map.get(name)) is not None:
            return self._exact[mapped] if isinstance(mapped, str) else mapped
        if name in self._exact:
            return self._exact[name]
        label = self._alike.get(like(name))
        if label is not None:
            self._respelled[name] = self.names[label]
        return label

    def label(self, value: Any, place: str) -> int:
        """Return the label that a value of a file tells: a number, digits, or a name. Raises DataError at ``place``."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise DataError(f"{place}: {shown(value)} is no label", "write a class's number or name")
        text = str(value).strip()
        named = self.named(text)
        number = int(text) if NUMBER.fullmatch(text) else None
        if named is not None and number not in (None, named) and text not in self._map:
            raise DataError(
                f"{place}: label {text} is the name of class {named} and the number of another class",
                "say which is meant in dataset.class_map of the recipe",
            )
        if named is not None:
            return named
        if self.names and not text.lstrip("+-").isdecimal():
            raise DataError(f"{place}: no class is named {shown(text)}", self.fix(text))
        if number is None or number >= self.classes:
            raise DataError(
                f"{place}: label {plain(repr(text[:20]))} is not an integer from 0 to {self.classes - 1}",
                "count the labels from 0; an offset to the model's outputs belongs into the recipe"
                if text.lstrip("+-").isdecimal()
                else self.fix(text),
            )
        return number

    def fix(self, name: str) -> str:
        """Return what to do about a name that is not known."""
        if not self.names:
            return "the recipe names no classes: give dataset.names or dataset.class_map, or write the class's number"
        known = some((plain(name, 40) for name in self.names), 5)
        return f"{did_you_mean(name, self.names)}known classes: {known}; dataset.class_map can tell of others"

    def notes(self, place: object) -> tuple[str, ...]:
        """Return what is to be said of names that were found in another spelling alone."""
        if not self._respelled:
            return ()
        pairs = (f"{plain(found, 40)} is {plain(name, 40)}" for found, name in self._respelled.items())
        return (f"{place}: classes are named in another spelling: {some(pairs)}",)


def held_names(place: object, told: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be said where a data set calls its labels otherwise than the recipe does, label by label.

    Raises DataError where the names are the same in another order: then no figure can be right.
    """
    other = [label for label, (one, two) in enumerate(zip(told, wanted, strict=False)) if like(one) != like(two)]
    if not told or not wanted or not other:
        return ()
    label = other[0]
    found = f"{place}: label {label} is {plain(told[label], 40)}, in the recipe {plain(wanted[label], 40)}"
    if sorted(map(like, told)) == sorted(map(like, wanted)):
        raise DataError(f"{found}: the same names in another order", "give dataset.names in the data set's order")
    return (f"{found} ({len(other)} differ)",)


def shown(value: Any) -> str:
    """Return a value of a file as a message shows it, cut to one short line."""
    return plain(repr(value), 60)
