"""Samples whose answers flip most easily are drawn more often, and their weights keep the evidence valid at any moment.

Where the source's first score is hardly above its second, another engine's rounding turns the answer; its margin is
known before the engine runs. All planned samples are drawn without replacement, each with a chance that hangs on the
rank of its margin. With ``q`` the chance of what was drawn among those that were left, the sum of the losses before it
plus its own loss by ``q``, both by the number of samples, has the loss of the whole set as its mean, whatever was drawn
before (Des Raj, J. Am. Stat. Assoc. 51 (1956) 269). Bets on that are fair however margins and flips go together, and
win fastest where flips lie in small margins (Shekhar, Xu, Lipton, Liang and Ramdas, "Risk-limiting financial audits via
weighted sampling without replacement", UAI 2023, arXiv:2305.06884). So what is shown is shown of the planned set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import Floats
from modelport.verdict.betting import STAKES

# The rarest sample is drawn at this share of the plain chance: no stake may be larger than that share of the plain
# game's, so that without any flips the run takes a sixth longer. The rest of the chance falls with the margin's rank,
# exponentially, to the e-th part in an eighth of the samples. Of 0.5 to 0.9 and 5 to 15, these are among the fastest to
# settle a point where 1 % of the answers flip in the tenth with the smallest margins: a median of 650 of 50,000 samples
# against 900 in plain order.
LEAST, STEEPNESS = 0.85, 8.0
# Bounds are found to this part of a point or percent.
FINEST = 1e-3
# Mean losses this near to each other are the same: sums of fractions.
ROUNDING = 1e-12
# Weights may be off by this share: they are read from files as well.
SLACK = 1e-6


@dataclass(frozen=True, slots=True)
class Draw:
    """The order in which planned samples are taken, and what each counts."""

    order: NDArray[np.int64]  # (N,) places of the planned samples, first to last
    weights: Floats  # (N,) in that order: 1 by N times the chance of being drawn next; below 1 where drawn often


def margin_order(margins: Sequence[float | None], seed: int) -> Draw:
    """Draw the samples at random, those of small margins earlier; the same for the same seed.

    A sample without a margin, None or NaN, counts as one in the middle. Equal margins rank in their own order.
    """
    n = len(margins)
    known = np.array([math.nan if margin is None else margin for margin in margins], np.float64)
    ranked = np.argsort(known, kind="stable")  # NaN last
    there = n - int(np.isnan(known).sum())
    half = there // 2
    chances = np.empty(n)
    chances[np.concatenate([ranked[:half], ranked[there:], ranked[half:there]])] = densities(n)
    # Clocks that run out at these rates ring in the order of draws without replacement.
    order = np.argsort(np.random.default_rng(seed).exponential(size=n) / chances, kind="stable")
    drawn = chances[order]
    left = np.cumsum(drawn[::-1])[::-1]
    return Draw(order.astype(np.int64), left / (n * drawn))


def densities(n: int) -> Floats:
    """Return how often each rank of margin is drawn, the smallest margin first, (n,); 1 on average."""
    falling = np.exp(-STEEPNESS * (np.arange(n) + 0.5) / max(1, n))
    return LEAST + (1.0 - LEAST) * falling / falling.mean() if n else falling


@lru_cache(maxsize=16)
def extremes(n: int) -> tuple[float, float]:
    """Return the densities of the ranks that are drawn least and most often."""
    found = densities(n)
    return float(found[-1]), float(found[0])


@dataclass(slots=True)
class WeightedBets:
    """What samples say of the loss of the whole planned set, taken in the order of ``margin_order``.

    As ``sequential.Bets``, on the mean of what source and engine earn of each sample, from 0 (wrong) to 1 (right).
    """

    tolerance: Tolerance
    planned: int  # samples of the whole set, 1 at least: those that the source has answered
    source: float  # what it earns of them on average, from 0 to 1
    confidence: float = 0.95
    n: int = 0  # samples taken
    _lost: float = 0.0  # by what was taken, in samples
    _left: float = 1.0  # share of the chances that is left
    _seen: list[_Seen] = field(default_factory=list)
    _wealth: dict[float, Floats] = field(default_factory=dict)  # by side, of the bets on the tolerance
    _shown: set[float] = field(default_factory=set)  # sides that were shown of the tolerance

    def take(self, pairs: Sequence[tuple[float, float]], weights: Sequence[float]) -> None:
        """Take samples in their order: what source and engine earn of each, and its weight.

        Raises DataError for weights that no draw of so many planned samples has.
        """
        if not len(pairs):
            return
        earned, heavy = np.array(pairs, np.float64), np.array(weights, np.float64)
        losses = earned[:, 0] - earned[:, 1]
        # The weights tell what is left of the chances: of that, 1 by N times its weight was the sample's.
        with np.errstate(all="ignore"):
            left = self._left * np.concatenate([[1.0], np.cumprod(1.0 - 1.0 / (self.planned * heavy))])
        self._refuse_others(heavy, left[:-1])
        lost = self._lost + np.concatenate([[0.0], np.cumsum(losses)])
        before = lost[:-1] / self.planned
        seen = _Seen(before + heavy * losses, before, left[:-1] / extremes(self.planned)[0])
        self._seen.append(seen)
        self.n, self._lost, self._left = self.n + len(pairs), float(lost[-1]), float(left[-1])
        for side in (LESS, MORE):
            wealth = seen.log_wealths(self._limit, side, self._wealth.get(side, np.zeros(len(STAKES))))
            self._wealth[side] = wealth[:, -1]
            if self._enough(wealth):
                self._shown.add(side)

    def word(self) -> str | None:
        """Return pass or fail as soon as it is shown, else None; of a percentage of nothing neither ever is."""
        low, high = self._possible
        if LESS in self._shown or high <= self._limit + ROUNDING:
            return "pass"
        return "fail" if MORE in self._shown or low > self._limit + ROUNDING else None

    def interval(self) -> tuple[float, float]:
        """Return the bounds of the loss, in points or percent of the source's figure; infinite where there is none."""
        if not self._unit or not self.n:
            return -math.inf, math.inf
        seen = _Seen(*(np.concatenate(parts) for parts in zip(*map(_Seen.parts, self._seen), strict=True)))

        def held(side: float) -> Callable[[float], bool]:
            return lambda loss: not self._enough(seen.log_wealths(loss, side, np.zeros(len(STAKES))))

        (low, high), finest = self._possible, FINEST / self._unit
        lower, upper = _last(held(MORE), high, low, finest), _last(held(LESS), low, high, finest)
        return self._unit * lower, self._unit * upper

    def loss(self) -> float:
        """Return the estimate of the loss, in points or percent of the source's figure; NaN where there is none.

        After any fixed number of samples its mean is the loss of the whole set, but for what cannot be and is cut off.
        """
        if not self.n or not self._unit:
            return math.nan
        terms = np.concatenate([seen.terms for seen in self._seen])
        return self._unit * float(np.clip(terms.mean(), *self._possible))

    def figure(self) -> float:
        """Return the estimate of what the engine earns of the whole set, in percent: the source's less the loss."""
        return 100.0 * (self.source - self.loss() / self._unit) if self._unit else math.nan

    @property
    def _unit(self) -> float:
        """What the loss of everything, a mean of 1, is in the tolerance's unit; 0 where that is none."""
        if self.tolerance.unit == "points":
            return 100.0
        return 100.0 / self.source if self.source > 0.0 else 0.0

    @property
    def _limit(self) -> float:
        """The tolerance as a mean loss."""
        return self.tolerance.value / self._unit if self._unit else math.nan

    @property
    def _possible(self) -> tuple[float, float]:
        """The least and the largest mean loss of the set, whatever the samples that are left hold."""
        rest = max(0, self.planned - self.n)
        return (self._lost - rest) / self.planned, (self._lost + rest) / self.planned

    def _refuse_others(self, weights: Floats, left: Floats) -> None:
        """Raise DataError unless each weight is that of a rank, with so much left of the chances."""
        least, most = extremes(self.planned)
        drawn = (weights <= left / least * (1.0 + SLACK)) & (weights >= left / most * (1.0 - SLACK)) & (weights > 0.0)
        if self.n + len(weights) > self.planned or not drawn.all():
            found = f"weights of samples are not those of a draw by margin from {self.planned}"
            raise DataError(found, "give the samples in the order of their draw, with the weights of that draw")

    def _enough(self, wealth: Floats) -> bool:
        """Whether the mean over the stakes, (stakes, n), was ever as much as the confidence asks for."""
        top = wealth.max(axis=0)
        if np.isposinf(top).any():
            return True
        mixed = top + np.log(np.exp(wealth - top).mean(axis=0))
        return bool(mixed.max() >= -math.log(1.0 - self.confidence))


# Bets win where less is lost than a limit, or more.
LESS, MORE = 1.0, -1.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """Samples in their order, (n,) each: as mean losses of the set."""

    terms: Floats  # what was lost before and the sample's own weighted loss: its mean is the loss of the set
    before: Floats  # what was lost before
    reach: Floats  # how far from that a term could have been: the weight of the rarest sample

    def parts(self) -> tuple[Floats, Floats, Floats]:
        return self.terms, self.before, self.reach

    def log_wealths(self, limit: float, side: float, start: Floats) -> Floats:
        """Return the logarithm of what each stake on one side of the limit makes of ``start``, (stakes, n).

        A stake is a share of the largest that cannot lose everything, which is known before the sample is drawn.
        Infinite from where on no term can reach the limit; of a limit that is none, 0.
        """
        worst = side * (self.before - limit) + self.reach
        sure = worst <= ROUNDING
        gains = np.where(sure, np.inf, side * (limit - self.terms) / np.where(sure, 1.0, worst))
        gains = np.nan_to_num(gains, nan=0.0, posinf=np.inf)
        wealth: Floats = start[:, None] + np.cumsum(np.log1p(STAKES[:, None] * gains[None, :]), axis=1)
        return wealth


def _last(holds: Callable[[float], bool], inner: float, outer: float, finest: float) -> float:
    """Return where ``holds`` ends to be true on the way from ``inner`` to ``outer``, on the outer side of it."""
    if holds(outer):
        return outer
    while abs(outer - inner) > finest:
        middle = (inner + outer) / 2.0
        inner, outer = (middle, outer) if holds(middle) else (inner, middle)
    return outer
