"""Rows whose hit or miss hangs on a tie: where the outputs were rounded, the digits are too few to tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelport.core.values import Array

# Points of a figure that tied rows may move before it is no figure; a tenth of the recipes' tolerance.
TOLERATED_POINTS = 0.1


class TiedRows:
    """Counts, for each ``topK`` of ``metrics``, the rows that are right or wrong by how a tie is counted."""

    def __init__(self, output: str, metrics: Sequence[str]) -> None:
        self._output = output
        self.counts = {name: 0 for name in metrics if name.startswith("top") and name[3:].isdecimal()}
        self.n = 0

    def take(self, outputs: dict[str, Array], targets: Sequence[int]) -> None:
        """Count rows: logits (N, C), targets (N,) in [0, C). A row with NaN is wrong and no tie."""
        logits, labels = outputs[self._output], np.asarray(targets, np.int64)
        if logits.ndim != 2 or (labels.size and not (labels.min() >= 0 and labels.max() < logits.shape[1])):
            return  # told by the scorer
        own = np.take_along_axis(logits, labels[:, None], axis=1)
        above, level = (logits > own).sum(axis=1), (logits >= own).sum(axis=1) - 1
        whole = ~np.isnan(logits).any(axis=1)
        for name in self.counts:
            k = int(name[3:])
            self.counts[name] += int((whole & (above < k) & (level >= k)).sum())
        self.n += len(labels)

    def affected(self, metrics: Sequence[str]) -> dict[str, int]:
        """Return the counts, above zero, of these metrics."""
        return {name: self.counts[name] for name in metrics if self.counts.get(name)}

    def too_many(self, metrics: Sequence[str]) -> bool:
        """Whether ties could move one of these metrics by more than 0.1 points."""
        return any(100 * count > TOLERATED_POINTS * self.n for count in self.affected(metrics).values())
