"""Labels in an array, a row for each image: a class, a set of classes as zeros and ones, or numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.core.errors import DataError, UsageError
from modelport.core.values import Array
from modelport.data.sets.base import Wanted
from modelport.data.sets.class_names import ClassNames
from modelport.data.sets.identities import Identities
from modelport.data.sets.label_notes import all_alike, class_notes


def labels_of_array(labels: Array, wanted: Wanted, place: str) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Return a label for each row of ``labels``, in the form that is wanted, and what is to be said of them all.

    A class or an identity is (N,) or (N, 1) of whole numbers or names; a set of classes (N, C) of zeros and ones;
    numbers (N,) or (N, K), all finite. Raises DataError, naming the row.
    """
    readers = {"class": _class, "classes": _classes, "identity": _identity, "numbers": _numbers}
    if wanted.form not in readers:
        raise UsageError(f"labels of the form {wanted.form} are in no array", "choose another dataset.kind")
    return readers[wanted.form](labels, wanted, place)


def _class(labels: Array, wanted: Wanted, place: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    _hold_single(labels, place)
    names = ClassNames(wanted)
    found = tuple(names.label(value, f"{place}, row {row}") for row, value in enumerate(labels.reshape(-1).tolist()))
    return found, (*names.notes(place), *class_notes(place, found, names.classes, names.names))


def _identity(labels: Array, wanted: Wanted, place: str) -> tuple[tuple[int, ...], tuple[str, ...]]:
    _hold_single(labels, place)
    names = Identities()
    found = tuple(names.label(value, f"{place}, row {row}") for row, value in enumerate(labels.reshape(-1).tolist()))
    return found, all_alike(place, found)


def _hold_single(labels: Array, place: str) -> None:
    if labels.shape[1:] not in ((), (1,)) or labels.dtype.kind not in "iuU":
        raise DataError(
            f"{place}: labels are {labels.dtype} {labels.shape}; one class an image is (N,) of whole numbers",
            "save the number of each image's class, such as scores.argmax(1)",
        )


def _classes(labels: Array, wanted: Wanted, place: str) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    if labels.ndim != 2 or labels.shape[1] != wanted.known or labels.dtype.kind not in "biuf":
        raise DataError(
            f"{place}: labels are {labels.dtype} {labels.shape}, sets of classes are (N, {wanted.known})",
            "save a row of zeros and ones for each image, a column for each class",
        )
    odd = np.argwhere((labels != 0) & (labels != 1))  # NaN, too
    if len(odd):
        row, column = odd[0].tolist()
        raise DataError(f"{place}, row {row}: class {column} is {labels[row, column]}, neither 0 nor 1", "mend it")
    found = tuple(tuple(np.flatnonzero(row).tolist()) for row in labels)
    empty = sum(not label for label in found)
    said = (f"{place}: {empty} of {len(found)} images have no class at all",) if empty else ()
    return found, (*said, *class_notes(place, [one for label in found for one in label], wanted.known, wanted.names))


def _numbers(labels: Array, wanted: Wanted, place: str) -> tuple[tuple[tuple[float, ...], ...], tuple[str, ...]]:
    if labels.ndim > 2 or labels.dtype.kind not in "iuf":
        raise DataError(
            f"{place}: labels are {labels.dtype} {labels.shape}; numbers are (N,) or (N, K)",
            "save a row of numbers for each image",
        )
    wide = labels.reshape(len(labels), -1).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(wide).all(axis=1))
    if len(bad):
        raise DataError(f"{place}, row {bad[0]}: {wide[bad[0]].tolist()} is not finite", "mend or remove the image")
    found = tuple(map(tuple, wide.tolist()))
    return found, all_alike(place, found)
