"""Evidence that may be looked at after every sample: the run stops when it is enough, and errs no more often for it.

The bets are those of ``betting``: at any moment, a wealth of 20 against "the loss is beyond the tolerance" shows at
95 % that it lies within, and the other way round. The interval holds all losses against which the wealth is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from modelport.recipes.tables import Tolerance
from modelport.tasks.judged import SURROGATE, Floats, Judged
from modelport.verdict.betting import Game, log_mixture_of
from modelport.verdict.words import unit_word

# Bounds are found to this part of a point or percent.
FINEST = 1e-3


@dataclass(slots=True)
class Bets:
    """What samples say of one figure, taken in any order."""

    tolerance: Tolerance
    confidence: float = 0.95
    _counts: dict[tuple[float, float], int] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Samples taken."""
        return sum(self._counts.values())

    def take(self, pairs: Sequence[tuple[float, float]], weights: Sequence[float] = ()) -> None:
        """Take samples: what the source and what the engine earn of each, from 0 (wrong) to 1 (right).

        All weigh the same here, whatever ``weights`` are.
        """
        for pair in pairs:
            self._counts[pair] = self._counts.get(pair, 0) + 1

    def word(self) -> str | None:
        """Return pass or fail as soon as it is shown, else None."""
        shown = -math.log(1.0 - self.confidence)
        game = Game.of(self.tolerance.value, self.tolerance.unit)
        sides = (("pass", game), ("fail", game.against()))
        return next((word for word, side in sides if self._log_wealth(side) >= shown), None)

    def interval(self) -> tuple[float, float]:
        """Return the bounds of the loss, in points or percent of the source's figure; infinite where there is none."""
        shown, unit = -math.log(1.0 - self.confidence), self.tolerance.unit
        upper = _first(lambda loss: self._log_wealth(Game.of(loss, unit)) >= shown, -100.0, 100.0)
        lower = -_first(lambda gain: self._log_wealth(Game.of(-gain, unit).against()) >= shown, -100.0, 100.0)
        return lower, upper

    def _log_wealth(self, game: Game) -> float:
        """Return the logarithm of the mean wealth over all stakes."""
        if not self._counts:
            return 0.0
        pairs = np.array(list(self._counts), np.float64)
        counts: Floats = np.array(list(self._counts.values()), np.float64)
        return log_mixture_of(game, pairs[:, 0], pairs[:, 1], counts)


class AnyBets(Protocol):
    """What collects evidence on one figure."""

    @property
    def tolerance(self) -> Tolerance:
        """What may be lost."""

    @property
    def n(self) -> int:
        """Samples taken."""

    def take(self, pairs: Sequence[tuple[float, float]], weights: Sequence[float]) -> None:
        """Take samples in their order: what source and engine earn of each, and its weight."""

    def word(self) -> str | None:
        """Return pass or fail as soon as it is shown, else None."""

    def interval(self) -> tuple[float, float]:
        """Return the bounds of the loss, in the tolerance's unit."""


class Stop:
    """Ends a run as soon as every figure that decides is shown to pass, or one to fail."""

    def __init__(self, bets: Mapping[str, AnyBets]) -> None:
        """``bets`` by the metrics that decide."""
        self.bets = bets
        self.by_surrogate: set[str] = set()
        """Metrics that are no means of samples: what stops the run is a surrogate of each image."""
        self.decided_at: int | None = None

    @property
    def own(self) -> dict[str, AnyBets]:
        """The bets on figures that are means of samples: those that tell of the figure itself."""
        return {name: bets for name, bets in self.bets.items() if name not in self.by_surrogate}

    def notes(self) -> list[str]:
        """Return what is to be said of figures that are no means of samples."""
        if not self.by_surrogate:
            return []
        names = ", ".join(sorted(self.by_surrogate))
        told = f"{names}: what could stop the run was a surrogate of each image; the figure is judged by resampled ones"
        return [told]

    def told(self) -> str:
        """Return between which bounds the loss lies, of the first figure that is not settled, else of the last.

        Nothing before any sample was taken.
        """
        open_ones = [name for name, bets in self.bets.items() if bets.word() is None]
        name = open_ones[0] if open_ones else list(self.bets)[-1]
        bets = self.bets[name]
        if not bets.n:
            return ""
        low, high = (f"{end:.2f}" if math.isfinite(end) else "?" for end in bets.interval())
        unit = unit_word(bets.tolerance.unit)
        return f"{name}: between {low} and {high} {unit} are lost, {bets.tolerance.value:g} {unit} may be lost"

    @staticmethod
    def plain(metrics: Sequence[str], tolerance: Tolerance, confidence: float) -> Stop:
        """Return one for samples that all weigh the same."""
        return Stop({name: Bets(tolerance, confidence) for name in metrics})

    def take(self, samples: Sequence[Judged]) -> bool:
        """Take samples; return whether that is enough. Where a sample tells nothing of a figure, it is left out."""
        for name, bets in self.bets.items():
            pairs, weights = [], []
            for sample in samples:
                engine, source = sample.values.get(name) or sample.values.get(SURROGATE) or (None, None)
                if engine is not None and source is not None:
                    pairs.append((source, engine))
                    weights.append(sample.weight)
                    if name not in sample.values:
                        self.by_surrogate.add(name)
            bets.take(pairs, weights)
        words = [bets.word() for bets in self.bets.values()]
        if "fail" in words or all(word == "pass" for word in words):
            self.decided_at = max(bets.n for bets in self.bets.values())
            return True
        return False


def _first(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Return where ``holds`` begins to be true between the two; infinity where it never is."""
    if not holds(high):
        return math.inf
    while high - low > FINEST:
        middle = (low + high) / 2.0
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
