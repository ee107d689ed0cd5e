"""How near arrays are to what they are held against, taken in parts, in float64."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from modelport.core.values import Array

# Arrays that are the same have no ratio of signal to noise; rounding to float32 alone leaves about 150 dB.
MOST_PSNR = 200.0
# An argmax over the last axis is the answer of classifiers (N, C) and of readers of sequences (N, T, C).
ARGMAX_RANKS = (2, 3)


@dataclass(frozen=True, slots=True)
class NonFinite:
    """Elements that hold NaN or infinity, and of how many the two sides do not hold the same."""

    got: int = 0
    want: int = 0
    differ: int = 0


@dataclass(frozen=True, slots=True)
class Near:
    """What lies between two arrays; over the elements that are finite in both, None where there is none.

    ``psnr`` in dB: the largest wanted value against the root mean square error, at most ``MOST_PSNR``. ``argmax`` in
    percent of the rows, None where no class stands on the last axis.
    """

    elements: int
    largest: float  # of the wanted values, absolute
    max_abs: float | None
    mean_abs: float | None
    rel_l2: float | None
    cosine: float | None
    psnr: float | None
    argmax: float | None
    nonfinite: NonFinite

    def to_json(self) -> dict[str, Any]:
        """Return the figures as a result file holds them."""
        return asdict(self)


class Nearness:
    """Sums what lies between arrays and what is wanted, keeps none of them.

    ``rtol`` is the share of each wanted value that its element may be off beside an absolute tolerance.
    """

    def __init__(self, rtol: float = 0.0) -> None:
        self._rtol = rtol
        self._elements = self._finite = 0
        self._largest = self._max_abs = self._beyond = 0.0
        self._sum_abs = self._square = self._got = self._want = self._product = 0.0
        self._same, self._rows = 0, 0
        self._nonfinite = np.zeros(3, np.int64)

    def take(self, got: Array, want: Array) -> None:
        """Take two arrays of one shape, of any numeric dtype."""
        # One copy of each: outputs may be large.
        mine, theirs = got.astype(np.float64), want.astype(np.float64)
        self._count_argmax(got, want)
        self._elements += mine.size
        both = np.isfinite(mine) & np.isfinite(theirs)
        if not both.all():
            broken, wanted = ~np.isfinite(mine), ~np.isfinite(theirs)
            alike = (mine == theirs) | (np.isnan(mine) & np.isnan(theirs))
            self._nonfinite += (int(broken.sum()), int(wanted.sum()), int((~both & ~alike).sum()))
            mine, theirs = mine[both], theirs[both]
        if not mine.size:
            return
        away, size = np.abs(mine - theirs), np.abs(theirs)
        self._finite += mine.size
        self._largest = max(self._largest, float(size.max()))
        self._max_abs = max(self._max_abs, float(away.max()))
        self._beyond = max(self._beyond, float((away - self._rtol * size).max()))
        self._sum_abs += float(away.sum())
        self._square += float(np.square(away).sum())
        self._got += float(np.square(mine).sum())
        self._want += float(np.square(theirs).sum())
        self._product += float((mine * theirs).sum())

    @property
    def beyond(self) -> float:
        """The absolute tolerance that would just pass: the largest difference less ``rtol`` times what is wanted.

        Infinite where one side alone is finite somewhere, or both nowhere: that proves nothing.
        """
        return self._beyond if self._finite and not self._nonfinite[2] else math.inf

    @property
    def largest(self) -> float:
        """The largest wanted value, absolute."""
        return self._largest

    def near(self) -> Near:
        """Return the figures of all that was taken."""
        argmax = 100.0 * self._same / self._rows if self._rows else None
        nonfinite = NonFinite(*map(int, self._nonfinite))
        if not self._finite:
            return Near(self._elements, 0.0, None, None, None, None, None, argmax, nonfinite)
        return Near(
            elements=self._elements,
            largest=self._largest,
            max_abs=self._max_abs,
            mean_abs=self._sum_abs / self._finite,
            rel_l2=_ratio(self._square, self._want),
            cosine=cosine_of(self._product, self._got, self._want),
            psnr=psnr_of(self._square / self._finite, self._largest),
            argmax=argmax,
            nonfinite=nonfinite,
        )

    def _count_argmax(self, got: Array, want: Array) -> None:
        if want.ndim not in ARGMAX_RANKS or want.dtype.kind != "f" or want.shape[-1] < 2:
            return
        self._same += int((got.argmax(axis=-1) == want.argmax(axis=-1)).sum())
        self._rows += want.size // want.shape[-1]


def cosine_of(product: float, got: float, want: float) -> float:
    """Return the cosine from a product and two squared lengths: 1 where both are zero, 0 where one is."""
    if got == 0.0 or want == 0.0:
        return float(got == want)
    return min(1.0, max(-1.0, product / (math.sqrt(got) * math.sqrt(want))))


def psnr_of(mean_square: float, peak: float) -> float:
    """Return the peak signal-to-noise ratio in dB: ``peak`` over the root of ``mean_square``, at most MOST_PSNR.

    https://en.wikipedia.org/wiki/Peak_signal-to-noise_ratio. Of zeros that are not met it is 0.
    """
    if mean_square == 0.0:
        return MOST_PSNR
    if peak == 0.0:
        return 0.0
    return min(MOST_PSNR, 20.0 * math.log10(peak) - 10.0 * math.log10(mean_square))


def _ratio(square: float, want: float) -> float | None:
    """Return the relative L2 distance; None where nothing but zeros was wanted and something came."""
    if want == 0.0:
        return 0.0 if square == 0.0 else None
    return math.sqrt(square / want)
