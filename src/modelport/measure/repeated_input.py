"""Whether the same input repeated is faster than different ones: then something caches answers, and speeds are its."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from modelport.core.values import Array, Check, Tensors
from modelport.engines.base import Runner
from modelport.measure.timing import Clock

NAME = "repeated_input"
# So many pairs of runs tell a cache from an accident; more are run for this share of the measurement's seconds.
ENOUGH, SHARE, MOST = 12, 0.1, 500
# A model whose runs are so slow that enough of them take longer, in seconds or in a share of the measurement's, is not
# asked.
MOST_SECONDS, MOST_SHARE = 2.0, 0.2
# Faster by more than this, with a chance of at most ERROR that it is an accident: memory that is still in the
# processor's cache gives less, and a cache of answers far more.
GAIN, ERROR = 1.10, 0.01
# Inputs that were run stay alive, so many or up to so many bytes, so that the next do not get their addresses.
ALIVE, ALIVE_BYTES = 64, 64 * 1024 * 1024
SHUFFLED = 16


@dataclass(frozen=True, slots=True)
class Repeated:
    """Pairs of runs in turn, one of the same input and one of an input that was never run before."""

    pairs: int
    ratio: float | None  # median time of different inputs by that of the same; None of too few pairs
    p_value: float  # of a sign test: as many pairs in which the same is faster, were both alike

    @property
    def faster(self) -> bool:
        """Whether the same input is faster, beyond accident."""
        return self.ratio is not None and self.ratio > GAIN and self.p_value <= ERROR

    @property
    def why(self) -> str:
        """What to say where it is; nothing where it is not."""
        if not self.faster or self.ratio is None:
            return ""
        gain = "unmeasurably" if math.isinf(self.ratio) else f"{100 * (self.ratio - 1):.0f} %"
        return f"the same input repeated is {gain} faster: something caches answers"

    def to_json(self) -> dict[str, int | float | None]:
        """Return what the result of ``bench`` holds at a point; ``ratio`` None also where the same takes no time."""
        ratio = self.ratio if self.ratio is not None and math.isfinite(self.ratio) else None
        return {"pairs": self.pairs, "ratio": ratio, "p_value": self.p_value}


def repeated_input(runner: Runner, inputs: Tensors, seconds: float, clock: Clock) -> Repeated:
    """Run pairs, one at a time, and compare their times. ``inputs`` is the one that is repeated.

    Different inputs hold its values in another order, in arrays of their own: another content at another address. Such
    a one is made before every run, so that both sides find the processor's cache alike.
    """
    same, others = list[int](), list[int]()
    size = sum(array.nbytes for array in inputs.values())
    alive = deque[Tensors](maxlen=max(2, min(ALIVE, ALIVE_BYTES // max(1, size))))
    rng = np.random.default_rng(0)

    def timed(repeat: bool) -> int:
        alive.append({name: _reordered(array, rng) for name, array in inputs.items()})
        begun = clock()
        runner.run(inputs if repeat else alive[-1])
        return clock() - begun

    if 2 * ENOUGH * timed(repeat=True) / 1e9 > max(MOST_SECONDS, MOST_SHARE * seconds):
        return compared([], [])
    start = clock()
    while len(same) < ENOUGH or (len(same) < MOST and clock() - start < SHARE * seconds * 1e9):
        # Who is first changes from pair to pair.
        for repeat in (True, False) if len(same) % 2 else (False, True):
            (same if repeat else others).append(timed(repeat))
    return compared(same, others)


def _reordered(array: Array, rng: np.random.Generator) -> Array:
    """Return the values shifted by some places, and the first of them shuffled, which is quick and as good as new."""
    moved = np.roll(array, int(rng.integers(array.size + 1)))
    rng.shuffle(moved.reshape(-1)[:SHUFFLED])
    return moved


def compared(same: list[int], others: list[int]) -> Repeated:
    """Return what the times of as many runs of either kind say, pair by pair."""
    pairs = len(same)
    if pairs < ENOUGH:
        return Repeated(pairs, None, 1.0)
    gained = sum(mine < other for mine, other in zip(same, others, strict=True))
    p_value = sum(math.comb(pairs, count) for count in range(gained, pairs + 1)) / 2**pairs
    usual, other = statistics.median(same), statistics.median(others)
    ratio = other / usual if usual else math.inf if other else 1.0
    return Repeated(pairs, ratio, p_value)


def check_of(points: Iterable[Repeated]) -> Check:
    """Return what all points of one result say together; where none could tell, it does not apply."""
    found = [one for one in points if one.ratio is not None]
    if not found:
        why = f"{2 * ENOUGH} runs take longer than {MOST_SECONDS:g} s and {MOST_SHARE:.0%} of a point's time: not asked"
        return Check(NAME, "not_applicable", None, False, why)
    worst = max(found, key=lambda one: (one.faster, one.ratio or 0.0))
    why = worst.why or "the same input repeated is not faster than different ones"
    return Check(NAME, "fail" if worst.faster else "pass", worst.faster, False, why)
