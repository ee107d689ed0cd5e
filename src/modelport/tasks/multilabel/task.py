"""A set of classes per image: mean average precision, F1, and the same set as the source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array, TensorSpec
from modelport.recipes.draft import Line
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Draft, Task, own_table
from modelport.tasks.classification.topk import best
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.kept import Kept
from modelport.tasks.multilabel.figures import average_precisions, chance, macro_f1, probabilities, truth_of
from modelport.tasks.multilabel.lines import judged, recount
from modelport.tasks.multilabel.recipe_table import Threshold
from modelport.tasks.multilabel.resampled import SetFigures
from modelport.tasks.packed import Packer
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer


class MultiLabel(Task):
    """The task ``multilabel``: one output of scores (N, C), a set of classes for each sample."""

    metrics = ("multilabel_mAP", "multilabel_f1")
    recipe_table = Threshold
    needs_table = True
    label_form = "classes"
    placeholder = ()
    sample_fitter = "modelport.stages.sample_weights.multilabel:fit_sets"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the output is not a row of as many scores as dataset.classes."""
        output, dataset = recipe.tensors.outputs[0], recipe.dataset
        if len(output.shape) != 2 or not output.dtype.startswith("float"):
            raise ValueError(
                f"the output '{output.name}' is {output.dtype} {output.shape}, a score for each class is "
                "float ['batch', classes]"
            )
        width = output.shape[1]
        if isinstance(width, int) and dataset.classes is not None and width != dataset.classes:
            raise ValueError(
                f"dataset.classes is {dataset.classes}, the width of the output '{output.name}' is {width}; give both "
                "the same"
            )
        if dataset.classes is not None and dataset.label_offset >= dataset.classes:
            raise ValueError(f"dataset.label_offset is {dataset.label_offset}, so that no label fits; give less")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take a row of scores for each image; by themselves such outputs are a classifier's."""
        found = [spec for spec in outputs if spec.dtype.startswith("float") and len(spec.shape) == 2]
        if alone or not found:
            return None
        width = found[0].shape[1]
        why = f"'{found[0].name}' is one row of scores an image"
        return Draft(found[:1], list(cls.metrics), why, width if isinstance(width, int) else None)

    @classmethod
    def draft_lines(cls, outputs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> Sequence[Line]:
        """Return the usual activation and threshold, as guesses."""
        why = "'none' where the outputs are probabilities already"
        return [
            Line("multilabel.activation", "sigmoid", why, guessed=True),
            Line("multilabel.threshold", 0.5, "above it a class is answered", guessed=True),
        ]

    def scorer(self, against_source: bool) -> SetScorer:
        """Return a scorer of scores (N, C) against sets of classes."""
        names = self._recipe.dataset.names or [name for _, name in self._categories]
        table, offset = own_table(self._recipe, Threshold), self._recipe.dataset.label_offset
        return SetScorer(self._output, table, (offset, names), against_source)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return the set as the output counts classes, and the F1 of the image's own sets as ``surrogate``."""
        return judged(line)

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Return both figures by their definitions."""
        return recount(line for line, _ in lines)


class SetScorer(Scorer):
    """Keeps the scores of all rows, since mAP ranks them; at most ``tasks.kept.MOST_VALUES``.

    Two answers agree where they are the same set, of scores without a NaN.
    """

    def __init__(self, output: str, table: Threshold, labels: tuple[int, Sequence[str]], against_source: bool) -> None:
        """Take what is added to a label, and the labels' names, as ``labels``."""
        self._output, self._table = output, table
        self._offset, self._names = labels
        self._mine, self._theirs = Kept(), Kept() if against_source else None
        self._packed = Packer(), Packer()
        self._truth: list[NDArray[np.bool_]] = []
        self._flips = Flips()
        self._range = (np.inf, -np.inf)

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some rows and return a line for each."""
        scores = rows.outputs[self._output]
        self._truth.append(truth_of(rows.targets, scores.shape[1], self._offset))
        self._mine.take(scores)
        if (finite := scores[np.isfinite(scores)]).size:
            self._range = min(self._range[0], float(finite.min())), max(self._range[1], float(finite.max()))
        answers = [_classes(row) for row in self._answered(scores)]
        theirs = self._source_lines(rows)
        lines = []
        told = zip(rows.ids, self._truth[-1], scores, answers, self._packed[0].pack(scores), theirs, strict=True)
        for name, truth, row, answer, packed, source in told:
            target, other = _classes(truth), source["source_classes"]
            line = {"id": str(name), "target": target, "classes": answer, "top5": best(row), "scores": packed}
            same = None if other is None else other == answer and not bool(np.isnan(row).any())
            lines.append(line | source | {"agrees": same})
            if same is not None:
                self._flips.add(int(same), 1, {"id": str(name), "target": target, "source": other, "engine": answer})
        return lines

    def figures(self) -> Figures:
        """Return both figures, and the source's on the same rows; neither where no class has a positive."""
        truth = np.concatenate(self._truth)
        present = int(truth.any(axis=0).sum())
        notes = [note for note in (self._odd_range(), _absent(present, truth.shape[1])) if note]
        figures = Figures({}, None if self._theirs is None else {}, self._flips, notes)
        if not present:
            return figures
        each = average_precisions(self._mine.whole(), truth)
        theirs: Array = np.full_like(each, np.nan)
        if self._theirs is not None and len(self._theirs.whole()) == len(truth):
            theirs = average_precisions(self._theirs.whole(), truth)
            figures.source = self._scores(self._theirs.whole(), truth, theirs)
            sides = self._mine.whole(), self._theirs.whole()
            figures.resampled = SetFigures(truth, sides, (self._answered(sides[0]), self._answered(sides[1])))
        figures.metrics = self._scores(self._mine.whole(), truth, each)
        figures.chance = {"multilabel_mAP": chance(truth)}
        figures.per_class = [
            {"class": place, "name": self._name(place), "n": int(truth[:, place].sum())}
            | {"AP": float(each[place]), "source": _finite(theirs[place])}
            for place in np.flatnonzero(truth.any(axis=0)).tolist()
        ]
        return figures

    def _scores(self, outputs: Array, truth: Array, each: Array) -> dict[str, Score]:
        found = {"multilabel_mAP": float(np.nanmean(each)), "multilabel_f1": macro_f1(self._answered(outputs), truth)}
        return {name: Score(value, "percent", len(truth), None) for name, value in found.items()}

    def _name(self, place: int) -> str:
        label = place - self._offset
        return self._names[label] if 0 <= label < len(self._names) else ""

    def _answered(self, outputs: Array) -> NDArray[np.bool_]:
        return np.asarray(probabilities(outputs, self._table.activation) > self._table.threshold)

    def _odd_range(self) -> str:
        low, high = self._range
        told = f"all scores lie within {low:.3g} … {high:.3g}"
        if self._table.activation == "sigmoid" and low >= 0 and high <= 1:
            return f"{told}: these may be probabilities already, multilabel.activation says sigmoid"
        if self._table.activation == "none" and (low < 0 or high > 1):
            return f"{told}: these are no probabilities, multilabel.activation says none"
        return ""

    def _source_lines(self, rows: Rows) -> list[dict[str, Any]]:
        """Keep the source's scores and return what the lines tell of them, None where there are none."""
        if self._theirs is None or rows.source is None:
            return [dict.fromkeys(("source_classes", "source_scores", "source_margin"))] * len(rows.ids)
        scores = rows.source[self._output]
        self._theirs.take(scores)
        away = np.abs(probabilities(scores, self._table.activation) - self._table.threshold).min(axis=1)
        told = zip(self._answered(scores), self._packed[1].pack(scores), away.tolist(), strict=True)
        return [
            {"source_classes": _classes(row), "source_scores": packed, "source_margin": _finite(margin)}
            for row, packed, margin in told
        ]


def _classes(row: Array) -> list[int]:
    return [int(place) for place in np.flatnonzero(row)]


def _absent(present: int, classes: int) -> str:
    if not present:
        return "no sample has a class: neither mAP nor F1 is defined"
    left = classes - present
    return f"{left} of {classes} classes have no sample; mAP and F1 are means over the other {present}" if left else ""


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
