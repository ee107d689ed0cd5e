"""Rows whose rank hangs on equal logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.tasks.ties import Ties


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
