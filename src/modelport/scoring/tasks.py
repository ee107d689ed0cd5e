"""What a task asks of an output: its metric, a sample's answer in words, and when two answers agree."""

from __future__ import annotations

from typing import Any, Protocol

from modelport.core.values import Tensors
from modelport.recipes.schema import Recipe
from modelport.scoring.base import Metric
from modelport.scoring.topk import TopK, best


class Task(Protocol):
    """How outputs of one kind are judged. A *row* holds one sample's outputs, without the batch axis."""

    smallest_set: int  # samples below which no verdict is given

    def metric(self) -> Metric:
        """Return an empty metric."""

    def target(self, label: Any) -> Any:
        """Return what the metric wants for a label of the data set."""

    def answer(self, row: Tensors) -> Any:
        """Return the sample's answer as JSON values, for predictions.jsonl."""

    def agreement(self, row: Tensors, source: Tensors) -> tuple[int, int]:
        """Return (met, of): how much of the source's answer this one meets."""


class Classification:
    """One class per image; two answers agree where their best class is the same."""

    smallest_set = 300
    answer_name = "top5"

    def __init__(self, recipe: Recipe) -> None:
        self._output = recipe.tensors.outputs[0].name
        self._offset = recipe.dataset.label_offset

    def metric(self) -> Metric:
        """top1 … top5."""
        return TopK(self._output)

    def target(self, label: Any) -> int:
        """Return the output index of a label."""
        return int(label) + self._offset

    def answer(self, row: Tensors) -> list[tuple[int, float | None]]:
        """Return the five best [class, logit]."""
        return best(row[self._output])

    def agreement(self, row: Tensors, source: Tensors) -> tuple[int, int]:
        """Return (1, 1) where both have the same best class; an answer with a NaN agrees with nothing."""
        (mine, score), (theirs, other) = best(row[self._output], 1)[0], best(source[self._output], 1)[0]
        return int(mine == theirs and score is not None and other is not None), 1


TASKS = {"classification": Classification}


def task_of(recipe: Recipe) -> Task:
    """Return the task that the recipe names."""
    return TASKS[recipe.task](recipe)
