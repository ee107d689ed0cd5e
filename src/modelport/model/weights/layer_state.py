"""Whether a layer's weights are as an initialiser draws them, trained, or without any order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelport.model.weights.initialisers import DEFAULT, initialiser_of, shape_of
from modelport.model.weights.roles import Weight
from modelport.model.weights.weight_statistics import spread

# Values that a layer must have: for the edge of PyTorch's default to tell that it is a draw, for the form of the
# distribution to hint at it, for its size to tell it, and so many that no training leaves no trace of places in them.
TOLD_BY_EDGE, TOLD_BY_SHAPE, TOLD_BY_SIZE, UNMISTAKABLE = 256, 1024, 4096, 32768
# Scores of places, and of the kurtosis, that no draw has. Of the layers of five published networks with 2048 values or
# more all but small 1 × 1 ones have 10 and more.
TRAINED, PEAKED = 10.0, 15.0
# A score that shuffled values stay below; and how many values that takes, at least and to be certain.
SHUFFLED, ENOUGH, PLACES_ALONE = 5.0, 2048, 8192


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's weights as judged by themselves."""

    weight: Weight
    state: Literal["drawn", "perhaps drawn", "trained", "shuffled", ""]  # empty: cannot be told
    shape: str = ""  # the distribution that it is a draw of
    known: str = ""  # the initialiser of that size, where it is a known one
    norm: str = ""  # the batch norm that follows at once
    fresh: bool = False  # that norm has never seen a batch
    even: bool = True  # its output channels are of one size
    taps: float = 0.0  # score: its taps differ, or neighbouring ones are alike

    @property
    def tapped(self) -> bool:
        """Whether it has taps, and values that tell of them."""
        values = self.weight.values
        return math.prod(values.shape[2:]) > 1 and values.size >= ENOUGH

    @property
    def large(self) -> bool:
        """Whether no training leaves so many values without a trace of their places."""
        return self.weight.values.size >= UNMISTAKABLE

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
    spread_of = spread(weight.values) if weight.values.size >= TOLD_BY_EDGE else None
    if spread_of is None:
        return Layer(weight, "")
    shape = shape_of(spread_of)
    if shape is not None:
        known = initialiser_of(weight.values.shape, shape, spread_of) if spread_of.even else ""
        # Where a draw ends is told by few values, its size by many.
        told = spread_of.n >= TOLD_BY_SIZE if known else False
        told |= shape == "uniform" and known == DEFAULT
        if told or spread_of.n >= TOLD_BY_SHAPE:
            return Layer(weight, "drawn" if told else "perhaps drawn", shape, known, norm, fresh, spread_of.even)
        return Layer(weight, "")
    if spread_of.structure > TRAINED or spread_of.kurtosis_score > PEAKED:
        shuffled = spread_of.n >= ENOUGH and spread_of.even and spread_of.places < SHUFFLED
        return Layer(weight, "shuffled" if shuffled else "trained", norm=norm, fresh=fresh, taps=spread_of.taps)
    return Layer(weight, "")
