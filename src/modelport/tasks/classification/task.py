"""One class per image: top-k accuracy, and the same best class as the source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array, Tensors
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Figures, Flips, Rows
from modelport.tasks.classification.topk import TopK, best


class Classification:
    """The task ``classification``."""

    smallest_set = 300
    # Sums in another order, as a share of the largest output.
    tolerated = 1e-4
    difference_means = "largest difference over the largest output"

    def __init__(self, recipe: Recipe) -> None:
        self._output = recipe.tensors.outputs[0].name
        self._offset = recipe.dataset.label_offset

    def scorer(self, against_source: bool) -> ClassScorer:
        """Return a scorer of logits (N, C) against labels."""
        return ClassScorer(self._output, self._offset, against_source)

    def outputs_of(self, raw: Sequence[Array]) -> dict[str, Array]:
        """Return the logits by their name."""
        return {self._output: raw[0]}

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the largest difference as a share of the source's largest output."""
        return relative_difference(got[self._output], want[self._output])

    def sample_of(self, row: str) -> str | None:
        """Every row is a sample."""
        return row


class ClassScorer:
    """Counts ranks; two answers agree where their best class is the same and neither holds a NaN there."""

    def __init__(self, output: str, offset: int, against_source: bool) -> None:
        self._output = output
        self._offset = offset
        self._metric = TopK(output)
        self._source = TopK(output) if against_source else None
        self._sourced = 0
        self._targets: Counter[int] = Counter()
        self._width = 1
        self._offsets: Counter[int] = Counter()
        self._flips = Flips()

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each."""
        targets = [int(label) + self._offset for label in rows.targets]
        self._targets.update(targets)
        self._width = rows.outputs[self._output].shape[-1]
        self._metric.update(rows.outputs, targets)
        if self._source is not None and rows.source is not None:
            self._source.update(rows.source, targets)
            self._sourced += len(targets)
        answers = rows.outputs[self._output].argmax(axis=1)
        self._offsets.update(map(int, (answers - np.array(targets)) % self._width))
        theirs = [None] * len(targets) if rows.source is None else rows.source[self._output]
        lines = zip(rows.ids, targets, rows.outputs[self._output], theirs, strict=True)
        return [self._line(name, target, mine, other) for name, target, mine, other in lines]

    def finish(self) -> list[dict[str, Any]]:
        """Nothing is held back."""
        return []

    def figures(self) -> Figures:
        """Return top1 … top5, and the source's on the same rows."""
        source = None if self._source is None else self._source.compute() if self._sourced else {}
        flips = self._flips
        return Figures(
            self._metric.compute(),
            source,
            flips.met,
            flips.of,
            flips.first,
            flips.count,
            [],
            self._chance(),
            self._offsets,
        )

    def _chance(self) -> dict[str, float]:
        """Return the better of drawing a class and of always naming the most frequent one, in percent."""
        share = max(self._targets.values(), default=0) / max(1, self._targets.total())
        return {"top1": 100.0 * max(share, 1.0 / self._width)}

    def _line(self, name: str, target: int, mine: Array, theirs: Array | None) -> dict[str, Any]:
        answer = best(mine)
        source = None if theirs is None else best(theirs)
        if source is not None:
            (first, score), (other, reference) = answer[0], source[0]
            same = first == other and score is not None and reference is not None
            self._flips.add(int(same), 1, {"id": name, "target": target, "source": other, "engine": first})
        return {"id": name, "target": target, "top5": answer, "source_top5": source}


def relative_difference(got: Array, want: Array) -> float:
    """Return the largest difference as a share of the largest wanted value; infinite for another shape, NaN for NaN."""
    if got.shape != want.shape:
        return float("inf")
    return float(np.abs(got - want).max()) / (float(np.abs(want).max()) or 1.0)
