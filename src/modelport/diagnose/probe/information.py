"""What scores of classes tell of the labels: log-loss, at the temperature that fits best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.diagnose.changes.outputs import is_probability
from modelport.tasks.judged import Floats

# Inverse temperatures that are tried, for scores whose rows have a standard deviation of 1.
TEMPERATURES: Floats = np.geomspace(0.05, 50.0, 24)
LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Information:
    """How much scores tell of labels, row by row."""

    losses: Floats  # (N,), −log of the probability of the label, in nats; infinite where a row can be no answer
    shares: Floats  # (N,), 1 − loss / log(classes), at least 0: how much of what there is to tell is told


def information(scores: Array, targets: NDArray[np.int64]) -> Information:
    """Return what scores (N, C), logits or probabilities, tell of ``targets`` (N,), classes from 0; −1 is none.

    One temperature is fitted for all rows, so that a change that makes scores larger or smaller alike gains nothing by
    it (Guo et al., "On calibration of modern neural networks", ICML 2017). A row that holds NaN, or has no target,
    tells nothing.
    """
    logits = logits_of(scores)
    sound = np.isfinite(logits).all(axis=1) & (targets >= 0) & (targets < logits.shape[1])
    losses = np.full(len(logits), np.inf)
    if sound.any():
        rows, wanted = logits[sound], targets[sound]
        rows = rows - rows.max(axis=1, keepdims=True)
        spread = float(rows.std(axis=1).mean()) or 1.0
        tried = [_losses(rows * (factor / spread), wanted) for factor in TEMPERATURES]
        losses[sound] = min(tried, key=lambda found: float(found.mean()))
    return Information(losses, np.clip(1.0 - losses / np.log(max(2, logits.shape[1])), 0.0, 1.0))


def logits_of(scores: Array) -> Floats:
    """Return scores (N, C) as logits in float64: of probabilities the logarithm, of others themselves."""
    wide = scores.astype(np.float64)
    return np.log(np.maximum(wide, LEAST)) if len(wide) and is_probability(wide) else wide


def confidences(scores: Array) -> Floats:
    """Return the largest probability of each row (N, C); 0 of a row that holds NaN."""
    logits = logits_of(scores)
    with np.errstate(invalid="ignore", over="ignore"):
        shares = 1.0 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    found: Floats = np.nan_to_num(shares, nan=0.0, posinf=0.0)
    return found


def _losses(logits: Floats, targets: NDArray[np.int64]) -> Floats:
    own = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    found: Floats = np.log(np.exp(logits).sum(axis=1)) - own
    return found
