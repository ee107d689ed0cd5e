"""Rows whose hit or miss hangs on a tie: where the outputs were rounded, the digits are too few to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.recipes.schema import Recipe
from modelport.tasks.contrastive.pairs import Blocks, similarities

# Points of a figure that tied rows may move before it is no figure; a tenth of the recipes' tolerance.
TOLERATED_POINTS = 0.1


class Ties:
    """Counts, for each of ``metrics``, the rows that are right or wrong by how a tie is counted; this one finds none.

    ``n`` counts the rows that were looked at.
    """

    def __init__(self, metrics: Sequence[str] = ()) -> None:
        self.counts = dict.fromkeys(metrics, 0)
        self.n = 0

    def take(self, outputs: dict[str, Array], targets: Sequence[Any]) -> None:
        """Look at the next rows, in order."""

    def affected(self, metrics: Sequence[str]) -> dict[str, int]:
        """Return the counts, above zero, of these metrics."""
        return {name: self.counts[name] for name in metrics if self.counts.get(name)}

    def points(self, metrics: Sequence[str]) -> dict[str, float]:
        """Return by how many points of percent ties could move these metrics, where they could."""
        return {name: 100.0 * count / self.n for name, count in self.affected(metrics).items()}

    def too_many(self, metrics: Sequence[str]) -> bool:
        """Whether ties could move one of these metrics by more than 0.1 points."""
        return any(points > TOLERATED_POINTS for points in self.points(metrics).values())


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
        if logits.ndim != 2 or (labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1])):
            return  # told by the scorer
        own = np.take_along_axis(logits, labels[:, None], axis=1)
        above, level = (logits > own).sum(axis=1), (logits >= own).sum(axis=1) - 1
        whole = ~np.isnan(logits).any(axis=1)
        for name in self.counts:
            k = int(name[3:])
            self.counts[name] += int((whole & (above < k) & (level >= k)).sum())
        self.n += len(labels)


class TiedViews(Ties):
    """Ties of ``contrastive_top1``: no view is nearer than the other one of the image, and some are as near.

    Views of which nothing but zeros is left count too: they have no direction to be near in.
    """

    def __init__(self, output: str) -> None:
        super().__init__(["contrastive_top1"])
        self._output, self._blocks = output, Blocks()

    def take(self, outputs: dict[str, Array], targets: Sequence[Any]) -> None:
        """Count rows: features (N, D), both views of an image adjacent, in the blocks in which they are scored."""
        for rows in self._blocks.cut(outputs[self._output]):
            cosines, index = similarities(rows), np.arange(len(rows))
            own: Array = cosines[index, index ^ 1]
            above, level = (cosines > own[:, None]).sum(axis=1), (cosines >= own[:, None]).sum(axis=1) - 1
            finite: Array = np.asarray(np.isfinite(rows).all(axis=1))
            tied = np.logical_or(np.isnan(own), (above == 0) & (level > 0))
            self.counts["contrastive_top1"] += int((tied & finite & finite[index ^ 1]).sum())
            self.n += len(rows)


def ties_of(recipe: Recipe) -> Ties:
    """Return what counts the ties of a recipe's figures; boxes are told apart by more than one number."""
    output = recipe.tensors.outputs[0].name
    match recipe.task:
        case "classification":
            return TiedRows(output, recipe.metrics, recipe.dataset.label_offset)
        case "contrastive":
            return TiedViews(output)
    return Ties()
