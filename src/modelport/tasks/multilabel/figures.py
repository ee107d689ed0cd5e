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


def mean_average_precision(scores: Array, truth: Array) -> float:
    """Return the mean over the classes that have positives (columns of ``truth`` (N, C) bool), in percent.

    ``scores`` (N, C) rank the samples of each class; NaN ranks last. As torchmetrics' multilabel_average_precision
    with average="macro" of these classes: a class without positives has no precision, and torchmetrics counts it as 0.
    NaN where no class has a positive.
    """
    present = np.flatnonzero(truth.any(axis=0))
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    each = [average_precision(ranked[:, place], truth[:, place]) for place in present]
    return 100.0 * float(np.mean(each)) if each else float("nan")


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
