"""Bounds of the loss of figures that are no counts of right answers: the images are drawn again, for both sides alike.

The bootstrap corrected for bias and skewness (BCa: Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc.
82 (1987) 171), expanded for small samples (Hesterberg, "What teachers should know about the bootstrap", Am. Stat. 69
(2015) 371): images that source and engine answer alike tell nothing of the loss, so that those that differ count as the
sample. Where few images lose much, percentiles alone miss the loss in 7 to 8 of 100 samples (benchmarks/replays.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from modelport.tasks.judged import Floats, Resampled

# As many resamples as keep the numbers gone through below this, within these bounds.
BUDGET, FEWEST, MOST = 4_000_000_000, 200, 1000
# Below so many images, or so many that differ, resamples hold too little to show that a figure is kept.
LEAST_IMAGES, LEAST_DIFFER = 100, 20
# Losses as near to each other as this share of their spread are the same.
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Resamples:
    """The figures of both sides over resamples of the images, by metric, (count,) each."""

    engine: Mapping[str, Floats]
    source: Mapping[str, Floats]
    images: int
    differ: int

    @staticmethod
    def of(figures: Resampled, seed: int) -> Resamples:
        """Draw them: of the same figures and seed the same."""
        count = int(np.clip(BUDGET // max(1, figures.work), FEWEST, MOST))
        rng, n = np.random.default_rng(seed), figures.images
        drawn = [figures.figures(rng.multinomial(n, np.full(n, 1.0 / n))) for _ in range(count)]
        engine, source = (
            {name: np.array([one[side][name] for one in drawn]) for name in drawn[0][side]} for side in (0, 1)
        )
        return Resamples(engine, source, n, figures.differ)

    @property
    def enough(self) -> bool:
        """Whether there are images enough to show that a figure is kept."""
        return self.images >= LEAST_IMAGES and self.differ >= LEAST_DIFFER


def bounds(losses: Floats, observed: float, differ: int, confidence: float) -> tuple[float, float]:
    """Return the lower and the upper bound, each one-sided, of resampled losses (count,); infinite where none is.

    ``observed``: the loss of the sample itself. ``differ``: how many images differ, at least 2.
    """
    known = losses[np.isfinite(losses)]
    if differ < 2 or not len(known) or not math.isfinite(observed):
        return -math.inf, math.inf
    wide = student(confidence, differ - 1) * math.sqrt(differ / (differ - 1))
    low, high = np.quantile(known, [_level(known, observed, -wide), _level(known, observed, wide)])
    return float(low), float(high)


def _level(losses: Floats, observed: float, wide: float) -> float:
    """Return which quantile of the resamples stands for so many standard errors, by BCa.

    The acceleration is a sixth of the skewness of the resamples: for a mean it is that, for others near it, and it
    needs no figure of each image left out.
    """
    normal, away = NormalDist(), losses - losses.mean()
    spread = float(np.mean(away**2))
    acceleration = float(np.mean(away**3)) / spread**1.5 / 6.0 if spread > 0.0 else 0.0
    # What differs by rounding alone is the same, in whatever order sums were taken.
    near = np.abs(losses - observed) <= ROUNDING * math.sqrt(spread)
    below = float(np.mean((losses < observed) & ~near) + 0.5 * np.mean(near))
    least = 0.5 / len(losses)
    bias = normal.inv_cdf(min(max(below, least), 1.0 - least))
    rest = 1.0 - acceleration * (bias + wide)
    return normal.cdf(bias + (bias + wide) / rest) if rest > 0.0 else float(wide > 0.0)


def student(confidence: float, freedom: int) -> float:
    """Return the quantile of Student's t by its expansion about the normal's (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(confidence)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
