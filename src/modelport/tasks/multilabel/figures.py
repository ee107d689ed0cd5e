"""Mean average precision and F1 of sets of classes, over the classes that occur."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.tasks.curves import average_precision, chance_precision


def truth_of(targets: Sequence[Any], width: int, offset: int) -> NDArray[np.bool_]:
    """Return which classes each sample has, bool (N, width). Raises DataError for a class that the output lacks."""
    truth = np.zeros((len(targets), width), bool)
    for row, classes in enumerate(targets):
        for label in classes:
            place = int(label) + offset
            if not 0 <= place < width:
                raise DataError(
                    f"a label asks for class {place}, the model has {width}",
                    "check dataset.label_offset of the recipe and the labels",
                )
            truth[row, place] = True
    return truth


def probabilities(outputs: Array, activation: str) -> NDArray[np.float64]:
    """Return scores (N, C) as probabilities in float64; ``activation`` as the recipe's table has it."""
    wide = outputs.astype(np.float64)
    # exp overflows to infinity, whose inverse is the right 0.
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-wide)) if activation == "sigmoid" else wide


def average_precisions(scores: Array, truth: Array) -> NDArray[np.float64]:
    """Return the average precision of each class (C,), in percent; NaN where it has no positive.

    ``scores`` (N, C) rank the samples of each class, NaN last; ``truth`` (N, C) bool. The mean over the classes that
    have positives is torchmetrics' multilabel_average_precision (average="macro") of these; it counts others as 0.
    """
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    return 100.0 * np.array([average_precision(ranked[:, place], column) for place, column in enumerate(truth.T)])


def macro_f1(answered: Array, truth: Array) -> float:
    """Return the mean F1 = 2TP / (2TP + FP + FN) over the classes that have positives, in percent; both (N, C) bool.

    As torchmetrics' multilabel_f1_score (average="macro") of these classes. NaN where no class has a positive.
    """
    present = truth.any(axis=0)
    if not present.any():
        return float("nan")
    right = (answered & truth).sum(axis=0)[present]
    return 100.0 * float((2 * right / (answered.sum(axis=0) + truth.sum(axis=0))[present]).mean())


def chance(truth: Array) -> float:
    """Return the mAP of scores that know nothing, in percent; ``truth`` (N, C) bool with at least one positive."""
    counts = truth.sum(axis=0)
    return 100.0 * float(np.mean([chance_precision(int(count), len(truth)) for count in counts[counts > 0]]))
