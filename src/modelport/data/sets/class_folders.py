"""Which class of the model each class folder is: told by the recipe, by its number, or by a published order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from modelport.core.errors import DataError
from modelport.core.text import plain, some
from modelport.data.sets.base import Wanted
from modelport.data.sets.class_names import NUMBER, ClassNames
from modelport.data.sets.wordnet_ids import LABELS

# What marks a note of labels that nobody told.
GUESS = "is a GUESS"
# ImageNet's folders.
WORDNET = re.compile("n[0-9]{8}")
# The folders of drawn sets: the class's number in the place of an id of WordNet, whose own ids of things begin later.
DRAWN = re.compile("n0000[0-9]{4}")
_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBERS = {word: number for number, word in enumerate(_WORDS)}
_TOKEN = re.compile("[0-9]+|[A-Za-z]+")
_FIX = "name the model's classes in dataset.names of the recipe, or say which folder is which in dataset.class_map"


def labels_of_folders(folder: Path, names: Sequence[str], wanted: Wanted) -> tuple[Sequence[int], tuple[str, ...]]:
    """Return the label of each class folder of sorted ``names``, and what is to be said of that.

    A folder is the class that ``class_map`` or the model's names tell for its name; else the class of its number, where
    all are numbers. Else the folders stand in the order of the classes: by publication where all are WordNet's, and as
    a guess, which is said, for other names. Identities are numbered as they come. Raises DataError where no order can
    be relied on.
    """
    if wanted.form == "identity":
        return range(len(names)), ()
    known = ClassNames(wanted)
    found = {name: known.named(name) for name in names}
    if any(label is not None for label in found.values()):
        return _named(folder, found, known)
    if all(NUMBER.fullmatch(name) for name in names):
        return _numbered(folder, [int(name) for name in names], known.classes)
    schemes = {"a number": NUMBER, "an id of WordNet": WORDNET}
    for told, scheme in schemes.items():
        alike = [name for name in names if scheme.fullmatch(name)]
        if alike and len(alike) < len(names):
            other = next(name for name in names if name not in alike)
            raise DataError(f"{folder}: class folder {alike[0]} is {told}, {plain(other, 60)} is none", _FIX)
    if known.classes == len(LABELS) and all(name in LABELS for name in names):
        part = f"{folder}: {len(names)} of ImageNet's {len(LABELS)} class folders, each of its published number"
        return [LABELS[name] for name in names], (part,) if len(names) < len(LABELS) else ()
    if all(DRAWN.fullmatch(name) and int(name[1:]) < known.classes for name in names):
        return [int(name[1:]) for name in names], ()
    if len(names) < known.classes:
        raise DataError(
            f"{folder} holds {len(names)} class folders ({_few(names)}) for {known.classes} classes, and nothing tells "
            "which of the classes they are",
            f"{_FIX}; or score no labels: --images {folder} --predict",
        )
    if WORDNET.fullmatch(names[0]):
        return range(len(names)), ()
    _hold_order(folder, names)
    pairs = some(f"{plain(name, 40)} = {label}" for label, name in enumerate(names))
    guess = f"{folder}: which class each folder is, {GUESS}: their order as sorted text, {pairs}"
    return range(len(names)), (f"{guess}; dataset.names of the recipe would tell",)


def _named(folder: Path, found: dict[str, int | None], known: ClassNames) -> tuple[list[int], tuple[str, ...]]:
    folders: dict[int, str] = {}
    for name, label in found.items():
        if label is None:
            one = next(other for other, told in found.items() if told is not None)
            raise DataError(
                f"{folder}: class folder {plain(one, 40)} is named as a class of the model, {plain(name, 60)} is not",
                known.fix(name),
            )
        if label in folders:
            raise DataError(
                f"{folder}: the class folders {plain(folders[label], 60)} and {plain(name, 60)} are both class {label}",
                "put their images into one, or mend dataset.class_map",
            )
        folders[label] = name
    return list(folders), known.notes(folder)


def _numbered(folder: Path, numbers: Sequence[int], classes: int) -> tuple[Sequence[int], tuple[str, ...]]:
    # Sorted as text, 10 comes before 2: a place among the names would be another class than the number says.
    if len(set(numbers)) < len(numbers):
        twice = next(number for number, times in Counter(numbers).items() if times > 1)
        raise DataError(f"{folder}: two class folders are the number {twice}", "put their images into one")
    if min(numbers) == 1 and max(numbers) == classes:
        raise DataError(
            f"{folder}: the class folders are numbered from 1 to {classes}, classes are counted from 0",
            f"rename each folder to its number less one (0 to {classes - 1}), if 1 is the model's first class",
        )
    if max(numbers) >= classes:
        raise DataError(
            f"{folder}: class folder {max(numbers)} is no class of the model, which has 0 to {classes - 1}",
            "name each folder by its class, counted from 0, or choose the recipe that fits the data",
        )
    note = f"{folder}: the class folders are named by whole numbers; these are taken as the labels, counted from 0"
    if 0 not in numbers:
        note += f"; none is 0 (they are {min(numbers)} to {max(numbers)}): if they count from 1, every label is one off"
    return numbers, (note,)


def _hold_order(folder: Path, names: Sequence[str]) -> None:
    """Raise DataError where names that differ in their numbers alone stand in another order than the numbers do.

    As text class10 comes before class2, and eight before one: one of the two orders is the model's.
    """
    last: dict[str, tuple[tuple[int, ...], str]] = {}
    for name in names:
        rest, numbers = _apart(name)
        before, earlier = last.get(rest, (numbers, name))
        if numbers < before:
            raise DataError(
                f"{folder}: sorted as text, class folder {plain(earlier, 40)} comes before {plain(name, 40)}, by their "
                "numbers after it; nothing tells which of the two is the order of the classes",
                _FIX,
            )
        last[rest] = numbers, name


def _apart(name: str) -> tuple[str, tuple[int, ...]]:
    """Return a name with its numbers taken out, and the numbers, in digits or in words from zero to twenty."""
    numbers: list[int] = []

    def cut(token: re.Match[str]) -> str:
        word = token.group().lower()
        if not word.isdigit() and word not in _NUMBERS:
            return token.group()
        numbers.append(_NUMBERS[word] if word in _NUMBERS else int(word))
        return "\0"

    return _TOKEN.sub(cut, name), tuple(numbers)


def _few(names: Sequence[str]) -> str:
    return some(plain(name, 40) for name in names)
