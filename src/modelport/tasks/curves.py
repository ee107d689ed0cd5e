"""What a threshold that moves through scores finds: average precision and the receiver operating characteristic."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array


def counts_by_threshold(scores: Array, positive: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many positives and how many others score at least each distinct score, from the highest downwards.

    ``scores`` (N,) float without NaN, ``positive`` (N,) bool. Equal scores are one threshold: no order is made up.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.zeros(0, np.int64)
    found = np.cumsum(hits, dtype=np.int64)[last]
    return found, last + 1 - found


def average_precision(scores: Array, positive: Array) -> float:
    """Return the sum of precision × step in recall over the distinct scores, 0 to 1; NaN where nothing is positive.

    Not interpolated, as scikit-learn's and torchmetrics' (thresholds=None):
    https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html
    """
    found, wrong = counts_by_threshold(scores, positive)
    total = int(found[-1]) if len(found) else 0
    if not total:
        return float("nan")
    return float((np.diff(found, prepend=0) * (found / (found + wrong))).sum() / total)


def chance_precision(positives: int, n: int) -> float:
    """Return the average precision that ``n`` samples in random order have on average, where ``positives`` are so.

    With m positives, the one at rank k has E[precision] = (1 + (k - 1)(m - 1)/(n - 1))/k, and each rank is as likely.
    """
    ranks = np.arange(1, n + 1)
    before = (ranks - 1) * (positives - 1) / max(1, n - 1)
    return float(((1 + before) / ranks).mean())
