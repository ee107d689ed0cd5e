"""Numbers per image: how far they are off, how much of the labels' variance they explain, and the source's numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.values import Array, Tensors, TensorSpec
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tensor, Tolerance
from modelport.tasks.base import Draft, Task, relative_difference
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.kept import Kept
from modelport.tasks.regression.figures import METRICS, near, scores
from modelport.tasks.regression.lines import recount
from modelport.tasks.regression.resampled import NumberFigures
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer

# A row's numbers are the source's where none is further off than this share of its standard deviation over all rows:
# errors of that size cost R² 0.0025. Chosen, not measured.
NEAR = 0.05


class Regression(Task):
    """The task ``regression``: outputs (N,) or (N, D), side by side in the recipe's order, against numbers."""

    metrics = METRICS
    # Points would be in the unit of the numbers, which nobody can choose for all.
    tolerance = Tolerance(value=1.0, unit="percent_of_reference")
    label_form = "numbers"
    placeholder = ()
    sample_fitter = "modelport.stages.sample_weights.regression:fit_numbers"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where an output is no row of floats, or names are not one for each number."""
        for output in recipe.tensors.outputs:
            if len(output.shape) > 2 or not output.dtype.startswith("float"):
                raise ValueError(
                    f"the output '{output.name}' is {output.dtype} {output.shape}, numbers are float ['batch'] or "
                    "['batch', how many]"
                )
        told, width = _names_told(recipe), _width(recipe.tensors.outputs)
        if told and width is not None and len(told) != width:
            raise ValueError(f"{len(told)} names ({', '.join(told)}) for the {width} numbers of the outputs")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take rows of floats; by themselves such outputs tell no task."""
        found = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) <= 2]
        return None if alone or not found else Draft(found, list(METRICS), "each output is a row of numbers")

    def scorer(self, against_source: bool) -> NumberScorer:
        """Return a scorer of numbers against numbers."""
        outputs = self._recipe.tensors.outputs
        return NumberScorer([output.name for output in outputs], _names_told(self._recipe), against_source)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return the label; whether two rows agree hangs on the spread of all rows, which no line tells."""
        return Judged(line["target"])

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Return the figures of the numbers in the lines; of each column where the recipe tells the columns."""
        names = _names_told(self._recipe)
        if not names and _width(self._recipe.tensors.outputs) is not None:
            names = _own_names({output.name: _width([output]) or 1 for output in self._recipe.tensors.outputs})
        return recount((line for line, _ in lines), names)

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the largest difference of any output, as a share of its largest wanted value; NaN where one is NaN."""
        shares = [relative_difference(got[tensor.name], want[tensor.name]) for tensor in self._recipe.tensors.outputs]
        return math.nan if any(map(math.isnan, shares)) else max(shares)


class NumberScorer(Scorer):
    """Keeps the numbers of all rows, at most ``tasks.kept.MOST_VALUES``: what is near hangs on the spread of all.

    Two answers agree where every number is within NEAR standard deviations of the source's.
    """

    def __init__(self, outputs: Sequence[str], names: Sequence[str], against_source: bool) -> None:
        self._outputs, self._names = outputs, names
        self._mine, self._theirs = Kept(), Kept() if against_source else None
        self._ids: list[str] = []
        self._targets: list[Sequence[float]] = []

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each."""
        numbers = self._columns(rows.outputs)
        if not self._names:
            self._names = _own_names({name: rows.outputs[name][0].size for name in self._outputs})
        for name, target in zip(rows.ids, rows.targets, strict=True):
            if len(target) not in (0, numbers.shape[1]):
                raise DataError(
                    f"{name}: the label has {len(target)} numbers, the model answers {numbers.shape[1]}",
                    "give a number for each, in the order of the outputs (dataset.columns)",
                )
        self._ids += map(str, rows.ids)
        self._targets += rows.targets
        self._mine.take(numbers)
        theirs: Sequence[Array | None] = [None] * len(rows.ids)
        if self._theirs is not None and rows.source is not None:
            self._theirs.take(self._columns(rows.source))
            theirs = list(self._columns(rows.source))
        told = zip(rows.ids, rows.targets, numbers, theirs, strict=True)
        return [
            {"id": str(name), "target": list(target), "numbers": _told(mine), "source_numbers": _told(other)}
            for name, target, mine, other in told
        ]

    def figures(self) -> Figures:
        """Return the figures, and the source's on the same rows; none where the rows have no labels."""
        mine = self._mine.whole().astype(np.float64)
        flips, source = Flips(), None if self._theirs is None else self._theirs.whole().astype(np.float64)
        if source is not None and len(source) == len(mine):
            for row, same in enumerate(near(mine, source, NEAR)):
                told = {"source": _told(source[row]), "engine": _told(mine[row])}
                flips.add(int(same), 1, {"id": self._ids[row], "target": list(self._targets[row])} | told)
        if not all(len(target) for target in self._targets):
            return Figures({}, None if source is None else {}, flips)
        targets = np.array(self._targets, np.float64).reshape(mine.shape)
        notes: list[str] = []
        metrics = self._scores(mine, targets, notes)
        # Whoever always answers the mean explains nothing.
        figures = Figures(metrics, None, flips, notes, {"r2": 0.0} if "r2" in metrics else {})
        if source is not None:
            figures.source = {}
            if len(source) == len(mine):
                figures.source = self._scores(source, targets, [])
                figures.resampled = NumberFigures(mine, source, targets, self._names)
        return figures

    def _scores(self, answers: Array, targets: Array, notes: list[str]) -> dict[str, Score]:
        finite = np.isfinite(answers).all(axis=1)
        if not finite.any():
            return {}
        if not finite.all():
            notes.append(f"{int((~finite).sum())} rows hold NaN or infinity and are in no figure")
        constant = [name for name, column in zip(self._names, targets.T, strict=True) if np.ptp(column) == 0]
        if constant:
            notes.append(f"R² is not defined where all labels are the same: {', '.join(constant)}")
        return scores(answers[finite], targets[finite], self._names)

    def _columns(self, outputs: Tensors) -> NDArray[np.float64]:
        """Return the numbers of all outputs side by side, (N, D)."""
        rows = [outputs[name].reshape(len(outputs[name]), -1) for name in self._outputs]
        return np.concatenate(rows, axis=1).astype(np.float64)


def _names_told(recipe: Recipe) -> Sequence[str]:
    """Return what the recipe calls the numbers: the columns of its table of labels, else dataset.names."""
    columns = recipe.dataset.columns
    label = None if columns is None else columns.label
    return label if isinstance(label, list) else recipe.dataset.names or ()


def _own_names(widths: Mapping[str, int]) -> list[str]:
    """Return a name for each number: its output's, with its place where it is one of several."""
    return [name if width == 1 else f"{name}[{place}]" for name, width in widths.items() for place in range(width)]


def _width(outputs: Sequence[Tensor]) -> int | None:
    """Return how many numbers the outputs have, None where one does not tell."""
    widths = [output.shape[1] if len(output.shape) > 1 else 1 for output in outputs]
    return sum(int(width) for width in widths) if all(isinstance(width, int) for width in widths) else None


def _told(row: Array | None) -> list[float | None] | None:
    return None if row is None else [float(value) if math.isfinite(value) else None for value in row]
