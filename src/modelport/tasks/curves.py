"""What a threshold that moves through scores finds: average precision, and rates of right and wrong acceptance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array


def average_precision(scores: Array, positive: Array) -> float:
    """Return the mean, over the positives, of the precision among all that score at least as high; 0 to 1.

    ``scores`` (N,) float without NaN, ``positive`` (N,) bool; NaN where nothing is positive. This is the sum of
    precision × step in recall over the distinct scores, not interpolated, as scikit-learn's and torchmetrics'
    (thresholds=None):
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html
    """
    found = precisions(scores, positive)
    return float(found.mean()) if len(found) else float("nan")


def precisions(scores: Array, positive: Array) -> NDArray[np.float64]:
    """Return for each positive, in their order, the precision among all that score at least as high, (P,)."""
    hits, ranked = scores[positive], np.sort(scores)
    found = len(hits) - np.searchsorted(np.sort(hits), hits)
    return np.asarray(found / (len(ranked) - np.searchsorted(ranked, hits)))


def chance_precision(positives: int, n: int) -> float:
    """Return the average precision that ``n`` samples in random order have on average, where ``positives`` are so.

    With m positives, the one at rank k has E[precision] = (1 + (k - 1)(m - 1)/(n - 1))/k, and each rank is as likely.
    """
    ranks = np.arange(1, n + 1)
    before = (ranks - 1) * (positives - 1) / max(1, n - 1)
    return float(((1 + before) / ranks).mean())


class Acceptance:
    """The shares of genuine and of impostor scores that are accepted, as a threshold moves: a receiver operating curve.

    The thresholds that matter are the genuine scores: from one to the next, a higher threshold loses nothing and lets
    fewer impostors pass.
    """

    def __init__(self, genuine: Array, impostor: Array) -> None:
        """Take scores (N,) float without NaN, at least one of each."""
        self.thresholds = np.unique(genuine)[::-1]
        # How many thresholds a score meets.
        self._met = tuple(
            np.searchsorted(self.thresholds[::-1], scores, side="right").astype(np.int32)
            for scores in (genuine, impostor)
        )

    def rates(self, weights: tuple[Array, Array] | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the shares of both that are accepted at no threshold, then at each, from the highest on.

        ``weights`` (N,) of both, 0 or more, some above: how often a score counts.
        """
        shares = []
        for met, each in zip(self._met, weights or (None, None), strict=True):
            passed = np.bincount(met, each, len(self.thresholds) + 1)[:0:-1].cumsum()
            shares.append(np.append(0, passed) / (len(met) if each is None else each.sum()))
        return shares[0], shares[1]
