"""Boxes with classes: COCO's figures in image pixels, and how many of the source's boxes are met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError
from modelport.core.placement import Placement
from modelport.core.values import Array, Tensors
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Figures, Flips, Rows, Score, Scorer, Task, Unlabelled
from modelport.tasks.detection.boxes import best_detections, met
from modelport.tasks.detection.coco_map import CocoMap


class Detection(Task):
    """The task ``detection``: dets (N, 100, 5), x1 y1 x2 y2 score in network pixels, and labels (N, 100)."""

    metrics = (
        *("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"),
        *("AR_100", "AR_300", "AR_1000", "AR_s", "AR_m", "AR_l"),
    )
    label_form = "boxes"
    smallest_set = 100
    # Equal up to rounding, but for boxes whose scores or overlaps lie within rounding of each other.
    tolerated = 0.02
    difference_means = "share of the source's boxes that no box of the same class meets at IoU 0.9"
    trial_batch = 1
    finds_boxes = True
    gives_candidates = True
    # Each holds many objects.
    calibration_images = 48
    tuned_batches = (1, 2)
    sample_fitter = "modelport.stages.sample_weights.detection:fit_boxes"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the number of classes is not told."""
        if recipe.dataset.classes is None:
            raise ValueError("dataset.classes is missing: a detector's boxes have one of so many")

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._dets, self._labels = (tensor.name for tensor in recipe.tensors.outputs)
        self._categories = tuple(categories)

    def scorer(self, against_source: bool) -> BoxScorer:
        """Return a scorer. Raises DataError where the data set named no categories."""
        if not self._categories:
            raise DataError("the data set names no categories", "give a data set in the COCO layout")
        return BoxScorer((self._dets, self._labels), self._categories, against_source)

    def unlabelled_scorer(self, against_source: bool) -> Unlabelled:
        """Return a scorer that counts the source's boxes that are met."""
        return Unlabelled(BoxScorer((self._dets, self._labels), None, against_source), None)

    def outputs_of(self, raw: Sequence[Array]) -> dict[str, Array]:
        """Suppress doubles among the module's candidates: boxes (N, K, 4) and scores (N, K, C)."""
        dets, labels = best_detections(raw[0], raw[1])
        return {self._dets: dets, self._labels: labels}

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the share of the source's boxes that are not met."""
        found = total = 0
        for row in range(len(want[self._labels])):
            theirs, mine = self._row(want, row), self._row(got, row)
            hit, of = met(theirs[0], theirs[1], mine[0], mine[1])
            found, total = found + hit, total + of
        return 1.0 - found / total if total else float(np.any(got[self._labels] >= 0))

    def distance(self, got: Sequence[Tensors], want: Sequence[Tensors]) -> float:
        """Return the mean share of the source's boxes that are not met; infinite where it is NaN."""
        missed = float(np.mean([self.difference(mine, theirs) for mine, theirs in zip(got, want, strict=True)]))
        return missed if math.isfinite(missed) else math.inf

    def guide_rows(self, metrics: Mapping[str, Score]) -> list[tuple[str, str]]:
        """Return the number of classes and each figure, three decimals; one that no annotation bears on is -1."""
        figures = [(name, f"{metrics[name].value if name in metrics else -1.0:.3f}") for name in self._recipe.metrics]
        return [("Number of classes", str(self._recipe.dataset.classes)), *figures]

    def _row(self, outputs: Tensors, row: int) -> tuple[Array, Array]:
        used = outputs[self._labels][row] >= 0
        return outputs[self._dets][row][used][:, :4], outputs[self._labels][row][used]


# Probabilities, with what bfloat16 rounds them up by.
MOST_SCORE = 1.01


class BoxScorer(Scorer):
    """Maps boxes back to the image and counts them; keeps boxes and truths, a few kilobytes an image."""

    def __init__(
        self, names: tuple[str, str], categories: Sequence[tuple[int, str]] | None, against_source: bool
    ) -> None:
        """``categories`` None: there are no annotations, and only boxes that are the source's are counted."""
        self._dets, self._labels = names
        self._against_source = against_source
        self._metric = None if categories is None else CocoMap(categories)
        self._source = CocoMap(categories) if categories is not None and against_source else None
        self._sourced = 0
        self._flips = Flips()
        self._top_score = 0.0

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some images and return a line for each."""
        lines = []
        for index, (name, truth, placement) in enumerate(zip(rows.ids, rows.targets, rows.placements, strict=True)):
            mine = self._in_image(rows.outputs, index, placement)
            if self._metric is not None:
                self._metric.add(truth, *mine)
            self._top_score = max(self._top_score, float(np.max(mine[1], initial=0.0)))
            line = {"id": name, "target": truth and truth.image_id, "boxes": _listed(*mine)}
            if self._against_source and rows.source is not None:
                theirs = self._in_image(rows.source, index, placement)
                if self._source is not None:
                    self._source.add(truth, *theirs)
                self._sourced += 1
                hit, of = met(theirs[0], theirs[2], mine[0], mine[2])
                flip = {"id": name, "target": line["target"], "source": f"{of} boxes", "engine": f"{hit} of them met"}
                self._flips.add(hit, of, flip)
                line["source_met"] = [hit, of]
            lines.append(line)
        return lines

    def figures(self) -> Figures:
        """Return COCO's figures, and the source's on the same images."""
        source: dict[str, Score] | None = {} if self._against_source else None
        if self._source is not None and self._sourced:
            source = self._source.compute()
        metrics = {} if self._metric is None else self._metric.compute()
        figures = Figures(metrics, source, self._flips, chance={"mAP": 0.0} if metrics else {})
        if self._top_score > MOST_SCORE:
            figures.notes.append(
                f"scores reach {self._top_score:g}, and a detector's lie between 0 and 1: mAP, which looks at their "
                "order alone, is not touched; thresholds are"
            )
        return figures

    def _in_image(self, outputs: Tensors, index: int, placement: Placement) -> tuple[Array, Array, Array]:
        """Return boxes (n, 4) in image pixels, scores (n,) and class indices (n,) of one row."""
        used = outputs[self._labels][index] >= 0
        dets = outputs[self._dets][index][used]
        return placement.to_image(dets[:, :4]), dets[:, 4], outputs[self._labels][index][used]


def _listed(boxes: Array, scores: Array, classes: Array) -> list[list[float | None]]:
    """Return [class, score, x1, y1, x2, y2] per box; JSON has no word for what is not finite: None."""
    return [
        [int(kind), *(float(value) if np.isfinite(value) else None for value in (score, *box))]
        for box, score, kind in zip(boxes, scores, classes, strict=True)
    ]
