"""What a detection guide leaves beside its figures: pictures with boxes, text files, and COCO's result list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core.artifacts import write_json, write_text
from modelport.core.errors import UsageError
from modelport.core.progress import Progress
from modelport.core.values import DataSet
from modelport.report.pictures import draw_boxes, write_picture
from modelport.tasks.detection.coco_map import detection_text, to_results

# A picture with a hundred doubtful boxes shows nothing; the files hold more.
DRAWN_SCORE = 0.5
# Below this the guide's script drops a box; the recipe's own suppression of doubles leaves none below.
WRITTEN_SCORE = 0.05


@dataclass(frozen=True, slots=True)
class DetectionFiles:
    """Where they go; None for what nobody wants."""

    draw: Path | None = None
    detections: Path | None = None
    coco_json: Path | None = None
    score_threshold: float | None = None  # lowest score that is written and drawn; None: the two above
    draw_threshold: float | None = None  # lowest score that is drawn; None: as above

    def __post_init__(self) -> None:
        """Raise UsageError for a threshold that no score has."""
        if self.draw_threshold is not None and not (self.draw is not None and 0 <= self.draw_threshold <= 1):
            raise UsageError(f"--draw-threshold {self.draw_threshold}", "give a number from 0 to 1, beside --draw DIR")

    @property
    def drawn_from(self) -> float:
        """The lowest score that is drawn."""
        given = (self.draw_threshold, self.score_threshold, DRAWN_SCORE)
        return next(value for value in given if value is not None)

    @property
    def wanted(self) -> bool:
        """Whether any is wanted."""
        return any(place is not None for place in (self.draw, self.detections, self.coco_json))

    def written(self, predictions: Path) -> Iterator[Path]:
        """Yield the files that are written for these predictions."""
        if self.coco_json:
            yield self.coco_json
        for place, suffix in ((self.draw, "jpg"), (self.detections, "txt")):
            if place:
                yield from (place / f"{line['id']}.{suffix}" for line in _lines(predictions))


def write_detection_files(files: DetectionFiles, dataset: DataSet, predictions: Path, progress: Progress) -> list[str]:
    """Write what is wanted from the lines of predictions.jsonl, and return what is to be said of it.

    A box whose score or corners are not finite goes nowhere: a COCO result list has no word for them.

    Raises UsageError where the predictions hold no boxes, OutputError where a place cannot be written.
    """
    samples = {sample.id: sample for sample in dataset} if files.draw else {}
    results: list[dict[str, Any]] = []
    left_out = 0
    with progress.bar("writing detections", len(dataset), "images") as bar:
        for line in _lines(predictions):
            rows = np.array(line["boxes"], np.float64).reshape(-1, 6)  # None becomes NaN
            finite = np.isfinite(rows).all(axis=1)
            left_out += int(np.sum(~finite))
            rows = rows[finite]
            rows = rows[rows[:, 1] >= (WRITTEN_SCORE if files.score_threshold is None else files.score_threshold)]
            classes, scores, boxes = rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2:]
            if files.detections:
                text = detection_text(boxes, scores, classes, dataset.categories)
                write_text(files.detections / f"{line['id']}.txt", text)
            if files.coco_json:
                results += to_results(line["target"], boxes, scores, classes, dataset.categories)
            if files.draw:
                names = [name for _, name in dataset.categories]
                shown = scores >= files.drawn_from
                sample = samples[line["id"]]
                picture = draw_boxes(
                    sample.read(), boxes[shown], classes[shown], names, scores[shown], name=str(sample.path)
                )
                write_picture(files.draw / f"{line['id']}.jpg", picture)
            bar.advance()
    if files.coco_json:
        write_json(files.coco_json, results)
    return [f"{left_out} boxes whose score or corners are not finite are in no file and no picture"] if left_out else []


def _lines(predictions: Path) -> Iterator[dict[str, Any]]:
    with predictions.open(encoding="utf-8") as lines:
        for text in lines:
            line: dict[str, Any] = json.loads(text)
            if "boxes" not in line:
                raise UsageError(f"{predictions} holds no boxes", "give the predictions of a detector")
            yield line
