"""Evidence on a mean from bets: how much a bettor would have won against "the loss is at the tolerance".

A sample that source and engine both answer falls into one of four cells; ``Game`` gives each cell a payoff ``x`` whose
mean is zero where the loss is exactly the tolerance, above it where it is smaller. A bettor who stakes the share ``b``
of what he has multiplies it by ``1 + b·x`` at each sample. If the mean is zero or below, no stake wins on average, so
that his wealth exceeds 20 with a probability of at most 5 %, at any moment (Ville's inequality). Waudby-Smith and
Ramdas, "Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86 (2024), arXiv:2010.09686.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelport.tasks.judged import Floats
from modelport.tasks.paired import Paired, Unit

# Shares of the largest stake. What is best is small where answers flip often, and large where they never do; the
# largest is not all, or one answer that is lost would end the game. Few stakes share the wealth among few: these decide
# a point of tolerance with 1 % of flips after a median of about 900 samples.
STAKES: Floats = np.array([0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.999])


@dataclass(frozen=True, slots=True)
class Game:
    """What a sample of each cell pays. Of a mean of zero the loss is the tolerance, of one above it is smaller."""

    both: float
    only_source: float
    only_engine: float
    neither: float

    @staticmethod
    def of(tolerance: float, unit: Unit) -> Game:
        """Return the game on a tolerance in points or in percent of the source's figure.

        In points it is on ``t − (s − c)``, in percent on ``c − (1 − t)·s``, with c and s 1 where engine and source are
        right: the second carries the uncertainty of the reference itself.
        """
        t = tolerance / 100.0
        if unit == "points":
            return Game(t, t - 1.0, t + 1.0, t)
        return Game(t, t - 1.0, 1.0, 0.0)

    def against(self) -> Game:
        """Return the game of the other side: it wins where the loss is larger than the tolerance."""
        return Game(-self.both, -self.only_source, -self.only_engine, -self.neither)

    def largest_stake(self) -> float:
        """Return the stake that would lose everything on the worst payoff; a large one where no payoff is a loss."""
        worst = min(self.both, self.only_source, self.only_engine, self.neither)
        return 1.0 / -worst if worst < 0.0 else 1e6

    def payoffs(self, source: Floats, engine: Floats) -> Floats:
        """Return what samples pay that are right in part: ``source`` and ``engine`` (n,) earn 0 to 1 each."""
        # Both units' games are linear in what each earns.
        return self.neither + source * (self.only_source - self.neither) + engine * (self.only_engine - self.neither)

    def log_factors(self, shares: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return by what each stake multiplies the wealth, as logarithms: (stakes,) for each cell in order.

        ``shares`` of the largest stake, each above 0 and below 1.
        """
        stakes = shares * self.largest_stake()
        both, source, engine, neither = (
            np.log1p(stakes * payoff) for payoff in (self.both, self.only_source, self.only_engine, self.neither)
        )
        return both, source, engine, neither


def log_wealths(game: Game, seen: Paired, shares: Floats) -> Floats:
    """Return the logarithm of what each stake has made of 1, (stakes,). The order of the samples does not matter."""
    both, source, engine, neither = game.log_factors(shares)
    return seen.both * both + seen.only_source * source + seen.only_engine * engine + seen.neither * neither


def log_mean(logs: Floats) -> float:
    """Return the logarithm of the mean of what ``logs`` (n,) are the logarithms of."""
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))


def log_mixture(game: Game, seen: Paired) -> float:
    """Return the logarithm of the mean wealth over all stakes: it is valid at any moment, whichever stake was best."""
    return log_mean(log_wealths(game, seen, STAKES))


def log_mixture_of(game: Game, source: Floats, engine: Floats, counts: Floats) -> float:
    """Return the same of samples that may be right in part: how many (n,) earn ``source`` and ``engine`` (n,) each."""
    stakes = STAKES * game.largest_stake()
    return log_mean(counts @ np.log1p(game.payoffs(source, engine)[:, None] * stakes[None, :]))
