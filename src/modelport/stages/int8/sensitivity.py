"""Which layers an engine's eight bits hurt, and their way back to float32, one after another. Knows no engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelport.core.progress import Progress

# Each is a model written, opened and run; beyond it, neighbouring layers are tried and return together.
MOST_TRIALS = 64
# The first so many steps return one group each, then the steps double.
SINGLE_STEPS = 6
MOST_STEPS = 12


class Examined(Protocol):
    """What an examination of a model on the held-out images says."""

    @property
    def excess(self) -> float:
        """How far the loss is above what is tolerated, in the metric's unit; 0 or below passes, infinite never does."""


Distance = Callable[[Collection[str]], float]  # the layers in float32 → how far the outputs are from the source's
Examine = Callable[[Collection[str]], Examined]


@dataclass(slots=True)
class Returned:
    """Where the search ended: ``kept`` are the layers in float32, ``steps`` what was tried, as JSON values."""

    kept: tuple[str, ...]
    examined: Examined
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the loss is within the tolerance."""
        return self.examined.excess <= 0


def groups_of(layers: Sequence[str], most: int = MOST_TRIALS) -> list[tuple[str, ...]]:
    """Return the layers in at most ``most`` groups of neighbours, in order."""
    size = max(1, -(-len(layers) // most))
    return [tuple(layers[start : start + size]) for start in range(0, len(layers), size)]


def ranked(
    groups: Sequence[tuple[str, ...]], kept: Collection[str], distance: Distance, progress: Progress
) -> list[tuple[tuple[str, ...], float]]:
    """Return the groups with what each brings when it alone returns, the most first: leave-one-out.

    What it brings is the share of the outputs' distance from the source that goes away.
    """
    whole = distance(kept)
    found = []
    with progress.bar("which layers lose accuracy", len(groups), "layers") as bar:
        for group in groups:
            left = distance({*kept, *group})
            found.append((group, (whole - left) / whole if 0 < whole < math.inf else 0.0))
            bar.advance()
    # Sorted by the gain alone, so that equals stay in the graph's order.
    return sorted(found, key=lambda entry: -entry[1])


def most_returned(layers: int) -> int:
    """Return how many of so many heavy layers may return: more than half must stay, or the model is no int8 one."""
    return max(0, layers - 1) // 2


def return_layers(
    order: Sequence[tuple[tuple[str, ...], float]],
    kept: Collection[str],
    most: int,
    examine: Examine,
    counted: Collection[str] | None = None,
) -> Returned:
    """Let groups return to float32 in ``order`` until the loss is tolerated, or ``most`` ``counted`` layers have.

    ``counted`` None: all of them. Returns the first that passes, else the one of the least excess.
    """
    now = list(dict.fromkeys(kept))
    best = Returned(tuple(now), examine(now))
    steps: list[dict[str, Any]] = []
    returned = 0
    left = list(order)
    while not best.passed and left and len(steps) < MOST_STEPS:
        width = 1 if len(steps) < SINGLE_STEPS else 2 ** (len(steps) - SINGLE_STEPS + 1)
        taken, left = left[:width], left[width:]
        returning = [name for group, _ in taken for name in group]
        returned += sum(counted is None or name in counted for name in returning)
        if returned > most:
            break
        now += returning
        step = Returned(tuple(now), examine(now))
        steps.append({"returned": returning, "excess": as_json(step.examined.excess)})
        if step.examined.excess < best.examined.excess:
            best = step
    best.steps = steps
    return best


def as_json(excess: float) -> float | None:
    """Return an excess as JSON knows it: null for one that is infinite."""
    return excess if math.isfinite(excess) else None
