"""Exact tests and bounds of a loss on a sample of fixed size.

The statistic is what the best stake would have won (``betting``). It grows with every answer that turns right, so that
the error is largest where the loss is exactly the tolerance. There the shares of the cells are not known; the p-value
is the largest over all shares in their confidence set, plus the chance that they lie outside it (Berger and Boos, J.
Am. Stat. Assoc. 89 (1994) 1012). So a test at 5 % errs in at most 5 % of all samples, whatever the shares are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from modelport.tasks.judged import Floats
from modelport.tasks.paired import Paired, Unit
from modelport.verdict.betting import Game, log_mixture, log_wealths
from modelport.verdict.binomial import clopper_pearson, log_factorials

Counts = NDArray[np.int64]
Shares = tuple[float, float, float]
"""Of both, only_source and only_engine."""

# Shares of the largest stake among which the best one is looked for.
FINE: Floats = np.concatenate([np.geomspace(1e-4, 0.6, 24), 1.0 - np.geomspace(0.3, 1e-3, 8)])
# The chance that the shares lie outside their confidence set; it is added to each p-value.
OUTSIDE = 0.001
# Counts are summed this far from their mean, in standard deviations and, for rare ones, in counts: beyond lies less
# than a hundred-thousandth of the chance, which OUTSIDE covers as well.
DEVIATIONS, RARE = 4.5, 9.0
# The worst shares are looked for on a grid of so many values a side, then on finer ones of so many around the worst: in
# 60 cases no p-value was more than 0.3 % of itself below that of 21, 9 and 3.
GRID, FINER, TURNS = 8, 4, 2
# Pairs of counts beyond which the sum would take seconds: the wealth itself bounds the p-value then, less sharply.
MOST_PAIRS = 20_000
# Bounds are found to this share of their distance from the observed loss, or to this part of a point or percent.
PRECISION, FINEST = 0.02, 0.002


@lru_cache(maxsize=4096)
def p_value(seen: Paired, tolerance: float, unit: Unit, side: Literal["pass", "fail"]) -> float:
    """Return the chance of evidence as good or better for ``side``, were the loss on the other side of the tolerance.

    ``tolerance`` in points or percent of the source's figure. Below 0.05 the side is shown at 95 %.
    """
    game = Game.of(tolerance, unit) if side == "pass" else Game.of(tolerance, unit).against()
    best = float(log_wealths(game, seen, FINE).max())
    if best <= 0.0:
        return 1.0
    null = _Null.of(seen, tolerance / 100.0, unit)
    if null is None:
        return OUTSIDE
    # In points one share alone is free: as many more pairs take no longer.
    if null.pairs > MOST_PAIRS * (GRID if unit == "points" else 1):
        return min(1.0, math.exp(-log_mixture(game, seen)))
    logs = log_factorials(seen.n)
    chance = null.worst(lambda shares: _chance(seen.n, logs, shares, game, best))
    return min(1.0, chance + OUTSIDE)


def loss_bounds(seen: Paired, unit: Unit, confidence: float = 0.95) -> tuple[float, float]:
    """Return the lower and the upper bound of the loss, each one-sided, in points or percent of the source's figure.

    Infinite where nothing can be said: the source answered nothing rightly, and the loss is a share of that.
    """
    loss, error = seen.loss(unit), 1.0 - confidence
    if not math.isfinite(loss):
        return -math.inf, math.inf
    most = 100.0 if unit == "points" else 100.0 * seen.n  # gain: as many times the source's figure as fit into all
    # Two standard errors or so.
    step = 200.0 * math.sqrt(seen.flipped + 1.0) / (seen.n if unit == "points" else seen.both + seen.only_source)
    upper = _crossing(lambda tolerance: p_value(seen, tolerance, unit, "pass"), loss, 100.0, error, step)
    lower = -_crossing(lambda gain: p_value(seen, -gain, unit, "fail"), -loss, most, error, step)
    return lower, upper


def _crossing(chance: Callable[[float], float], start: float, end: float, error: float, step: float) -> float:
    """Return where ``chance``, which falls from ``start`` on, begins to be at most ``error``, not above ``end``.

    The root of its logarithm is nearly a line, along which each next place is looked for.
    """
    end -= (end - start) * 1e-9
    low, high, place = start, math.inf, start + step
    wanted, begun = math.sqrt(-math.log(error)), math.sqrt(-math.log(0.5))
    while True:
        place, wide = min(place, end), high - low
        found = chance(place)
        if found > error and place >= end:
            return end
        low, high = (place, high) if found > error else (low, place)
        if math.isfinite(high) and high - low <= max(FINEST, PRECISION * (high - start)):
            return high
        grown = math.sqrt(-math.log(max(found, 1e-300))) - begun if found < 1.0 else 0.0
        away = (place - start) * (min(4.0, (wanted - begun) / grown) if grown > 0.0 else 4.0)
        # A hair to the other side of where it is expected, so that it is caught between the two.
        place = start + away + (0.4 if found > error else -0.4) * PRECISION * away
        # Where it jumps, lines do not find it.
        if not low < place < high or high - low > wide / 2.0:
            place = (low + high) / 2.0 if math.isfinite(high) else start + 2.0 * (low - start)


@dataclass(frozen=True, slots=True)
class _Null:
    """All shares at which the loss is the tolerance, within their confidence set: a rectangle of two free shares.

    In points the one is that of all flips, and the other does not matter. In percent they are that of ``both``, and of
    the kind of flips from which the other kind follows without falling below zero.
    """

    n: int
    tolerance: float
    unit: Unit
    first: tuple[float, float]
    second: tuple[float, float]

    @staticmethod
    def of(seen: Paired, tolerance: float, unit: Unit) -> _Null | None:
        """Return them for a tolerance as a share; None where there are none."""
        n = seen.n
        if unit == "points":
            low, high = clopper_pearson(seen.flipped, n, OUTSIDE)
            low = max(low, abs(tolerance))
            return None if low > high else _Null(n, tolerance, unit, (low, high), (0.0, 0.0))
        free = seen.only_engine if tolerance >= 0.0 else seen.only_source
        both, flips = clopper_pearson(seen.both, n, OUTSIDE / 2.0), clopper_pearson(free, n, OUTSIDE / 2.0)
        null = _Null(n, tolerance, unit, both, flips)
        return None if null._shares(both[0], flips[1]) is None and null._shares(both[0], flips[0]) is None else null

    @property
    def pairs(self) -> int:
        """How many pairs of counts of flips are likely enough to be summed, at most."""
        shares = self._shares(self.first[1], self.second[1]) or (0.0, 0.5, 0.5)
        return len(_window(self.n, shares[1])) * len(_window(self.n, shares[2]))

    def worst(self, chance: Callable[[Shares], float]) -> float:
        """Return the largest chance, by a grid and finer ones around the best of the last."""
        found, size = 0.0, GRID
        one, two = self.first, self.second
        for _ in range(1 + TURNS):
            grid_one, grid_two = np.linspace(*one, size), np.linspace(*two, size if two[1] > two[0] else 1)
            tried = [
                (chance(shares), first, second)
                for first in grid_one.tolist()
                for second in grid_two.tolist()
                if (shares := self._shares(first, second)) is not None
            ]
            if not tried:
                break
            best, first, second = max(tried)
            found = max(found, best)
            one, two = _around(first, one, size, self.first), _around(second, two, size, self.second)
            size = FINER
        return found

    def _shares(self, first: float, second: float) -> Shares | None:
        """Return the shares of (both, only_source, only_engine); None where one falls below zero or they pass one."""
        t = self.tolerance
        if self.unit == "points":
            return 0.0, (first + t) / 2.0, (first - t) / 2.0
        if t >= 0.0:
            source, engine = (t * first + second) / (1.0 - t), second
        else:
            source, engine = second, (1.0 - t) * second - t * first
        return (first, source, engine) if min(source, engine) >= 0.0 and first + source + engine <= 1.0 else None


def _around(middle: float, tried: tuple[float, float], size: int, whole: tuple[float, float]) -> tuple[float, float]:
    """Return the steps of a grid of ``size`` values to the left and right of ``middle``, within the whole."""
    step = (tried[1] - tried[0]) / (size - 1)
    return max(whole[0], middle - step), min(whole[1], middle + step)


def _window(n: int, share: float) -> NDArray[np.int64]:
    """Return the counts that a share makes likely enough to be summed."""
    reach = RARE + DEVIATIONS * math.sqrt(n * share * (1.0 - share))
    return np.arange(max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach)) + 1)


def _chance(n: int, logs: Floats, shares: Shares, game: Game, best: float) -> float:
    """Return the chance of evidence as good as ``best`` at these shares."""
    both, lost, won = shares
    source, engine = _window(n, lost)[:, None], _window(n, won)[None, :]
    rest = n - source - engine
    possible = rest >= 0
    rest = np.where(possible, rest, 0)
    quiet = max(0.0, 1.0 - lost - won)
    terms = logs[n] - logs[source] - logs[engine] - logs[rest]
    terms = terms + _power(source, lost) + _power(engine, won) + _power(rest, quiet)
    pairs = np.where(possible, np.exp(terms), 0.0)
    if game.both == game.neither:
        return float(pairs[_reached(game, best, n, source, engine)].sum())
    needed, least = _needed(game, best, source, engine, rest)
    share = min(1.0, both / quiet) if quiet > 0.0 else 0.0
    return float((pairs * _conditional(rest, needed, least, share, logs)).sum())


def _reached(game: Game, best: float, n: int, source: Counts, engine: Counts) -> NDArray[np.bool_]:
    """Return for each pair of counts (k, 1) and (1, l) whether some stake would have won as much, (k, l).

    For a game in which both and neither pay the same: there a stake's win is linear in the two counts, so that it wins
    as much from some number of the one on, which hangs on the other.
    """
    both, lost, won, _ = (factor[:, None] for factor in game.log_factors(FINE))
    losses = source[:, 0][None, :]
    # A hair less than best, so that what was seen is counted as good as itself.
    ends = (best - 1e-9 - both * (n - losses) - lost * losses) / (won - both)
    if game.only_engine > game.both:
        reached: NDArray[np.bool_] = engine >= ends.min(axis=0)[:, None]
    else:
        reached = engine <= ends.max(axis=0)[:, None]
    return reached


def _needed(game: Game, best: float, source: Counts, engine: Counts, rest: Counts) -> tuple[Floats, bool]:
    """Return for each pair of counts how many more must be right with both, and whether that is at least or at most.

    The evidence is as good as ``best`` where some stake would have won as much.
    """
    least = game.both >= game.neither
    needed: Floats = np.full(rest.shape, math.inf if least else -math.inf)
    for both, lost, won, neither in zip(*game.log_factors(FINE), strict=True):
        # A hair less than best, so that what was seen is counted as good as itself.
        short = best - 1e-9 - lost * source - won * engine - neither * rest
        if least:
            needed = np.minimum(needed, np.ceil(short / (both - neither)))
        else:
            needed = np.maximum(needed, np.floor(short / (both - neither)))
    return needed, least


def _power(counts: Counts, share: float) -> Floats:
    """Return count · log(share), 0 for a count of 0."""
    if share <= 0.0:
        return np.where(counts == 0, 0.0, -math.inf)
    return np.asarray(counts * math.log(share), np.float64)


def _conditional(rest: Counts, needed: Floats, least: bool, share: float, logs: Floats) -> Floats:
    """Return the chance that of ``rest`` samples at least (or at most) ``needed`` are right with both."""
    if share <= 0.0 or share >= 1.0:
        count = rest * float(share >= 1.0)
        return (count >= needed if least else count <= needed).astype(np.float64)
    low, high = int(rest.min()), int(rest.max())
    totals = np.arange(low, high + 1)[:, None]
    ends = _window(low, share)[0], _window(high, share)[-1]
    counts = np.arange(ends[0], ends[1] + 1)[None, :]
    possible = counts <= totals
    left = np.where(possible, totals - counts, 0)
    terms = logs[totals] - logs[np.minimum(counts, totals)] - logs[left]
    terms = terms + counts * math.log(share) + left * math.log1p(-share)
    mass = np.where(possible, np.exp(terms), 0.0)
    below = np.concatenate([np.zeros((len(totals), 1)), np.cumsum(mass, axis=1)], axis=1)
    place = needed - counts[0, 0] + (0 if least else 1)
    place = np.clip(place, 0, counts.shape[1]).astype(np.int64)
    chances: Floats = below[rest - low, place]
    shown: Floats = np.clip(1.0 - chances if least else chances, 0.0, 1.0)
    return shown
