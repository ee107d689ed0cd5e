"""What a classifier's scores are, and the logits that they are made of."""

from __future__ import annotations

from enum import Enum

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import Floats

# How far a row of probabilities may sum from 1: four times what float16 rounds a sum by at most (2⁻¹¹ of each part).
SUM_ROUNDING = 2e-3
# How far below zero rounding may take a probability that was softmaxed again: a float16's logarithm is off by 2⁻¹¹
# at most, and so is the mean of a row's.
AGAIN_ROUNDING = 2 * 2.0**-11
# How far above an even share some best class is in probabilities that are told from softmaxed ones: of a model that is
# never so sure both look alike. Of two classes only an answer that is wholly sure (1 and 0) tells them.
DECIDED = 0.5
# Probabilities below it are taken for it, before their logarithm: float32's 1e-7 and 0 say the same.
SMALLEST = 1e-7


class Kind(Enum):
    """What rows of scores are, by the words that a person reads."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    TWICE = "probabilities of a softmax that was applied twice"


def kind_of(scores: Array) -> Kind:
    """Return what rows of scores (N, C) are.

    A second softmax makes of probabilities p in C classes what lies between 1 / (C − 1 + e) and e / (C − 1 + e); the
    logarithms less their mean, and a C-th more, are p again. Other rows give so where a model is undecided in all.
    """
    rows = scores.astype(np.float64)
    classes = rows.shape[1]
    if not np.isfinite(rows).all() or rows.min() < 0.0 or np.abs(rows.sum(axis=1) - 1.0).max() > SUM_ROUNDING:
        return Kind.LOGITS
    if rows.min() > 0.0:
        inner = once_softmaxed(rows)
        if inner.min() >= -AGAIN_ROUNDING and inner.max() >= 1.0 / classes + DECIDED - AGAIN_ROUNDING:
            return Kind.TWICE
    return Kind.PROBABILITIES


def logits_of(scores: Array, kind: Kind) -> Floats:
    """Return logits (N, C) that a softmax makes the same probabilities of; what is not finite counts as nothing."""
    rows: Floats = scores.astype(np.float64)
    if kind is Kind.LOGITS:
        rows[~np.isfinite(rows).all(axis=1)] = 0.0
        return rows
    logs: Floats = np.log(np.maximum(rows if kind is Kind.PROBABILITIES else once_softmaxed(rows), SMALLEST))
    return logs


def once_softmaxed(rows: Floats) -> Floats:
    """Return the probabilities (N, C) that rows are a softmax of, were they one."""
    logs = np.log(np.maximum(rows, np.finfo(np.float64).tiny))
    inner: Floats = logs - logs.mean(axis=1, keepdims=True) + 1.0 / rows.shape[1]
    return inner
