"""Boxes of an engine against annotations and against the source's: COCO's figures, and how many are met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.placement import Placement, known
from modelport.core.values import Array
from modelport.tasks.base import Figures, Flips, Rows, Score, Scorer
from modelport.tasks.detection.boxes import met
from modelport.tasks.detection.coco_map import CocoMap
from modelport.tasks.detection.decode import Decoder, Found

# Probabilities, with what bfloat16 rounds them up by.
MOST_SCORE = 1.01
# Corners that all lie within so many pixels are shares of the image.
SHARES = 2.0


def agreement(theirs: Found, mine: Found, worth: float) -> tuple[int, int]:
    """Return how many of the source's boxes are met, and how many there are.

    They are those of a score from ``worth`` on; where the source has none of these, all.
    """
    sure = theirs.scores >= worth
    counted = theirs.where(sure) if sure.any() else theirs
    return met(counted.boxes, counted.classes, mine.boxes, mine.classes)


class BoxScorer(Scorer):
    """Maps boxes back to the image and counts them; keeps boxes and truths, a few kilobytes an image."""

    def __init__(self, decoder: Decoder, categories: Sequence[tuple[int, str]] | None, against_source: bool) -> None:
        """``categories`` None: there are no annotations, and only boxes that are the source's are counted."""
        self._decoder = decoder
        self._against_source = against_source
        self._metric = None if categories is None else CocoMap(categories)
        self._source = CocoMap(categories) if categories is not None and against_source else None
        self._sourced = 0
        self._flips = Flips()
        self._top_score = self._farthest = 0.0

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some images and return a line for each."""
        lines = []
        for index, (name, truth, placement) in enumerate(zip(rows.ids, rows.targets, rows.placements, strict=True)):
            raw = self._decoder.found(rows.outputs, index)
            mine = _in_image(raw, placement)
            if self._metric is not None:
                self._metric.add(truth, *mine)
            self._top_score = max(self._top_score, float(np.max(mine.scores, initial=0.0)))
            self._farthest = max(self._farthest, float(np.max(np.nan_to_num(raw.boxes), initial=0.0)))
            line = {"id": name, "target": truth and truth.image_id, "boxes": listed(*mine)}
            if self._against_source and rows.source is not None:
                theirs = _in_image(self._decoder.found(rows.source, index), placement)
                if self._source is not None:
                    self._source.add(truth, *theirs)
                self._sourced += 1
                hit, of = agreement(theirs, mine, self._decoder.worth)
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
        if self._metric is not None:
            figures.per_class = self._metric.class_rows("mAP", self._source if self._sourced else None)
        figures.notes += self._decoder.notes()
        if self._top_score > MOST_SCORE:
            figures.notes.append(
                f"scores reach {self._top_score:g}, and a detector's lie between 0 and 1: mAP, which looks at their "
                "order alone, is not touched; thresholds are"
            )
        if 0 < self._farthest <= SHARES:
            figures.notes.append(
                f"no corner is farther than {self._farthest:.3g} pixels: boxes in shares of the input need "
                "detection.normalised = true in the recipe"
            )
        return figures


def _in_image(found: Found, placement: Placement | None) -> Found:
    """Return the boxes of one row in image pixels. Raises RecipeError where nothing tells where the image lies."""
    return Found(known(placement).to_image(found.boxes), found.scores, found.classes)


def listed(boxes: Array, scores: Array, classes: Array) -> list[list[float | None]]:
    """Return [class, score, x1, y1, x2, y2] per box; JSON has no word for what is not finite: None."""
    return [
        [int(kind), *(float(value) if np.isfinite(value) else None for value in (score, *box))]
        for box, score, kind in zip(boxes, scores, classes, strict=True)
    ]
