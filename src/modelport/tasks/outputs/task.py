"""How near an engine's outputs are to the source's, whatever they mean: for what has no metric of its own here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelport.core.values import Array, Tensors, TensorSpec
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.base import Draft, Task, relative_difference
from modelport.tasks.outputs.nearness import MOST_PSNR, Near, Nearness
from modelport.tasks.scoring import Figures, Rows, Score, Scorer

# By metric: its unit, and what the source has against itself.
UNITS = {"max_abs": "of the output", "mean_abs": "of the output", "cosine": "ratio", "psnr": "dB"}
PERFECT = {"max_abs": 0.0, "mean_abs": 0.0, "cosine": 1.0, "psnr": MOST_PSNR}
RISE_IS_LOSS = ("max_abs", "mean_abs")


class Outputs(Task):
    """The task ``outputs``: any outputs, no labels; each row is held against the source's answer to the same sample.

    The source's own figures are those of a model against itself: a cosine of 1, a PSNR of 200 dB, no difference. Of
    differences a tolerance in percent is one of the source's largest output; in points it is in the output's own unit.
    """

    metrics = tuple(UNITS)
    # A share of right answers is estimated from samples, arithmetic is not: every input goes through every weight. A
    # few keep a graph from being right by chance, where an activation is zero for the one or other.
    smallest_set = 8
    # Sums in another order, in fp32; what another precision rounds is to be told by the recipe.
    tolerance = Tolerance(value=0.01, unit="percent_of_reference")
    needs_labels = False

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the first metric, which decides, is the PSNR."""
        if recipe.metrics[0] == "psnr":
            raise ValueError("metrics: the first decides, and no tolerance is one of dB; put max_abs, or cosine, first")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take any outputs."""
        return Draft(outputs, ["cosine", "max_abs"], "the outputs tell no task: how near they are to the source's")

    def scorer(self, against_source: bool) -> NearnessScorer:
        """Return a scorer of all outputs."""
        return NearnessScorer([tensor.name for tensor in self._recipe.tensors.outputs], against_source)

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the largest difference of any output, as a share of its largest wanted value; NaN where one is NaN."""
        shares = [relative_difference(_wide(got[name]), _wide(array)) for name, array in want.items()]
        return math.nan if any(map(math.isnan, shares)) else max(shares)


class NearnessScorer(Scorer):
    """Sums what lies between outputs; rows whose source is missing, or that hold NaN or infinity, are left out."""

    def __init__(self, names: Sequence[str], against_source: bool) -> None:
        self._against_source = against_source
        self._found = {name: Nearness() for name in names}
        self._farthest: dict[str, tuple[float, str]] = dict.fromkeys(names, (0.0, ""))
        self._n = 0

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each: its figures by output, none where there is no source."""
        if rows.source is None:
            return [_line(row, None) for row in rows.ids]
        lines = []
        for place, row in enumerate(rows.ids):
            near = {name: self._row(rows, name, place) for name in self._found}
            finite = all(one.max_abs is not None and not one.nonfinite.differ for one in near.values())
            if finite:
                self._count(rows, place, near)
            lines.append(_line(row, near))
        return lines

    def figures(self) -> Figures:
        """Return the worst output's figures and, of several outputs, each one's."""
        if not self._against_source or not self._n:
            return Figures({}, {} if self._against_source else None)
        each = {name: self._scores(found) for name, found in self._found.items()}
        worst = {metric: max((scores[metric] for scores in each.values()), key=_badness) for metric in UNITS}
        if len(each) > 1:
            worst |= {f"{metric}/{name}": score for name, scores in each.items() for metric, score in scores.items()}
        source = {key: replace(score, value=PERFECT[key.partition("/")[0]]) for key, score in worst.items()}
        notes = [
            f"'{name}': the largest difference is {away:.3g}, of values up to {self._found[name].largest:.3g}, in {row}"
            for name, (away, row) in self._farthest.items()
            if row
        ]
        return Figures(worst, source, notes=notes)

    def _row(self, rows: Rows, name: str, place: int) -> Near:
        assert rows.source is not None
        alone = Nearness()
        alone.take(rows.outputs[name][place], rows.source[name][place])
        return alone.near()

    def _count(self, rows: Rows, place: int, near: Mapping[str, Near]) -> None:
        assert rows.source is not None
        self._n += 1
        for name, found in self._found.items():
            found.take(rows.outputs[name][place], rows.source[name][place])
            away = near[name].max_abs or 0.0
            if away > self._farthest[name][0]:
                self._farthest[name] = (away, str(rows.ids[place]))

    def _scores(self, found: Nearness) -> dict[str, Score]:
        near = found.near()
        values = {"max_abs": near.max_abs, "mean_abs": near.mean_abs, "cosine": near.cosine, "psnr": near.psnr}
        scores = {}
        for metric, value in values.items():
            assert value is not None
            rises = metric in RISE_IS_LOSS
            scale = near.largest if rises else None
            scores[metric] = Score(value, UNITS[metric], self._n, None, rises, scale)
        return scores


def _badness(score: Score) -> float:
    """Return what is largest for the worst output: differences as a share of the largest value."""
    if not score.rise_is_loss:
        return -score.value
    return score.value / score.scale if score.scale else math.inf if score.value else 0.0


def _line(row: str, near: Mapping[str, Near] | None) -> dict[str, Any]:
    """Return a line of predictions.jsonl."""
    figures = None
    if near is not None:
        figures = {name: {metric: getattr(one, metric) for metric in UNITS} for name, one in near.items()}
    return {"id": str(row), "outputs": figures}


def _wide(array: Array) -> Array:
    return array.astype("float64")
