"""Whether a layer's weights are as an initialiser draws them, trained, or without any order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelport.model.weights.initialisers import DEFAULT, initialiser_of, shape_of
from modelport.model.weights.roles import Weight
from modelport.model.weights.weight_statistics import Spread, spread

# Values that a layer must have: for the edge of PyTorch's default to tell that it is a draw, for the form of the
# distribution to hint at it, and for its size to tell it.
TOLD_BY_EDGE, TOLD_BY_SHAPE, TOLD_BY_SIZE = 256, 1024, 4096
# Scores of places, and of the kurtosis, that no draw has. Of the layers of nine published networks with 2048 values or
# more all that have taps, and most others, have 10 and more; 1 × 1 ones of up to 16384 values have as little as 1.
TRAINED, PEAKED = 10.0, 15.0
# A score that shuffled values stay below; and how many values that takes, at least and to be certain.
SHUFFLED, ENOUGH, PLACES_ALONE = 5.0, 2048, 8192


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's weights as judged by themselves."""

    weight: Weight
    state: Literal["drawn", "perhaps drawn", "trained", "shuffled", ""]  # empty: cannot be told
    spread: Spread | None = None  # of its values; None where there are too few, or all are the same
    shape: str = ""  # the distribution that it is a draw of
    known: str = ""  # the initialiser of that size, where it is a known one
    norm: str = ""  # the batch norm that follows at once
    fresh: bool = False  # that norm has never seen a batch

    @property
    def even(self) -> bool:
        """Whether its output channels are of one size."""
        return self.spread is not None and self.spread.even

    @property
    def taps(self) -> float | None:
        """The score of its taps; None where it has one, or too few values that tell of them."""
        values = self.weight.values
        told = self.spread is not None and math.prod(values.shape[2:]) > 1 and values.size >= ENOUGH
        return self.spread.taps if told and self.spread is not None else None

    @property
    def root(self) -> float:
        """The root of the number of values that were looked at, with which scores grow."""
        return math.sqrt(self.spread.n) if self.spread is not None else 0.0

    @property
    def effect(self) -> float:
        """How much its places matter, whatever the number of its values."""
        return self.spread.places / self.root if self.spread is not None else 0.0

    @property
    def how(self) -> str:
        """The distribution, and the initialiser where it is a known one."""
        return f"{self.shape}, {self.known}" if self.known else self.shape


def layers_of(weights: Sequence[Weight], fresh: Mapping[str, bool]) -> list[Layer]:
    """Judge each layer; the batch norm that follows is the next in the order, of as many channels."""
    found: list[Layer] = []
    after: Weight | None = None
    for weight in reversed(weights):
        if weight.role == "layer" and weight.values.dtype.kind == "f" and weight.values.ndim > 1:
            follows = after is not None and after.role in ("scale", "mean")
            follows = follows and after is not None and after.values.shape == weight.values.shape[:1]
            norm = after.module if after is not None and follows else ""
            found.append(_judged(weight, norm, norm in fresh))
        if weight.role != "vector":
            after = weight
    return found[::-1]


def _judged(weight: Weight, norm: str, fresh: bool) -> Layer:
    """Tell a layer's state from how its values are spread."""
    found = spread(weight.values) if weight.values.size >= TOLD_BY_EDGE else None
    if found is None:
        return Layer(weight, "")
    shape = shape_of(found)
    if shape is not None:
        known = initialiser_of(weight.values.shape, shape, found) if found.even else ""
        # Where a draw ends is told by few values, its size by many.
        told = bool(known) and (found.n >= TOLD_BY_SIZE or (shape == "uniform" and known == DEFAULT))
        if told or found.n >= TOLD_BY_SHAPE:
            return Layer(weight, "drawn" if told else "perhaps drawn", found, shape, known, norm, fresh)
    elif found.structure > TRAINED or found.kurtosis_score > PEAKED:
        shuffled = found.n >= ENOUGH and found.even and found.places < SHUFFLED
        return Layer(weight, "shuffled" if shuffled else "trained", found, norm=norm, fresh=fresh)
    return Layer(weight, "", found)
