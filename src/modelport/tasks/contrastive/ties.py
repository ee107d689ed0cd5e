"""Views whose nearest neighbour hangs on equal cosines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.tasks.contrastive.pairs import Blocks, similarities
from modelport.tasks.ties import Ties


class TiedViews(Ties):
    """Ties of ``contrastive_top1``: no view is nearer than the other one of the image, and some are as near.

    Views of which nothing but zeros is left count too: they have no direction to be near in.
    """

    def __init__(self, output: str, count_as_right: bool = False) -> None:
        super().__init__(["contrastive_top1"])
        self._output, self._blocks, self.count_as_right = output, Blocks(), count_as_right

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
