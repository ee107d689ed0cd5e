"""Things with more than corners against annotations and against the source's: COCO's figures, and how many are met."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from modelport.core.placement import Placement, known
from modelport.core.values import Array, Tensors, Truth
from modelport.tasks.detection.both import BothMaps, InImage
from modelport.tasks.detection.boxes import pairs_met
from modelport.tasks.detection.coco_map import CocoMap
from modelport.tasks.detection.lines import listed
from modelport.tasks.instances.outputs import Parts, Things
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer

# A thing of the source's is met by one of its class that overlaps it so far: by pixels, or by keypoints' similarity.
ALIKE = 0.9
# Things of a lower score are passed over where there are better ones: whether another engine gives them says little.
WORTH = 0.25


class Seen(NamedTuple):
    """The things of one image, and what COCO's tools are told of each beside its box."""

    things: Things
    shapes: Sequence[Mapping[str, Any]]

    def where(self, kept: Array) -> Seen:
        """Return those that indices choose."""
        return Seen(self.things.where(kept), [self.shapes[place] for place in kept.tolist()])

    def in_image(self) -> InImage:
        """Return what COCO's figures look at."""
        return InImage(*self.things[:3], self.shapes)


class Judge:
    """What masks and keypoints do not have in common."""

    name: str
    """Of the figures, before COCO's."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def metric(self, categories: Sequence[tuple[int, str]]) -> CocoMap:
        """Return an empty metric."""
        raise NotImplementedError

    def shapes(self, things: Things, placement: Placement) -> Sequence[Mapping[str, Any]]:
        """Return the library's keys of each thing."""
        raise NotImplementedError

    def true_shapes(self, truth: Truth, placement: Placement) -> Sequence[Mapping[str, Any]]:
        """Return the library's keys of each annotation. Raises DataError."""
        raise NotImplementedError

    def alike(self, theirs: Seen, mine: Seen) -> Array:
        """Return how far things of the source's and the engine's are the same, (n, m), 0 to 1."""
        raise NotImplementedError

    def notes(self) -> list[str]:
        """Return how the outputs are read, where that was chosen."""
        return []

    def seen(self, outputs: Tensors, row: int, placement: Placement) -> Seen:
        """Return the things of one row in the image."""
        things = self.parts.found(outputs, row, placement)
        return Seen(things, self.shapes(things, placement))

    def met(self, theirs: Seen, mine: Seen) -> tuple[int, int]:
        """Return how many of the source's things are met, and how many there are: those of a score from WORTH on.

        Where the source has none of these, all are counted.
        """
        sure = np.flatnonzero(theirs.things.scores >= WORTH)
        counted = theirs.where(sure) if sure.size else theirs
        overlap = self.alike(counted, mine)
        overlap[counted.things.classes[:, None] != mine.things.classes[None]] = 0
        return pairs_met(overlap, ALIKE), len(counted.shapes)


class ThingScorer(Scorer):
    """Counts the things of each image; keeps annotations and what was found, masks encoded."""

    def __init__(
        self,
        judge: Judge,
        categories: Sequence[tuple[int, str]] | None,
        against_source: bool,
        judged: Sequence[str] = (),
    ) -> None:
        """``categories`` None: there are no annotations, and only things that are the source's are counted.

        ``judged`` are figures that are wanted over resamples, beside mAP, mAP_50 and mAP_75.
        """
        self._judge = judge
        self._against_source = against_source
        self._maps = None
        if categories is not None:
            self._maps = BothMaps(partial(judge.metric, categories), against_source, judged, judge.name)
        self._flips = Flips()

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Score some images and return a line for each. Raises DataError for annotations that do not fit."""
        return [self._line(rows, index) for index in range(len(rows.ids))]

    def _line(self, rows: Rows, index: int) -> dict[str, Any]:
        truth, placement = rows.targets[index], known(rows.placements[index])
        mine, theirs = self._judge.seen(rows.outputs, index, placement), None
        line: dict[str, Any] = {"id": str(rows.ids[index]), "target": truth and truth.image_id}
        line["boxes"] = listed(*mine.things[:3])
        if self._against_source and rows.source is not None:
            theirs = self._judge.seen(rows.source, index, placement)
            hit, of = self._judge.met(theirs, mine)
            told = {"source": f"{of} things", "engine": f"{hit} of them met"}
            self._flips.add(hit, of, {"id": line["id"], "target": line["target"], **told})
            line |= {"source_boxes": listed(*theirs.things[:3]), "source_met": [hit, of]}
        if self._maps is not None:
            true = self._judge.true_shapes(truth, placement)
            line |= self._maps.add(truth, mine.in_image(), None if theirs is None else theirs.in_image(), true)
        return line

    def figures(self) -> Figures:
        """Return COCO's figures, and the source's on the same images."""
        source: dict[str, Score] | None = {} if self._against_source else None
        figures = Figures({}, source, self._flips) if self._maps is None else self._maps.figures(self._flips)
        figures.notes += self._judge.notes()
        return figures


def difference(judge: Judge, got: Tensors, want: Tensors, placement: Placement) -> float:
    """Return the share of the source's things that are not met, where every input is an image as it is."""
    found = total = spare = 0
    for row in range(len(want[judge.parts.boxes])):
        theirs, mine = judge.seen(want, row, placement), judge.seen(got, row, placement)
        hit, of = judge.met(theirs, mine)
        found, total, spare = found + hit, total + of, spare + len(mine.shapes)
    return 1.0 - found / total if total else float(spare > 0)


def mean_difference(shares: Sequence[float]) -> float:
    """Return the mean of such shares; infinite where it is NaN."""
    missed = float(np.mean(shares))
    return missed if math.isfinite(missed) else math.inf
