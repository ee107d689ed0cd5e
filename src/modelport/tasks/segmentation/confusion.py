"""Pixels counted by their true and their answered class, and what is computed of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array
from modelport.tasks.scoring import Score


class Confusion:
    """Counts pixels of images: (C, C + 1) by true class and answered class, the last column for no class at all."""

    def __init__(self, classes: int) -> None:
        self.counts: NDArray[np.int64] = np.zeros((classes, classes + 1), np.int64)
        self.images = 0

    def add(self, truth: Array, answers: Array) -> Confusion:
        """Count one image: true classes (n,) in [0, C), answered classes (n,), of which others are none.

        Returns what was counted of this image alone.
        """
        classes = len(self.counts)
        answered = np.where((answers >= 0) & (answers < classes), answers, classes)
        found = np.bincount(truth * (classes + 1) + answered, minlength=classes * (classes + 1))
        alone = Confusion(classes)
        alone.counts, alone.images = found.reshape(classes, classes + 1).astype(np.int64), 1
        self.counts += alone.counts
        self.images += 1
        return alone

    @property
    def pixels(self) -> int:
        """How many pixels were counted."""
        return int(self.counts.sum())

    def ious(self) -> NDArray[np.float64]:
        """Return the intersection over union of each class (C,), NaN where neither truth nor answer has it."""
        met = np.diagonal(self.counts)
        union = self.counts.sum(axis=1) + self.counts[:, :-1].sum(axis=0) - met
        shares: NDArray[np.float64] = np.divide(met, union, out=np.full(len(met), np.nan), where=union > 0)
        return shares

    def miou(self) -> float:
        """Return the mean of the classes' intersections over unions, 0 to 1.

        Classes that are in neither truth nor answer are left out, as torchmetrics' ``jaccard_index`` with
        ``average="macro"`` and mmsegmentation's ``IoUMetric`` leave them out.
        """
        return float(np.nanmean(self.ious()))

    def accuracy(self) -> float:
        """Return the share of pixels whose answer is the true class."""
        return float(np.trace(self.counts) / self.counts.sum())

    def scores(self) -> dict[str, Score]:
        """Return ``miou`` and ``pixel_accuracy`` in percent; ``n`` counts images. Wants a pixel at least."""
        figures = {"miou": self.miou(), "pixel_accuracy": self.accuracy()}
        # Pixels of one image are not independent of each other: their number gives no standard error.
        return {name: Score(100.0 * value, "percent", self.images, None) for name, value in figures.items()}

    def chance(self) -> float:
        """Return the mIoU in percent of naming the most frequent class everywhere."""
        truth = self.counts.sum(axis=1)
        return 100.0 * float(truth.max() / truth.sum() / np.count_nonzero(truth))

    def per_class(self, names: Sequence[str], source: Confusion | None = None) -> list[dict[str, Any]]:
        """Return a row for each class that truth or answer has: true pixels, IoU, the source's, accuracy in percent."""
        truth, ious = self.counts.sum(axis=1), self.ious()
        theirs = np.full(len(truth), np.nan) if source is None else source.ious()
        return [
            {
                "class": index,
                "name": names[index] if index < len(names) else str(index),
                "n": int(truth[index]),
                "iou": 100.0 * float(iou),
                "source": None if np.isnan(theirs[index]) else 100.0 * float(theirs[index]),
                "accuracy": 100.0 * float(self.counts[index, index] / truth[index]) if truth[index] else None,
            }
            for index, iou in enumerate(ious)
            if not np.isnan(iou)
        ]
