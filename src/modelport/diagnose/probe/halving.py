"""Successive halving: many changes on few samples, the better half of them on twice as many, and so on.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from modelport.diagnose.probe.paired import Gains
from modelport.diagnose.probe.tally import Tally
from modelport.diagnose.probe.trials import Answering

# Samples of the first round; the number doubles. Fewer would let luck drop the right change and cost hardly less: later
# rounds make more than half of all runs. Where answers are judged in blocks (256 rows of pairs), one block.
FIRST = 32
FIRST_OF_PAIRS = 128
# Changes that see all samples: near settings can only be told apart, or told to be alike, by as many.
KEPT = 8


def rounds(n: int, first: int) -> int:
    """Return how many rounds ``n`` samples make: at the end of each a change may stop."""
    return 1 if n <= first else 1 + math.ceil(math.log2(n / first))


def halve(answering: Answering, base: Tally, tallies: Sequence[Tally], first: int = FIRST) -> None:
    """Let the changes take samples, fewer and fewer of them; ``base``, the recipe as it is, takes all.

    What prepares all samples so far as the recipe does costs no run, and goes on: few images may have what it changes.
    """
    alive, size = list(tallies), first
    while True:
        answering.extend([base, *alive], min(size, answering.n))
        if size >= answering.n:
            return
        alive = [tally for tally in alive if not tally.failed]
        moved = ranked(base, [tally for tally in alive if not tally.same])
        alive = [*moved[: max(KEPT, len(moved) // 2)], *(tally for tally in alive if tally.same)]
        size *= 2


def ranked(base: Tally, tallies: Sequence[Tally]) -> list[Tally]:
    """Return them by what they may gain, the best first: two standard errors above what they gained on these samples.

    By the gain alone, of few samples, a change that does next to nothing would outlive one that does much.
    """
    return sorted(tallies, key=lambda tally: -_may_gain(base, tally))


def _may_gain(base: Tally, tally: Tally) -> float:
    gains = Gains.of(base.earned(tally.n).evidence, tally.earned().evidence)
    return gains.points + 2.0 * gains.stderr
