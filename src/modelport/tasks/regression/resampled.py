"""Errors and R² of numbers, where each image counts a number of times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.judged import Multiplicities
from modelport.tasks.regression.figures import METRICS

Floats = NDArray[np.float64]


class NumberFigures:
    """``mae``, ``rmse`` and ``r2`` over any resample of the rows, and each column's own, as of rows that are repeated.

    As in the figures, a row that holds NaN or infinity counts for neither figure of that side. ``differ`` counts rows
    that are not as far from their labels with the engine as with the source, in whatever digit.
    """

    def __init__(self, engine: Array, source: Array, targets: Array, names: Sequence[str]) -> None:
        """Take numbers (N, D) of both sides and of the labels, the last finite, and a name for each column."""
        self._targets = targets
        self._columns = names if len(names) > 1 else ()
        self._sides = _away(engine, targets), _away(source, targets)
        (mine, sound), (theirs, theirs_sound) = self._sides
        self.images = len(targets)
        self.differ = int(((mine != theirs).any(axis=1) | (sound != theirs_sound)).sum())
        self.work = 7 * targets.size

    def figures(self, weights: Multiplicities) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures in the result's units; NaN where one is not defined."""
        engine, source = (self._figures(away, weights * sound) for away, sound in self._sides)
        return engine, source

    def _figures(self, away: Floats, weights: Multiplicities) -> dict[str, float]:
        total, drawn = float(weights.sum()), self._targets[weights > 0]
        if not total:
            columns = np.full((len(METRICS), away.shape[1]), np.nan)
        else:
            squares = weights @ np.square(away)
            # R² is not defined where all labels are the same.
            spread = weights @ np.square(self._targets - weights @ self._targets / total)
            fits = np.divide(squares, spread, out=np.full(len(spread), np.nan), where=np.ptp(drawn, axis=0) > 0)
            columns = np.stack([weights @ away / total, squares / total, 1.0 - fits])
        errors, squares, fits = columns
        defined = fits[~np.isnan(fits)]
        whole = (errors.mean(), np.sqrt(squares.mean()), defined.mean() if len(defined) else np.nan)
        found = dict(zip(METRICS, map(float, whole), strict=True))
        for place, name in enumerate(self._columns):
            own = (errors[place], np.sqrt(squares[place]), fits[place])
            found |= {f"{metric}/{name}": float(value) for metric, value in zip(METRICS, own, strict=True)}
        return found


def _away(answers: Array, targets: Array) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how far numbers are from their labels (N, D), zero in rows that are not finite, and which are (N,)."""
    sound: NDArray[np.bool_] = np.asarray(np.isfinite(answers).all(axis=1))
    return np.asarray(np.abs(np.where(sound[:, None], answers, targets) - targets)), sound
