"""Boxes of an engine against annotations and against the source's: COCO's figures, and how many are met."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from modelport.core.placement import Placement, known
from modelport.tasks.detection.both import BothMaps, InImage
from modelport.tasks.detection.boxes import met
from modelport.tasks.detection.coco_map import CocoMap
from modelport.tasks.detection.decode import Decoder, Found
from modelport.tasks.detection.lines import listed
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer

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

    def __init__(
        self,
        decoder: Decoder,
        categories: Sequence[tuple[int, str]] | None,
        against_source: bool,
        judged: Sequence[str] = (),
    ) -> None:
        """``categories`` None: there are no annotations, and only boxes that are the source's are counted.

        ``judged`` are figures that are wanted over resamples, beside mAP, mAP_50 and mAP_75.
        """
        self._decoder = decoder
        self._against_source = against_source
        self._maps = None
        if categories is not None:
            self._maps = BothMaps(partial(CocoMap, categories), against_source, judged)
        self._flips = Flips()
        self._top_score = self._farthest = 0.0

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some images and return a line for each."""
        return [self._line(rows, index) for index in range(len(rows.ids))]

    def _line(self, rows: Rows, index: int) -> dict[str, Any]:
        name, truth, placement = rows.ids[index], rows.targets[index], rows.placements[index]
        raw = self._decoder.found(rows.outputs, index)
        mine, theirs = _in_image(raw, placement), None
        self._top_score = max(self._top_score, float(np.max(mine.scores, initial=0.0)))
        self._farthest = max(self._farthest, float(np.max(np.nan_to_num(raw.boxes), initial=0.0)))
        line = {"id": name, "target": truth and truth.image_id, "boxes": listed(*mine)}
        if self._against_source and rows.source is not None:
            theirs = _in_image(self._decoder.found(rows.source, index), placement)
            hit, of = agreement(theirs, mine, self._decoder.worth)
            flip = {"id": name, "target": line["target"], "source": f"{of} boxes", "engine": f"{hit} of them met"}
            self._flips.add(hit, of, flip)
            line |= {"source_boxes": listed(*theirs), "source_met": [hit, of]}
        if self._maps is not None:
            line |= self._maps.add(truth, InImage(*mine), None if theirs is None else InImage(*theirs))
        return line

    def figures(self) -> Figures:
        """Return COCO's figures, and the source's on the same images."""
        source: dict[str, Score] | None = {} if self._against_source else None
        figures = Figures({}, source, self._flips) if self._maps is None else self._maps.figures(self._flips)
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
