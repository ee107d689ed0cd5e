"""How one sample was answered, and figures over a resample of images: what the statistics of a verdict are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# The key of ``Judged.values`` of what is no figure, but tells of an image how well it was answered: it may stop a run.
SURROGATE = "surrogate"

Floats = NDArray[np.float64]
Multiplicities = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """How source and engine answered one sample; what is not known, or does not apply to the task, is None."""

    target: Any  # JSON: what was right
    agrees: bool | None = None  # whether the engine's answer is the source's
    margin: float | None = None  # the source's first score minus its second, in the output's unit
    values: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    """By metric that is the mean of such values, in percent: what engine and source earn here, from 0 (wrong) to 1."""
    weight: float = 1.0  # what it counts, where some samples are drawn more often than others

    def to_json(self, metric: str) -> dict[str, Any]:
        """Return what ``samples.jsonl`` holds of it; ``metric`` is the one that "correct" is about."""
        engine, source = self.values.get(metric, (None, None))
        told = {"target": self.target, "correct": _right(engine), "source_correct": _right(source)}
        more = {"values": {name: list(pair) for name, pair in self.values.items()}} if self.values else {}
        return {**told, "agrees": self.agrees, "margin": self.margin, **more}


@dataclass(frozen=True, slots=True)
class Recounted:
    """Figures computed anew from a result folder, by metric, in the figures' own units."""

    metrics: Mapping[str, float]
    source: Mapping[str, float]
    resampled: Resampled | None = (
        None  # the same figures over resamples as the scorer gives; None where lines tell none
    )


class Resampled(Protocol):
    """Figures that are no counts of right answers, over any resample of the images that both answered."""

    @property
    def images(self) -> int:
        """How many images (or other independent units) there are."""

    @property
    def differ(self) -> int:
        """How many of them source and engine answer differently, as far as the figures can tell."""

    @property
    def work(self) -> int:
        """About how many numbers one call of ``figures`` goes through: it bounds how many resamples are drawn."""

    def figures(self, weights: Multiplicities) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Return the engine's and the source's figures, in their units, where image i counts ``weights[i]`` times.

        ``weights`` is int64 (images,). With ones they are the figures of the result. NaN where one is not defined.
        """


class MeanFigures:
    """Figures that are means over images: ``values`` by metric, of engine and source, float (N,) each."""

    def __init__(self, values: Mapping[str, tuple[Floats, Floats]]) -> None:
        self._values = values
        self.images = len(next(iter(values.values()))[0])
        away = [engine != source for engine, source in values.values()]
        self.differ = int(np.logical_or.reduce(away).sum())
        self.work = 2 * self.images * len(values)

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the weighted means."""
        total = float(weights.sum())
        means = [{name: float(weights @ pair[side]) / total for name, pair in self._values.items()} for side in (0, 1)]
        return means[0], means[1]


def _right(value: float | None) -> bool | None:
    """Return whether an answer is right; None where that is not known, or it is neither right nor wrong."""
    return None if value is None or value not in (0.0, 1.0) else value == 1.0
