"""Successive halving: many changes on few samples, the better half of them on twice as many, and so on.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

from modelport.diagnose.probe.tally import Tally
from modelport.diagnose.probe.trials import Answering

# Samples of the first round; the number doubles. Where answers are judged in blocks (256 rows of pairs), one block.
FIRST = 32
FIRST_OF_PAIRS = 128
# Changes that see all samples: near settings can only be told apart, or told to be alike, by as many.
KEPT = 8


def halve(answering: Answering, base: Tally, tallies: Sequence[Tally], first: int = FIRST) -> list[Tally]:
    """Let the changes take samples, fewer and fewer of them; return those that took all, the best first.

    ``base`` is the recipe as it is, and takes all samples. What was given up on the way is not returned.
    """
    alive, size = list(tallies), first
    while True:
        answering.extend([base, *alive], min(size, answering.n))
        alive = ranked(base, [tally for tally in alive if not tally.failed and not tally.same])
        if base.n >= answering.n or size >= answering.n:
            return alive
        alive = alive[: max(KEPT, len(alive) // 2)]
        size *= 2


def ranked(base: Tally, tallies: Sequence[Tally]) -> list[Tally]:
    """Return them by how much more they earn than the recipe as it is on the same samples, the best first."""
    return sorted(tallies, key=lambda tally: -gain(base, tally))


def gain(base: Tally, tally: Tally) -> float:
    """Return by how much more a change earns than ``base``, on average over the samples that it took."""
    other = tally.earned().evidence
    return float((other - base.earned().evidence[: len(other)]).mean()) if len(other) else 0.0
