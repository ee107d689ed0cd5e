"""Top-k accuracy by rank, and a sample's five best classes, and rows whose rank hangs on equal logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError
from modelport.core.values import Array, Tensors
from modelport.tasks.scoring import Score, Ties


def target_ranks(logits: Array, targets: Array) -> Array:
    """Return how many *other* classes score at least as high as the target, int64 (N,).

    ``logits`` (N, C) float, ``targets`` (N,) int in [0, C). Ties count against the target. A row with a NaN
    anywhere gets rank C: it is wrong at every k.
    """
    own = np.take_along_axis(logits, targets[:, None], axis=1)
    # The target itself is always >= its own logit: one less. NaN compares false, hence the separate rule.
    ranks = (logits >= own).sum(axis=1) - 1
    wrong: Array = np.where(np.isnan(logits).any(axis=1), logits.shape[1], ranks)
    return wrong


def class_scores(answers: Array, classes: int) -> Array:
    """Return scores (N, C) of a network's answers: logits as they are; of class numbers (N,) or (N, 1), 1 for each.

    A number that is no class scores nothing.
    """
    if answers.dtype.kind not in "iu":
        return answers
    scores: Array = (answers.reshape(len(answers), -1)[:, :1] == np.arange(classes)).astype(np.float32)
    return scores


def best(logits: Array, count: int = 5) -> list[tuple[int, float | None]]:
    """Return the ``count`` best (class, logit) of one row, best first, the lower class first on a tie.

    A value that JSON cannot hold (NaN, infinity) becomes None; NaN comes last.
    """
    values = np.where(np.isnan(logits), -np.inf, logits)
    # Only what reaches the last place is sorted: a thousand classes are not.
    last = np.partition(values, -count)[-count] if count < len(values) else -np.inf
    chosen = np.flatnonzero(values >= last)
    order = chosen[np.argsort(-values[chosen], kind="stable")][:count]
    return [(int(index), float(logits[index]) if math.isfinite(logits[index]) else None) for index in order]


def percent(hits: float, n: int) -> Score:
    """Return a share of ``n`` in percent with its binomial standard error, 100·√(p(1−p)/n)."""
    share = hits / n
    return Score(100.0 * share, "percent", n, 100.0 * math.sqrt(share * (1.0 - share) / n))


class TopK:
    """top1 … top``k`` over logits (N, C); a target is a class index of the output."""

    def __init__(self, output: str, k: int = 5) -> None:
        self._output = output
        self._k = k
        self._hits = [0] * k
        self._n = 0

    def update(self, outputs: Tensors, targets: Sequence[Any]) -> Array:
        """Count one batch and return its ranks, int64 (N,). Raises DataError for a target that is no class."""
        logits = outputs[self._output]
        labels = np.asarray(targets, dtype=np.int64)
        if labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
            raise DataError(
                f"a label asks for class {labels.max()}, the model has {logits.shape[1]}",
                "check dataset.label_offset of the recipe and the label file",
            )
        ranks = target_ranks(logits, labels)
        for k in range(self._k):
            self._hits[k] += int((ranks <= k).sum())
        self._n += len(labels)
        return ranks

    def compute(self) -> dict[str, Score]:
        """Return ``top1`` … in percent. Raises DataError where nothing was counted."""
        if self._n == 0:
            raise DataError("no sample was scored", "check --data and --limit")
        return {f"top{k + 1}": percent(self._hits[k], self._n) for k in range(self._k)}


class TiedRows(Ties):
    """Ties of ``topK``: the target's logit is that of other classes, and the rank K lies among them.

    ``offset`` is added to the targets: the recipe's ``label_offset``.
    """

    def __init__(self, output: str, metrics: Sequence[str], offset: int = 0) -> None:
        super().__init__([name for name in metrics if name.startswith("top") and name[3:].isdecimal()])
        self._output, self._offset = output, offset

    def take(self, outputs: dict[str, Array], targets: Sequence[Any]) -> None:
        """Count rows: logits (N, C), targets (N,) in [0, C). A row with NaN is wrong and no tie."""
        logits, labels = outputs[self._output], np.asarray(targets, np.int64) + self._offset
        if logits.ndim != 2 or logits.dtype.kind != "f":
            return  # numbers of classes have no ties
        if labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1]):
            return  # told by the scorer
        own = np.take_along_axis(logits, labels[:, None], axis=1)
        above, level = (logits > own).sum(axis=1), (logits >= own).sum(axis=1) - 1
        whole = ~np.isnan(logits).any(axis=1)
        for name in self.counts:
            k = int(name[3:])
            self.counts[name] += int((whole & (above < k) & (level >= k)).sum())
        self.n += len(labels)
