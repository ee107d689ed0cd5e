"""What a classifier's scores are, and the logits that they are made of."""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from modelport.core.values import Array
from modelport.tasks.judged import Floats

# How far a row of probabilities may sum from 1: float16 rounds a thousand of them so.
SUM_ROUNDING = 2e-3
# How far below zero rounding may take a probability that was softmaxed again.
AGAIN_ROUNDING = 1e-3
# What is certain in probabilities that are told from softmaxed ones: of an undecided model both look alike.
DECIDED = 0.5
SMALLEST = 1e-7


class Kind(Enum):
    """What rows of scores are, by the words that a person reads."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    TWICE = "probabilities of a softmax that was applied twice"


def kind_of(scores: Array) -> Kind:
    """Return what rows of scores (N, C) are.

    A second softmax makes of probabilities p in C classes what lies between 1 / (C − 1 + e) and e / (C − 1 + e); the
    logarithms less their mean, and a C-th more, are p again. No other rows give so, but those of an undecided model.
    """
    rows = scores.astype(np.float64)
    classes = rows.shape[1]
    if not np.isfinite(rows).all() or rows.min() < 0.0 or np.abs(rows.sum(axis=1) - 1.0).max() > SUM_ROUNDING:
        return Kind.LOGITS
    if rows.min() > 0.0:
        inner = once_softmaxed(rows)
        if inner.min() >= -AGAIN_ROUNDING / classes and inner.max() > DECIDED:
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


def spread(logits: Floats) -> float:
    """Return the standard deviation within rows, 1 where all are alike."""
    found = float(np.sqrt(logits.var(axis=1).mean()))
    return found if found > 0.0 and math.isfinite(found) else 1.0


def once_softmaxed(rows: Floats) -> Floats:
    """Return the probabilities (N, C) that rows are a softmax of, were they one."""
    logs = np.log(np.maximum(rows, np.finfo(np.float64).tiny))
    inner: Floats = logs - logs.mean(axis=1, keepdims=True) + 1.0 / rows.shape[1]
    return inner
