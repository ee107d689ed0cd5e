"""Which output is which where a network gives boxes with more than corners, and what one row of them holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modelport.core.placement import Placement
from modelport.core.values import Array, Tensors, TensorSpec

MEANS = "dets (N, K, 5), or boxes (N, K, 4) with scores (N, K), and labels (N, K)"


class Things(NamedTuple):
    """What was found in one image, in the outputs' order."""

    boxes: Array  # (n, 4) x1 y1 x2 y2 in pixels of the image
    scores: Array  # (n,)
    classes: Array  # (n,) int64, as the data set counts them
    shapes: Array  # (n, …), as the network gives them

    def where(self, kept: Array) -> Things:
        """Return those that a mask or indices choose."""
        return Things(self.boxes[kept], self.scores[kept], self.classes[kept], self.shapes[kept])


@dataclass(frozen=True, slots=True)
class Parts:
    """The names of the outputs; ``scores`` is empty where boxes hold them, ``labels`` where there is one class."""

    boxes: str
    scores: str
    labels: str
    shapes: str
    offset: int = 0  # the recipe's label_offset

    @staticmethod
    def of(specs: Sequence[TensorSpec], what: str, offset: int = 0, alone: bool = False) -> Parts:
        """Return which output plays which part. Raises ValueError where that is not told by their shapes.

        ``what`` names the output of rank 4; with ``alone`` labels may be missing.
        """
        told = f"the outputs are {'; '.join(f'{spec.name} {spec.dtype} {tuple(spec.shape)}' for spec in specs)}"
        by_rank = {rank: [spec for spec in specs if len(spec.shape) == rank] for rank in (2, 3, 4)}
        numbers = [spec for spec in by_rank[2] if "label" in spec.name.lower() or "class" in spec.name.lower()]
        labels = [spec for spec in by_rank[2] if spec.dtype.startswith("int")] or numbers
        scores = [spec for spec in by_rank[2] if spec not in labels]
        wide = 5 if not scores else 4
        boxes = [spec for spec in by_rank[3] if spec.shape[2] == wide]
        good = len(boxes) == len(by_rank[3]) == len(by_rank[4]) == 1 and len(scores) <= 1
        if not good or len(labels) > 1 or not (labels or alone) or len(specs) != sum(map(len, by_rank.values())):
            more = ", which may be missing" if alone else ""
            raise ValueError(f"{told}; wanted are {MEANS}{more}, and {what}")
        name = labels[0].name if labels else ""
        return Parts(boxes[0].name, scores[0].name if scores else "", name, by_rank[4][0].name, offset)

    def found(self, outputs: Tensors, row: int, placement: Placement) -> Things:
        """Return what one row holds. Unused places have a label below 0, or below the first, or no score above 0."""
        boxes = outputs[self.boxes][row]
        scores = outputs[self.scores][row] if self.scores else boxes[:, 4]
        labels = np.rint(outputs[self.labels][row]) if self.labels else np.full(len(scores), self.offset)
        # A NaN is told of by a check, not passed over as unused.
        used = np.isfinite(labels) & (labels >= self.offset) & ~(scores <= 0)
        return Things(
            placement.to_image(boxes[used, :4]),
            scores[used],
            labels[used].astype(np.int64) - self.offset,
            outputs[self.shapes][row][used],
        )
