"""COCO's figures of engine and source on the same images, and over resamples of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from modelport.core.values import Array, Truth
from modelport.tasks.detection.coco_map import CocoMap
from modelport.tasks.detection.lines import overlap_rows
from modelport.tasks.detection.matching import Answered, Matched, match, own_precision
from modelport.tasks.detection.precision import Pairwise, areas_of, over_resamples
from modelport.tasks.scoring import Figures, Flips, Score


class InImage(NamedTuple):
    """What one side found in an image, as ``CocoMap.add`` takes it."""

    boxes: Array
    scores: Array
    classes: Array
    shapes: Sequence[Mapping[str, Any]] = ()


class BothMaps:
    """Takes the images one by one; keeps what was found, and which of it meets what, a few kilobytes an image."""

    def __init__(
        self, empty: Callable[[], CocoMap], against_source: bool, judged: Sequence[str] = (), prefix: str = ""
    ) -> None:
        """``empty`` gives a metric; the names of its figures begin with ``prefix``.

        ``judged`` are figures that are wanted over resamples, beside mAP, mAP_50 and mAP_75.
        """
        self._engine, self._source = empty(), empty() if against_source else None
        self._names = over_resamples(judged, prefix)
        self._areas, self._prefix = areas_of(self._names), prefix
        self._pairs: list[tuple[Matched, Matched]] = []

    def add(
        self, truth: Truth, engine: InImage, source: InImage | None, true_shapes: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any]:
        """Take an image. Returns what its line tells of both sides: ``ap``, the image's own average precision.

        Of masks and keypoints also ``areas`` and ``overlaps``, from which figures can be computed anew. Raises
        DataError as ``CocoMap.add`` does.
        """
        mine, line = self._matched("", self._engine, truth, engine, true_shapes)
        if self._source is not None and source is not None:
            theirs, more = self._matched("source_", self._source, truth, source, true_shapes)
            self._pairs.append((mine, theirs))
            line |= more
        return line

    def figures(self, flips: Flips) -> Figures:
        """Return COCO's figures, and the source's on the images that it answered."""
        source: dict[str, Score] | None = None if self._source is None else {}
        if self._source is not None and self._pairs:
            source = self._source.compute()
        metrics, name = self._engine.compute(), f"{self._prefix}mAP"
        figures = Figures(metrics, source, flips, chance={name: 0.0} if metrics else {})
        figures.per_class = self._engine.class_rows(name, self._source if self._pairs else None)
        if self._pairs:
            figures.resampled = Pairwise(self._pairs, self._names, self._areas, self._prefix)
        return figures

    def _matched(
        self, side: str, metric: CocoMap, truth: Truth, found: InImage, true_shapes: Sequence[Mapping[str, Any]]
    ) -> tuple[Matched, dict[str, Any]]:
        answered = metric.add(truth, *found, true_shapes)
        matched = match(answered, metric.most, self._areas)
        return matched, {f"{side}ap": own_precision(matched)} | self._told(side, answered)

    def _told(self, side: str, answered: Answered) -> dict[str, Any]:
        if self._engine.iou_type == "bbox":
            return {}
        return {f"{side}areas": answered.areas.tolist(), f"{side}overlaps": overlap_rows(answered.pairs)}
