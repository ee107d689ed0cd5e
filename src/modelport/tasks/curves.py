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
    hits, ranked = np.sort(scores[positive]), np.sort(scores)
    if not len(hits):
        return float("nan")
    found = len(hits) - np.searchsorted(hits, hits)
    return float((found / (len(ranked) - np.searchsorted(ranked, hits))).mean())


def chance_precision(positives: int, n: int) -> float:
    """Return the average precision that ``n`` samples in random order have on average, where ``positives`` are so.

    With m positives, the one at rank k has E[precision] = (1 + (k - 1)(m - 1)/(n - 1))/k, and each rank is as likely.
    """
    ranks = np.arange(1, n + 1)
    before = (ranks - 1) * (positives - 1) / max(1, n - 1)
    return float(((1 + before) / ranks).mean())


def acceptance(genuine: Array, impostor: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of both that score at least as high as each genuine one, from the highest on, and of none.

    The receiver operating characteristic at the thresholds that matter: from one genuine score to the next, a higher
    threshold loses nothing and lets fewer impostors pass. Both (N,) float without NaN, at least one each.
    """
    right, wrong = np.sort(genuine), np.sort(impostor)
    thresholds = np.unique(right)[::-1]
    passed = (len(side) - np.searchsorted(side, thresholds) for side in (right, wrong))
    accepted, mistaken = (np.append(0, counts) for counts in passed)
    return accepted / len(right), mistaken / len(wrong)
