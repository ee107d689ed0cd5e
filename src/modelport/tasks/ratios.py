"""Figures that are a sum over images by another sum, over any resample of the images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import Multiplicities


class RatioFigures:
    """By figure what the engine and the source have of each image, and how much of each image it is a share of.

    All (N,). A mean over images has ones for the last; a character error rate has the labels' lengths.
    """

    def __init__(self, parts: Mapping[str, tuple[Array, Array, Array]]) -> None:
        self._parts = parts
        self.images = len(next(iter(parts.values()))[0])
        self.differ = int(np.logical_or.reduce([engine != source for engine, source, _ in parts.values()]).sum())
        self.work = 3 * self.images * len(parts)

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the weighted ratios; NaN where there is nothing that one is a share of."""
        sizes = {name: float(weights @ part[2]) for name, part in self._parts.items()}
        engine, source = (
            {
                name: float(weights @ part[side]) / sizes[name] if sizes[name] else float("nan")
                for name, part in self._parts.items()
            }
            for side in (0, 1)
        )
        return engine, source
