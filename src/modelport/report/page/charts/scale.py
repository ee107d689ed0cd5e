"""From figures to places on a drawing, and the round figures that stand beside an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Steps between ticks are these times a power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990).
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# An axis that spans fewer decades has ticks at 2 and 5 as well.
FEW_DECADES = 2.0
# What lies beyond, or on an axis of ratios below its inverse, is no figure that was measured.
LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps ``low`` to ``start`` and ``high`` to ``end``, in equal steps or, with ``log``, in equal ratios."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value; what lies beyond an end lies at that end."""
        low, high, here = (math.log(one) if self.log else one for one in (self.low, self.high, self._inside(value)))
        share = (here - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def _inside(self, value: float) -> float:
        return min(max(value, self.low), self.high)


def drawable(*values: float) -> bool:
    """Whether figures are finite and no larger than any that is ever measured."""
    return all(math.isfinite(value) and abs(value) <= LARGEST for value in values)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round figures, evenly spaced, the first at most ``low`` and the last at least ``high``.

    Both ends are drawable. Ends that are one figure, or that floats hardly part, are widened.
    """
    span = high - low
    if span <= max(abs(low), abs(high), 1e-300) * 1e-9:
        span = abs(low) * 0.1 or 1.0
        low, high = low - span / 2, high + span / 2
    rough = span / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in STEPS if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [rounded(index * step, step) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return round figures for an axis of ratios, the first at most ``low`` and the last at least ``high``.

    Both are drawable, as are their inverses. They are powers of ten, of fewer than two decades 1, 2 and 5 times such.
    """
    decades = math.log10(high / low)
    factors = (1.0, 2.0, 5.0) if decades < FEW_DECADES else (1.0,)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    every = max(1, math.ceil(decades / 6))
    found = [float(f"{factor}e{power}") for power in powers if power % every == 0 for factor in factors]
    below = [value for value in found if value <= low * (1 + 1e-9)] or [low]
    above = [value for value in found if value >= high * (1 - 1e-9)] or [high]
    inside = [value for value in found if below[-1] < value < above[0]]
    last = [above[0]] if above[0] > below[-1] else [below[-1] * 10]
    return [below[-1], *inside, *last]


def rounded(value: float, step: float) -> float:
    """Return a multiple of a step without the digits that float arithmetic adds."""
    return round(value, max(0, 2 - math.floor(math.log10(step)))) + 0.0


def short(value: float) -> str:
    """Return a figure as it stands beside an axis: four digits, thousands as k, millions as M."""
    for least, unit, letter in ((1e12, 1.0, ""), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (9999.5, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def labels(values: Sequence[float]) -> list[str]:
    """Return what stands beside ticks, with as many digits as tell them apart."""
    words = list(map(short, values))
    for digits in range(5, 13):
        if len(set(words)) == len(set(values)):
            break
        words = [f"{value:.{digits}g}" for value in values]
    return words


def within(value: float, span: float) -> str:
    """Return a figure to a hundredth of the span in which it is looked at, and to two digits behind the point at least.

    A span of zero, and figures from a million on, take four digits.
    """
    if span <= 0 or abs(value) >= 1e6:
        return short(value)
    return f"{value:.{min(12, max(2, 2 - math.floor(math.log10(span))))}f}"


def thinned(places: Sequence[float], apart: float) -> list[int]:
    """Return the indices of places, in their order, that lie at least ``apart``: the first, the last if it can be."""
    kept: list[int] = []
    for index, place in enumerate(places):
        if not kept or abs(place - places[kept[-1]]) >= apart:
            kept.append(index)
    last = len(places) - 1
    if not kept or abs(places[last] - places[0]) < apart:
        return kept[:1]
    return [index for index in kept if abs(places[last] - places[index]) >= apart] + [last]
