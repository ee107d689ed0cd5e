"""Outputs → boxes: one place where a detector's answers, in whatever form, become corners, scores and classes.

What a raw YOLO's answers become is what Ultralytics' validation makes of them (``non_max_suppression`` with
``multi_label``): a box counts once for each class whose score exceeds the threshold, doubles go class by class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modelport.core.errors import RecipeError
from modelport.core.values import Array, Tensors
from modelport.recipes.chain import form_of
from modelport.recipes.schema import Recipe
from modelport.tasks.base import own_table
from modelport.tasks.detection.boxes import suppress
from modelport.tasks.detection.forms import BOXES, CANDIDATES, DETS, END_TO_END, RAW, YOLOV5, YOLOV8, outputs_of
from modelport.tasks.detection.recipe_table import Boxes

# Ultralytics' validation, cfg/default.yaml (conf, iou, max_det); YOLOv5's val.py has an overlap of 0.6.
SCORE_THRESHOLD, MOST_BOXES = 0.001, 300
IOU_THRESHOLDS = {YOLOV5: 0.6, YOLOV8: 0.7, CANDIDATES: 0.7}
# The best so many go into the suppression (max_nms of Ultralytics' non_max_suppression).
MOST_CANDIDATES = 30_000
# Below it a box is next to nothing (conf of Ultralytics' prediction): whether another engine gives it says little.
WORTH = 0.25


class Found(NamedTuple):
    """The boxes of one image by falling score, or in the outputs' order where nothing had to be chosen."""

    boxes: Array  # (n, 4) x1 y1 x2 y2 in pixels of the network's input
    scores: Array  # (n,)
    classes: Array  # (n,) int64, as the data set counts them

    def where(self, kept: Array) -> Found:
        """Return those that a mask or indices choose."""
        return Found(self.boxes[kept], self.scores[kept], self.classes[kept])


@dataclass(frozen=True, slots=True)
class _Settings:
    score: float  # a box counts whose score exceeds it
    iou: float  # a box goes that overlaps a better one by more
    most: int | None


class Decoder:
    """Reads the boxes of one row at a time out of a batch of outputs, in the form that the recipe or they tell."""

    def __init__(self, recipe: Recipe) -> None:
        """Raises RecipeError for normalised boxes where the size of the input is free; ValueError as ``outputs_of``."""
        told = own_table(recipe, Boxes)
        dataset = recipe.dataset
        self.outputs = outputs_of(recipe.signature.outputs, dataset.classes, told)
        self.form = self.outputs.form
        self._told, self._offset = told, dataset.label_offset
        self.spelling = told.boxes or usual_spelling(self.form)
        least, most = (None, None) if self.form == DETS else (SCORE_THRESHOLD, MOST_BOXES)
        self._settings = _Settings(
            score=_first(told.score_threshold, least, -np.inf),
            iou=_first(told.iou_threshold, IOU_THRESHOLDS.get(self.form), 1.0),
            most=told.max_detections or most,
        )
        self._scale = _sides(recipe) if told.normalised else None

    @property
    def worth(self) -> float:
        """The score from which on a box of the source's is to be met; under ``dets`` all are."""
        return -np.inf if self.form == DETS else WORTH

    def notes(self) -> list[str]:
        """Return how the outputs are read, where that was chosen."""
        if self.form == DETS and self._told == Boxes():
            return []
        how, settings = self.outputs, self._settings
        by = "as the recipe says" if self._told.form else "told by their shapes"
        said = f"the outputs are read as {self.form} ({by}); boxes are {self.spelling}"
        said += ", shares of the input" if self._told.normalised else " in pixels of the input"
        said += f"; scores above {settings.score:g} count" if settings.score > -np.inf else ""
        if self.form in RAW:
            said += (
                f", each class of a box by itself (as in Ultralytics' val); doubles go at an IoU above {settings.iou:g}"
            )
        said += f"; at most {settings.most} boxes an image" if settings.most else ""
        said += f"; the agreement counts the source's from {WORTH:g} on" if self.form != DETS else ""
        order = f"'{how.boxes}', '{how.scores}'" + (f", '{how.labels}'" if how.labels else "")
        return [said, *([f"which output is which is told by their order alone: {order}"] if how.guessed else [])]

    def found(self, outputs: Tensors, row: int) -> Found:
        """Return the boxes of one row."""
        read: dict[str, Callable[[Tensors, int], Found]] = {
            DETS: self._dets,
            BOXES: self._final,
            END_TO_END: self._end_to_end,
        }
        return read.get(self.form, self._raw)(outputs, row)

    def without_low(self, outputs: Tensors, least: float) -> tuple[dict[str, Array], int]:
        """Return the outputs without the boxes whose score is below ``least``, and how many counted until then."""
        how, changed = self.outputs, dict(outputs)
        if self.form == DETS:
            low = (outputs[how.boxes][..., 4] < least) & (outputs[how.labels] >= 0)
            changed[how.labels] = np.where(low, -1, outputs[how.labels])
            return changed, int(low.sum())
        rows = range(len(outputs[how.boxes]))
        dropped = sum(int((self.found(outputs, row).scores < least).sum()) for row in rows)
        name = how.scores or how.boxes
        array = outputs[name].copy()
        scores = how.class_scores(array)
        rated = scores * array[..., 4:5] if self.form == YOLOV5 else scores
        scores[rated < least] = 0
        return changed | {name: array}, dropped

    def _dets(self, outputs: Tensors, row: int) -> Found:
        labels = outputs[self.outputs.labels][row]
        used = labels >= self._offset
        dets = outputs[self.outputs.boxes][row][used]
        return self._cut(Found(self._corners(dets[:, :4]), dets[:, 4], labels[used] - self._offset))

    def _final(self, outputs: Tensors, row: int) -> Found:
        boxes, scores, labels = (
            outputs[name][row] for name in (self.outputs.boxes, self.outputs.scores, self.outputs.labels)
        )
        if self.outputs.count:
            count = float(np.asarray(outputs[self.outputs.count][row]).reshape(-1)[0])
            meant = int(np.clip(np.nan_to_num(count), 0, len(boxes)))
            boxes, scores, labels = boxes[:meant], scores[:meant], labels[:meant]
        return self._numbered(boxes, scores, labels)

    def _end_to_end(self, outputs: Tensors, row: int) -> Found:
        dets = outputs[self.outputs.boxes][row]
        return self._numbered(dets[:, :4], dets[:, 4], dets[:, 5])

    def _numbered(self, boxes: Array, scores: Array, labels: Array) -> Found:
        """Return boxes with whole classes; floating labels are rounded to them, and what is not finite is no box."""
        rounded = np.rint(labels)
        used = (rounded >= self._offset) & np.isfinite(rounded) & np.isfinite(boxes).all(axis=1)
        classes = rounded[used].astype(np.int64) - self._offset
        return self._cut(Found(self._corners(boxes[used]), scores[used], classes))

    def _cut(self, found: Found) -> Found:
        """Return the boxes whose score exceeds the threshold, and of these the best."""
        if self._settings.score > -np.inf:
            found = found.where(found.scores > self._settings.score)
        if self._settings.most is None or len(found.scores) <= self._settings.most:
            return found
        return found.where(np.argsort(-found.scores, kind="stable")[: self._settings.most])

    def _raw(self, outputs: Tensors, row: int) -> Found:
        """Return what stays of the candidates: (K, 4) boxes, and scores (K, C) of which each pair is one."""
        boxes, scores, above = self._candidates(outputs, row)
        # One that is not finite would overlap every other.
        sound = np.isfinite(boxes[above[0]]).all(axis=1)
        anchors, classes = above[0][sound], above[1][sound]
        rated = scores[anchors, classes]
        if len(rated) > MOST_CANDIDATES:
            best = _best(rated, MOST_CANDIDATES)
            anchors, classes, rated = anchors[best], classes[best], rated[best]
        corners = self._corners(boxes[anchors].astype(np.float64))
        most = len(rated) if self._settings.most is None else self._settings.most
        kept = suppress(corners, rated, classes, self._settings.iou, most)
        return Found(corners, rated, classes).where(kept)

    def _candidates(self, outputs: Tensors, row: int) -> tuple[Array, Array, tuple[Array, Array]]:
        """Return boxes (K, 4), scores (K, C), and (anchors, classes) of those above the threshold, box by box."""
        array, least = outputs[self.outputs.boxes][row], self._settings.score
        if self.form == YOLOV8:
            # The classes come first here: a look along the memory, then back into the order of the boxes.
            scores = array[4 + self._offset :]
            classes, anchors = np.nonzero(scores > least)
            order = np.argsort(anchors, kind="stable")
            return array[:4].T, scores.T, (anchors[order], classes[order])
        if self.form == YOLOV5:
            # Not worth the product where the objectness alone is too low, as in Ultralytics' own.
            sure = array[:, 4] > least
            array = array[sure]
            boxes, scores = array[:, :4], array[:, 5 + self._offset :] * array[:, 4:5]
        else:
            boxes, scores = array, outputs[self.outputs.scores][row][:, self._offset :]
        anchors, classes = np.nonzero(scores > least)
        return boxes, scores, (anchors, classes)

    def _corners(self, boxes: Array) -> Array:
        """Return boxes (n, 4) as x1 y1 x2 y2 in pixels of the input."""
        boxes = corners_of(self.spelling, boxes)
        return boxes if self._scale is None else boxes.astype(np.float64) * self._scale


def corners_of(spelling: str, boxes: Array) -> Array:
    """Return boxes (…, 4), whose numbers are what ``spelling`` says, as x1 y1 x2 y2."""
    if spelling == "xyxy":
        return boxes
    if spelling == "yxyx":
        return boxes[..., [1, 0, 3, 2]]
    start, size = boxes[..., :2], boxes[..., 2:]
    start = start - size / 2 if spelling == "cxcywh" else start
    return np.concatenate([start, start + size], axis=-1)


def usual_spelling(form: str) -> str:
    """Return what the four numbers of a box are where a recipe does not tell it."""
    return "cxcywh" if form in (YOLOV5, YOLOV8) else "xyxy"


def _best(scores: Array, most: int) -> Array:
    """Return the indices of the best so many, in their order; of equal ones the first."""
    last = np.partition(scores, -most)[-most]
    better = np.flatnonzero(scores > last)
    return np.sort(np.concatenate([better, np.flatnonzero(scores == last)[: most - len(better)]]))


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _sides(recipe: Recipe) -> Array:
    """Return width, height, width, height of the input."""
    shape = recipe.tensors.sample.shape
    height, width = shape[1:3] if form_of(recipe.preprocess).layout == "NHWC" else shape[2:4]
    if isinstance(height, str) or isinstance(width, str):
        raise RecipeError(
            f"{recipe.name}: boxes are shares of an input whose size is free",
            "tell its height and width in tensors.inputs, or by --shape",
        )
    return np.array([width, height] * 2, np.float64)
