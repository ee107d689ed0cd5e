"""Boxes with classes: COCO's figures in image pixels, and how many of the source's boxes are met."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError, UsageError
from modelport.core.text import plain
from modelport.core.values import Array, Tensors, TensorSpec
from modelport.recipes.draft import Line
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tolerance
from modelport.tasks.base import Draft, Task, judged_metrics, own_table
from modelport.tasks.detection.boxes import best_detections
from modelport.tasks.detection.coco_map import MAX_DETECTIONS
from modelport.tasks.detection.decode import Decoder
from modelport.tasks.detection.forms import (
    CANDIDATES,
    DETS,
    END_TO_END,
    MEANS,
    RAW,
    YOLOV5,
    YOLOV8,
    likely_form,
    outputs_of,
)
from modelport.tasks.detection.lines import judged, recount
from modelport.tasks.detection.recipe_table import Boxes
from modelport.tasks.detection.scorer import BoxScorer, agreement
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.scoring import Score, Unlabelled

# What TensorFlow's detectors call their boxes.
TENSORFLOW = "detection_boxes"


class Detection(Task):
    """The task ``detection``: boxes with scores and classes, in one of the forms of ``forms.MEANS``."""

    metrics = (
        *("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"),
        *("AR_100", "AR_300", "AR_1000", "AR_s", "AR_m", "AR_l"),
    )
    label_form = "boxes"
    recipe_table = Boxes
    # As the guides have it; a point of a figure between 0 and 1 would be all of it.
    tolerance = Tolerance(value=1.0, unit="percent_of_reference")
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
        """Raise ValueError where the number of classes is not told, or the outputs are no detector's."""
        if recipe.dataset.classes is None:
            raise ValueError("dataset.classes is missing: a detector's boxes have one of so many")
        if recipe.dataset.label_offset >= recipe.dataset.classes:
            found = f"dataset.label_offset is {recipe.dataset.label_offset}"
            raise ValueError(f"{found}, so that no label fits {recipe.dataset.classes} classes; give a smaller one")
        told = own_table(recipe, Boxes)
        form = outputs_of(recipe.signature.outputs, recipe.dataset.classes, told).form
        if told.iou_threshold is not None and form not in RAW:
            raise ValueError(f"detection.iou_threshold: of the form {form} nothing is suppressed here")
        if form == END_TO_END and told.boxes is not None:
            raise ValueError("detection.boxes: the form end_to_end has corners")

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take outputs of one of the forms; beside a raw one there may be others, such as the heads that it is made of.

        Beside prototypes of masks (N, M, H, W) the wide output holds more than scores.
        """
        if alone and any(len(spec.shape) == 4 for spec in outputs):
            return None
        metrics = [name for name in cls.metrics if name.startswith("mAP")]
        # A number of boxes is left out: rows beyond it have no score.
        several = [spec for spec in outputs if len(spec.shape) > 1]
        sets = [several] if len(several) > 1 else []
        for chosen in [*sets, *([spec] for spec in outputs)]:
            shapes = [spec.shape for spec in chosen]
            form = likely_form(shapes, sure=alone)
            if form is not None and chosen[0].dtype.startswith("float"):
                why = f"the outputs are {form}: {MEANS[form]}"
                return Draft(chosen, metrics, why, _classes(form, shapes))
        return None

    @classmethod
    def draft_lines(cls, outputs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> Sequence[Line]:
        """Return how TensorFlow's detectors give boxes, where the outputs have their names.

        Raises UsageError where Ultralytics' exporter says that the file is no detector: its scores are followed by
        keypoints, masks or angles, which the width alone does not tell.
        """
        if (told := metadata.get("task", "detect")) != "detect":
            raise UsageError(
                f"the file says of itself that its task is '{plain(told, 40)}', not to detect",
                "name what the outputs are by --task, or write the recipe by hand (docs/recipes.md)",
            )
        if TENSORFLOW not in {spec.name.partition(":")[0] for spec in outputs}:
            return ()
        why = f"as TensorFlow's {TENSORFLOW} are"
        return Line("detection.boxes", "yxyx", why), Line("detection.normalised", True, why)

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._decoder = Decoder(recipe)
        self.gives_candidates = self._decoder.form == DETS

    def scorer(self, against_source: bool) -> BoxScorer:
        """Return a scorer. Raises DataError where the data set named no categories."""
        if not self._categories:
            raise DataError("the data set names no categories", "give a data set of boxes: coco, yolo or voc")
        return BoxScorer(self._decoder, self._categories, against_source, self._deciding())

    def unlabelled_scorer(self, against_source: bool) -> Unlabelled:
        """Return a scorer that counts the source's boxes that are met."""
        return Unlabelled(BoxScorer(self._decoder, None, against_source), None)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return what is annotated, whether the source's boxes are met, and the image's own average precision."""
        return judged(line, target, self._categories)

    def met(self, line: Mapping[str, Any], sample: Mapping[str, Any]) -> Sequence[tuple[float, int]]:
        """Return how many of the source's things are met."""
        return [tuple(line["source_met"])] if "source_met" in line else []

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Compute COCO's figures from the boxes and annotations of each image, without faster-coco-eval."""
        return recount(lines, self.metrics, self._deciding(), MAX_DETECTIONS[-1])

    def _deciding(self) -> list[str]:
        return [name for name in judged_metrics(self._recipe) if name in self.metrics]

    def outputs_of(self, raw: Sequence[Array]) -> dict[str, Array]:
        """Suppress doubles among a module's candidates, boxes (N, K, 4) and scores (N, K, C), where dets are wanted."""
        if self._decoder.form != DETS:
            return super().outputs_of(raw)
        dets, labels = best_detections(raw[0], raw[1])
        return {self._decoder.outputs.boxes: dets, self._decoder.outputs.labels: labels}

    def without_low(self, outputs: Tensors, least: float) -> tuple[dict[str, Array], int]:
        """Return the outputs without boxes whose score is below ``least``, and how many those were."""
        return self._decoder.without_low(outputs, least)

    def difference(self, got: Tensors, want: Tensors) -> float:
        """Return the share of the source's boxes that are not met."""
        found = total = spare = 0
        for row in range(len(want[self._decoder.outputs.boxes])):
            theirs, mine = self._decoder.found(want, row), self._decoder.found(got, row)
            hit, of = agreement(theirs, mine, self._decoder.worth)
            found, total, spare = found + hit, total + of, spare + len(mine.scores)
        return 1.0 - found / total if total else float(spare > 0)

    def distance(self, got: Sequence[Tensors], want: Sequence[Tensors]) -> float:
        """Return the mean share of the source's boxes that are not met; infinite where it is NaN."""
        missed = float(np.mean([self.difference(mine, theirs) for mine, theirs in zip(got, want, strict=True)]))
        return missed if math.isfinite(missed) else math.inf

    def guide_rows(self, metrics: Mapping[str, Score]) -> list[tuple[str, str]]:
        """Return the number of classes and each figure, three decimals; one that no annotation bears on is -1."""
        figures = [(name, f"{metrics[name].value if name in metrics else -1.0:.3f}") for name in self._recipe.metrics]
        return [("Number of classes", str(self._recipe.dataset.classes)), *figures]


def _classes(form: str, shapes: Sequence[tuple[int | str, ...]]) -> int | None:
    """Return how many classes the widths of outputs tell."""
    first, last = (shapes[0][1], shapes[0][-1])
    if form == CANDIDATES:
        wide = [shape[2] for shape in shapes if shape[2] != 4]
        return wide[0] if len(wide) == 1 and isinstance(wide[0], int) else None
    if form == YOLOV8 and isinstance(first, int):
        return first - 4
    return last - 5 if form == YOLOV5 and isinstance(last, int) else None
