"""What scores of classes tell of the labels: log-loss, at the temperature that fits best."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.diagnose.scores import kind_of, logits_of
from modelport.tasks.judged import Floats

# Inverse temperatures that are tried, for scores whose rows have a standard deviation of 1, and between the best one's
# neighbours.
COARSE: Floats = np.geomspace(0.05, 50.0, 16)
FINE = 9
# The share of each probability that is spread evenly over the classes: one sure answer that is wrong costs no more than
# a few nats, whatever its score.
SPREAD = 0.1


@dataclass(frozen=True, slots=True)
class Information:
    """How much scores tell of labels, row by row."""

    losses: Floats
    """(N,): −log of the probability of the label, in nats; of a row that can be no answer that of none."""
    shares: Floats
    """(N,): 1 − loss / log(classes): how much of what there is to tell is told, below 0 where it is wrong."""


def information(scores: Array, targets: NDArray[np.int64]) -> Information:
    """Return what scores (N, C), logits or probabilities, tell of ``targets`` (N,), classes from 0; −1 is none.

    One temperature is fitted for all rows, so that a change that makes scores larger or smaller alike gains nothing by
    it (Guo et al., "On calibration of modern neural networks", ICML 2017). A row that holds NaN, or has no target,
    tells nothing.
    """
    classes = max(2, scores.shape[1])
    sound = np.isfinite(scores).all(axis=1) & (targets >= 0) & (targets < scores.shape[1])
    losses = np.full(len(scores), np.log(classes))
    if sound.any():
        rows = _logits(scores[sound])
        losses[sound] = _at_best((rows - rows.max(axis=1, keepdims=True)) / _spread(rows), targets[sound])
    return Information(losses, 1.0 - losses / np.log(classes))


def _at_best(rows: Floats, targets: NDArray[np.int64]) -> Floats:
    """Return the losses (N,) at the temperature of the smallest mean.

    It is looked for finely: what two models lose differs by little where one is a bit off its best, and all rows alike.
    """
    coarse = [float(_losses(rows * factor, targets).mean()) for factor in COARSE]
    place = int(np.argmin(coarse))
    low, high = COARSE[max(0, place - 1)], COARSE[min(len(COARSE) - 1, place + 1)]
    found = [_losses(rows * factor, targets) for factor in np.geomspace(low, high, FINE)]
    return min(found, key=lambda losses: float(losses.mean()))


def confidences(scores: Array) -> Floats:
    """Return the largest probability of each row (N, C); 0 of a row that holds NaN."""
    found, sound = np.zeros(len(scores)), np.isfinite(scores).all(axis=1)
    if sound.any():
        logits = _logits(scores[sound])
        found[sound] = 1.0 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)
    return found


def _logits(scores: Array) -> Floats:
    return logits_of(scores, kind_of(scores))


def _spread(logits: Floats) -> float:
    """Return the standard deviation within rows, 1 where all are alike."""
    found = float(np.sqrt(logits.var(axis=1).mean()))
    return found if found > 0.0 and math.isfinite(found) else 1.0


def _losses(logits: Floats, targets: NDArray[np.int64]) -> Floats:
    own = np.take_along_axis(logits, targets[:, None], axis=1)[:, 0]
    share = np.exp(own) / np.exp(logits).sum(axis=1)
    found: Floats = -np.log((1.0 - SPREAD) * share + SPREAD / logits.shape[1])
    return found
