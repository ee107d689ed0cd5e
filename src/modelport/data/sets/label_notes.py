"""What is odd about the labels of a data set, and is said beside its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelport.core.text import plain, some

# Images per class from which on a class that has none is odd, and not merely missed by a small sample.
PER_CLASS = 3


def class_notes(place: object, labels: Sequence[int], classes: int, names: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what is odd about labels that are classes; of each image there is one, of a set of classes several."""
    if not labels:
        return ()
    found, count, notes = set(labels), len(labels), []
    if len(found) == 1 and count > 1 and classes > 1:
        return (f"{place}: all {count} images have the label {min(found)}",)
    # Of fewer images a whole class may well be missing.
    if count >= classes and min(found) == 1:
        notes.append(f"{place}: no label is 0 (they are {min(found)} to {max(found)}); do they count from 1?")
    missing = [label for label in range(classes) if label not in found] if count >= PER_CLASS * classes else []
    if missing:
        told = (f"{label} ({plain(names[label], 40)})" if names else str(label) for label in missing)
        notes.append(f"{place}: {len(missing)} of {classes} classes have no image: {some(told)}")
    return tuple(notes)


def all_alike(place: object, labels: Sequence[Any]) -> tuple[str, ...]:
    """Return a note where all labels, of whatever form, are the same."""
    if len(set(labels)) > 1 or len(labels) < 2:
        return ()
    return (f"{place}: all {len(labels)} images have the label {plain(repr(labels[0]), 60)}",)
