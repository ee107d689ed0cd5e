"""What lines of predictions.jsonl and samples.jsonl tell of images with boxes, and figures computed anew from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.values import Array, Truth
from modelport.tasks.detection.matching import (
    LEVELS,
    Annotated,
    Answered,
    Matched,
    Pairs,
    box_areas,
    box_overlaps,
    finite,
    match,
    meeting,
    sizes,
)
from modelport.tasks.detection.precision import Curves, Pairwise, areas_of, over_resamples
from modelport.tasks.judged import SURROGATE, Judged, Recounted

Line = Mapping[str, Any]


def listed(boxes: Array, scores: Array, classes: Array) -> list[list[float | None]]:
    """Return [class, score, x1, y1, x2, y2] per box; JSON has no word for what is not finite: None."""
    table = np.column_stack([np.asarray(scores, np.float64), np.asarray(boxes, np.float64).reshape(-1, 4)])
    rows: list[list[float | None]] = table.tolist()
    for row, column in np.argwhere(~np.isfinite(table)).tolist():
        rows[row][column] = None
    return [[kind, *row] for kind, row in zip(np.asarray(classes).astype(np.int64).tolist(), rows, strict=True)]


def target_of(truth: Truth, categories: Sequence[tuple[int, str]], keypoints: bool = False) -> dict[str, Any]:
    """Return what is annotated in an image as JSON; ``boxes`` are x y width height, ``classes`` as boxes have them.

    Of ``keypoints`` it is how many of each annotation are labelled; outlines and places are left out.
    """
    index = {number: place for place, (number, _) in enumerate(categories)}
    numbers = truth.category_ids.tolist()
    told = {
        "image_id": truth.image_id,
        "boxes": truth.boxes.tolist(),
        "category_ids": numbers,
        "classes": [index.get(number, -1) for number in numbers],
        "iscrowd": truth.iscrowd.astype(int).tolist(),
        "areas": truth.areas.tolist(),
    }
    if not keypoints:
        return told
    labelled = np.zeros((len(numbers), 1)) if truth.keypoints is None else truth.keypoints[:, :, 2] > 0
    return told | {"num_keypoints": labelled.sum(axis=1).astype(int).tolist()}


def judged(line: Line, target: Any, categories: Sequence[tuple[int, str]], keypoints: bool = False) -> Judged:
    """Return how an image was answered; ``target`` is a Truth, or what ``target_of`` made of it.

    The engine agrees where it meets each box of the source's that counts for the agreement: other images are flips. The
    surrogate is the image's own average precision (``own_precision``); where nothing is to be found there is none. It
    may stop a run, and no figure is its mean.
    """
    agrees = None
    if "source_met" in line:
        met, of = line["source_met"]
        agrees = met == of
    if line["target"] is None:
        return Judged(None, agrees)
    values = {} if line["ap"] is None else {SURROGATE: (line["ap"], line.get("source_ap"))}
    told = target_of(target, categories, keypoints) if isinstance(target, Truth) else target
    return Judged(told, agrees, None, values)


def overlap_rows(pairs: Pairs) -> list[list[float]]:
    """Return [box, annotation, overlap] per pair, places counted from 0."""
    return [list(row) for row in zip(*(column.tolist() for column in pairs), strict=True)]


def recount(
    lines: Iterable[tuple[Line, Line]], metrics: Sequence[str], judged: Sequence[str], most: int, prefix: str = ""
) -> Recounted:
    """Return COCO's ``metrics``, fractions, of which the best ``most`` things of an image and class count.

    Boxes are matched and counted by this package's own code, where the scorer asks faster-coco-eval. Where a line has
    ``overlaps``, of masks or keypoints, they are taken as they are told. Figures that no annotation bears on are left
    out, as the scorer leaves them out; over resamples there are those that the scorer gives for ``judged`` ones. Raises
    KeyError, TypeError or ValueError for lines of another form.
    """
    names, wanted = [name.removeprefix(prefix) for name in metrics], over_resamples(judged, prefix)
    areas = areas_of([*wanted, *names])
    engine: list[Matched] = []
    source: list[Matched] = []
    pairs = []
    for line, sample in lines:
        if (target := sample["target"]) is None:
            continue
        truth, boxes = _annotated(target)
        engine.append(match(_answered(line, "", target["image_id"], truth, boxes), most, areas))
        if "source_boxes" in line:
            source.append(match(_answered(line, "source_", target["image_id"], truth, boxes), most, areas))
            pairs.append((engine[-1], source[-1]))
    mine, theirs = (_figures(side, areas, names, prefix) for side in (engine, source))
    return Recounted(mine, theirs, Pairwise(pairs, wanted, areas_of(wanted), prefix) if pairs else None)


def _figures(images: Sequence[Matched], areas: Sequence[str], names: Sequence[str], prefix: str) -> dict[str, float]:
    figures = Curves(images, areas).figures(names, np.ones(len(images), np.int64))
    return {prefix + name: value for name, value in figures.items() if not np.isnan(value)}


def _annotated(target: Line) -> tuple[Annotated, NDArray[np.float64]]:
    """Return what a target tells, and its boxes (n, 4) x y width height."""
    boxes, areas = _numbers(target["boxes"], (4,)), _numbers(target["areas"])
    kinds, crowd = (_whole(_numbers(target[key])) for key in ("classes", "iscrowd"))
    points = _whole(_numbers(target["num_keypoints"])) if "num_keypoints" in target else np.ones(len(boxes), np.int64)
    if not len(boxes) == len(kinds) == len(crowd) == len(areas) == len(points):
        raise ValueError(f"image {target['image_id']}: the lists of its annotations are not equally long")
    if not (np.isfinite(boxes).all() and np.isfinite(areas).all()):
        raise ValueError(f"image {target['image_id']}: an annotation has a number that is not finite")
    ignored = (crowd != 0) | (points == 0) | (kinds < 0)
    return Annotated(kinds, crowd != 0, ignored, areas), boxes


def _answered(line: Line, side: str, image: int, truth: Annotated, annotated: NDArray[np.float64]) -> Answered:
    """Return what one side found in an image."""
    table = _numbers(line[f"{side}boxes"], (6,))
    classes = _whole(table[:, 0])
    corners, scores = finite(table[:, 2:], table[:, 1])
    placed = sizes(corners)
    if f"{side}overlaps" not in line:
        pairs = meeting(box_overlaps(placed, annotated, truth.crowd), classes, truth.classes)
        return Answered(image, scores, classes, box_areas(placed), truth, pairs)
    told, areas = _numbers(line[f"{side}overlaps"], (3,)), _numbers(line[f"{side}areas"])
    pairs = Pairs(_whole(told[:, 0]), _whole(told[:, 1]), told[:, 2])
    for places, count in ((pairs.boxes, len(classes)), (pairs.truths, len(truth.classes))):
        if len(areas) != len(classes) or ((places < 0) | (places >= count)).any():
            raise ValueError(f"image {image}: its overlaps or areas are not those of its things")
    if not (pairs.overlaps >= LEVELS[0]).all() or (classes[pairs.boxes] != truth.classes[pairs.truths]).any():
        raise ValueError(f"image {image}: its overlaps are below {LEVELS[0]}, or of things of another class")
    return Answered(image, scores, classes, areas, truth, pairs)


def _numbers(rows: Any, row: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """Return a JSON list of numbers, or of lists of as many as ``row`` says, as an array; None is NaN."""
    try:
        found = np.array(rows, np.float64)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    if rows == []:
        return found.reshape(0, *row)
    if found.ndim != 1 + len(row) or found.shape[1:] != row:
        raise ValueError(f"a list is {found.shape}, not (n, {', '.join(map(str, row))})")
    return found


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return whole numbers. Raises ValueError for others."""
    if not (np.abs(values) < 2**31).all() or (values != np.rint(values)).any():
        raise ValueError("a class or a place is no whole number")
    return values.astype(np.int64)
