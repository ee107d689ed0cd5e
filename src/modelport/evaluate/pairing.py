"""The tensors of two models that stand for each other: by name, else by position where that leaves no doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Literal

import numpy as np

from modelport.core.errors import UsageError
from modelport.core.values import TensorSpec, shape_fits


@dataclass(frozen=True, slots=True)
class Pair:
    """One tensor of the first model, and the second's."""

    first: TensorSpec
    second: TensorSpec

    @property
    def by(self) -> Literal["name", "position"]:
        """How the two were found to stand for each other."""
        return "name" if self.first.name == self.second.name else "position"

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The axes as both take them: one that either fixes is fixed."""
        axes = zip(self.first.shape, self.second.shape, strict=True)
        return tuple(mine if isinstance(mine, int) else theirs for mine, theirs in axes)

    @property
    def dtype(self) -> str:
        """The narrower float of the two: both can be given its values unchanged."""
        kinds = (self.first.dtype, self.second.dtype)
        return min(kinds, key=lambda kind: np.dtype(kind).itemsize)


@dataclass(frozen=True, slots=True)
class Paired:
    """The pairs in the first model's order, and what is to be said of them."""

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def paired_inputs(first: Sequence[TensorSpec], second: Sequence[TensorSpec]) -> Paired:
    """Return every input with the second model's. Raises UsageError where they cannot be given the same arrays."""
    found = _paired("input", first, second)
    if found is None or len(found.pairs) < max(len(first), len(second)):
        raise _apart("inputs", first, second)
    for pair in found.pairs:
        if not shape_fits(pair.first.shape, pair.second.shape):
            raise _apart("inputs", first, second)
        if pair.first.dtype != pair.second.dtype and not _both_float(pair):
            raise UsageError(
                f"the input '{pair.first.name}' is {pair.first.dtype} in the first model and {pair.second.dtype} in "
                "the second: no array can be given to both",
                "compare models that take the same input",
            )
    said = [
        f"the input '{pair.first.name}' is {pair.first.dtype} in the first model and {pair.second.dtype} in the "
        f"second: both are given values rounded to {pair.dtype}"
        for pair in found.pairs
        if pair.first.dtype != pair.second.dtype
    ]
    return Paired(found.pairs, (*found.notes, *said))


def paired_outputs(first: Sequence[TensorSpec], second: Sequence[TensorSpec]) -> Paired:
    """Return the outputs that stand for each other; one that only one model has is left out, and that is said.

    Raises UsageError where none do.
    """
    found = _paired("output", first, second)
    if found is None:
        raise _apart("outputs", first, second)
    return found


def _paired(kind: str, first: Sequence[TensorSpec], second: Sequence[TensorSpec]) -> Paired | None:
    """Pair by position where names differ, count and shapes agree, and no name stands at two places; else by name."""
    places = {spec.name: place for place, spec in enumerate(second)}
    shared = [spec for spec in first if spec.name in places]
    in_place = all(spec.name == first[place].name for spec in shared if (place := places[spec.name]) < len(first))
    alike = len(first) == len(second) and all(
        shape_fits(mine.shape, theirs.shape) and mine.dtype == theirs.dtype
        for mine, theirs in zip(first, second, strict=True)
    )
    if alike and in_place:
        pairs = tuple(starmap(Pair, zip(first, second, strict=True)))
        said = [
            f"the {kind} '{pair.first.name}' is held beside '{pair.second.name}': the names differ, they were paired "
            "by position"
            for pair in pairs
            if pair.by == "position"
        ]
        return Paired(pairs, tuple(said))
    if not shared:
        return None
    named = {spec.name for spec in shared}
    sides = (("first", first), ("second", second))
    alone = [f"the {side} model's '{spec.name}'" for side, specs in sides for spec in specs if spec.name not in named]
    said = [f"{', '.join(alone)}: the other model has no such {kind}, it was not compared"] if alone else []
    return Paired(tuple(Pair(spec, second[places[spec.name]]) for spec in shared), tuple(said))


def _both_float(pair: Pair) -> bool:
    return all(np.dtype(kind).kind == "f" for kind in (pair.first.dtype, pair.second.dtype))


def _apart(kind: str, first: Sequence[TensorSpec], second: Sequence[TensorSpec]) -> UsageError:
    told, others = ("; ".join(map(str, specs)) or "none" for specs in (first, second))
    return UsageError(
        f"the {kind} do not pair: the first model's are {told}; the second's are {others}",
        "compare models whose tensors have the same names, or the same count, shapes and dtypes in the same order",
    )
