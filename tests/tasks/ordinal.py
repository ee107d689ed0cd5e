"""A task that modelport does not bring: one number for each image, which is to be the index of its class."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task
from modelport.tasks.classification.topk import percent
from modelport.tasks.scoring import Figures, Flips, Rows, Score


class Ordinal(Task):
    """Outputs (N, 1) against labels; ``within_half`` counts those that are rounded to the label, in percent."""

    metrics = ("within_half", "mae")
    smallest_set = 50
    placeholder = 0
    tuned_batches = (1, 4)

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError unless there is one number for each image."""
        output = recipe.tensors.outputs[0]
        if output.shape[1:] != [1]:
            raise ValueError(f"the output '{output.name}' is {output.shape}, an ordinal model gives ['batch', 1]")

    def scorer(self, against_source: bool) -> NumberScorer:
        """Return a scorer of numbers against labels."""
        return NumberScorer(self._output, against_source)


class Errors:
    """Sums what lies between numbers and labels."""

    def __init__(self) -> None:
        self.n = self.near = 0
        self.far = 0.0

    def take(self, numbers: Array, labels: Array) -> None:
        """Count numbers (N,) against labels (N,)."""
        away = np.abs(numbers - labels)
        self.n, self.near, self.far = self.n + len(away), self.near + int((away < 0.5).sum()), self.far + away.sum()

    def scores(self) -> dict[str, Score]:
        """Return both figures."""
        return {"within_half": percent(self.near, self.n), "mae": Score(self.far / self.n, "classes", self.n, None)}


class NumberScorer:
    """Sums errors; two answers agree where they are rounded to the same label."""

    def __init__(self, output: str, against_source: bool) -> None:
        self._output = output
        self._mine, self._theirs = Errors(), Errors() if against_source else None
        self._flips, self._labels = Flips(), Counter[int]()

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each."""
        labels, mine = np.asarray(rows.targets), rows.outputs[self._output][:, 0].astype(np.float64)
        self._mine.take(mine, labels)
        self._labels.update(labels.tolist())
        if self._theirs is not None and rows.source is not None:
            theirs = rows.source[self._output][:, 0].astype(np.float64)
            self._theirs.take(theirs, labels)
            for row, label, own, other in zip(rows.ids, labels, mine, theirs, strict=True):
                flip = {"id": str(row), "target": int(label), "source": round(other), "engine": round(own)}
                self._flips.add(int(round(own) == round(other)), 1, flip)
        return [
            {"id": str(row), "target": int(label), "number": float(number)}
            for row, label, number in zip(rows.ids, labels, mine, strict=True)
        ]

    def finish(self) -> list[dict[str, Any]]:
        """Nothing is held back."""
        return []

    def figures(self) -> Figures:
        """Return both figures, and the source's on the same images."""
        source = None if self._theirs is None else self._theirs.scores() if self._theirs.n else {}
        commonest = 100.0 * max(self._labels.values()) / self._mine.n
        return Figures(self._mine.scores(), source, self._flips, chance={"within_half": commonest})
