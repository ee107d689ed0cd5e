"""COCO's twelve figures for boxes, and the forms in which boxes are handed on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError, ModelportError, raised_as
from modelport.core.values import Array, Truth
from modelport.tasks.detection.matching import Annotated, Answered, box_areas, box_overlaps, finite, meeting, sizes
from modelport.tasks.scoring import Score

MAX_DETECTIONS = (100, 300, 1000)
# Categories are judged one by one; of all at once the library would hold a gigabyte for 5,000 images.
_AT_ONCE = 10
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SeenImage:
    """One scored image; what is not finite was replaced."""

    truth: Truth
    boxes: NDArray[np.float64]  # (n, 4) x1 y1 x2 y2
    scores: NDArray[np.float64]
    classes: NDArray[np.int64]
    shapes: Sequence[Row] = ()  # what the library is to know of each box beside its corners
    true_shapes: Sequence[Row] = ()  # the same of each annotation


class CocoMap:
    """``mAP``, ``mAP_50``, … ``AR_l`` over the images that were added, equal to pycocotools'.

    ``categories`` are (category id, name) by class index. ``max_dets`` are the detections per image and class that
    count: the recalls ``AR_<n>`` are at each of them, everything else at the largest. Keeps boxes and truths.
    """

    iou_type = "bbox"
    """What the library holds against each other."""
    areas: tuple[str, ...] = ("s", "m", "l")
    """Small, medium, large: the library's areas after the first, which is all of them."""
    options: Row = MappingProxyType({})
    """What the library is told beside."""

    def __init__(self, categories: Sequence[tuple[int, str]], max_dets: tuple[int, ...] = MAX_DETECTIONS) -> None:
        self._categories = tuple(categories)
        self._max_dets = tuple(sorted(max_dets))
        self._index = {number: index for index, (number, _) in enumerate(categories)}
        self._seen: dict[int, SeenImage] = {}
        self._by_class: list[tuple[int, float]] = []

    def add(
        self,
        truth: Truth,
        boxes: Array,
        scores: Array,
        classes: Array,
        shapes: Sequence[Row] = (),
        true_shapes: Sequence[Row] = (),
    ) -> Answered:
        """Count one image: boxes (n, 4) x1 y1 x2 y2 in its pixels, scores (n,), class indices (n,); n may be 0.

        ``shapes`` (n) and ``true_shapes`` are keys of the library's rows, of boxes and of annotations. Returns what of
        this image is found and annotated, and how far they overlap. Raises DataError for an image that was added
        already, or a class that is none of the categories.
        """
        if truth.image_id in self._seen:
            raise DataError(f"image {truth.image_id} was scored twice", "give each image once")
        found = np.asarray(classes, np.int64).reshape(-1)
        if found.size and not (found.min() >= 0 and found.max() < len(self._categories)):
            raise DataError(
                f"image {truth.image_id}: class indices from {found.min()} to {found.max()}, "
                f"the data set has {len(self._categories)} categories",
                "check that the recipe and the data set belong together",
            )
        seen = SeenImage(truth, *finite(boxes, scores), found.copy(), shapes, true_shapes)
        self._seen[truth.image_id] = seen
        own = np.array([self._index.get(number, -1) for number in truth.category_ids.tolist()], np.int64)
        pairs = meeting(self.overlaps(seen), found, own)
        annotated = Annotated(own, truth.iscrowd, truth.iscrowd | self.passed_over(seen) | (own < 0), truth.areas)
        return Answered(truth.image_id, seen.scores, found, self.found_areas(seen), annotated, pairs)

    def overlaps(self, seen: SeenImage) -> Array:
        """Return how far boxes and annotations of one image overlap, (n, annotations), as the library does."""
        return box_overlaps(sizes(seen.boxes), seen.truth.boxes, seen.truth.iscrowd)

    def found_areas(self, seen: SeenImage) -> NDArray[np.float64]:
        """Return the areas (n,) of what was found, in square pixels."""
        if seen.shapes:
            return np.array([shape["area"] for shape in seen.shapes], np.float64)
        return box_areas(sizes(seen.boxes))

    def passed_over(self, seen: SeenImage) -> NDArray[np.bool_]:
        """Return which annotations, beside crowds, are neither found nor missed."""
        return np.zeros(len(seen.truth.boxes), np.bool_)

    @property
    def most(self) -> int:
        """How many detections of an image and class count."""
        return self._max_dets[-1]

    def compute(self) -> dict[str, Score]:
        """Return the figures, fractions; one that no annotation bears on (no large box, say) is left out.

        Raises DataError where no image was added, ModelportError where faster-coco-eval is missing.
        """
        if not self._seen:
            raise DataError("no image was scored", "check --data and --limit")
        precision, recall = self._evaluate()
        n = len(self._seen)
        means = ((index, _mean(precision[:, :, index, 0, -1])) for index in range(len(self._categories)))
        self._by_class = [(index, value) for index, value in means if value is not None]
        return {
            name: Score(value, "fraction", n, None)
            for name, value in self._figures(precision, recall)
            if value is not None
        }

    def per_class(self) -> list[tuple[int, float]]:
        """Return (class index, mAP) of each class that is annotated, once the figures were computed."""
        return list(self._by_class)

    def class_rows(self, figure: str, source: CocoMap | None) -> list[dict[str, Any]]:
        """Return a row of ``Figures.per_class`` for each annotated class, once the figures of both were computed."""
        theirs = {} if source is None else dict(source.per_class())
        truths = [one.truth for one in self._seen.values()]
        shown = Counter(number for truth in truths for number in truth.category_ids[~truth.iscrowd].tolist())
        rows = []
        for index, value in self.per_class():
            number, name = self._categories[index]
            rows.append({"class": index, "name": name, "n": shown[number], figure: value, "source": theirs.get(index)})
        return rows

    def _evaluate(self) -> tuple[Array, Array]:
        """Return precision (IoU, recall, category, area, max_dets) and recall (IoU, category, area, max_dets)."""
        library = _library()
        parts = [
            self._evaluate_some(library, range(start, min(start + _AT_ONCE, len(self._categories))))
            for start in range(0, len(self._categories), _AT_ONCE)
        ]
        return np.concatenate([one for one, _ in parts], axis=2), np.concatenate([two for _, two in parts], axis=1)

    def _evaluate_some(self, library: tuple[Any, Any], classes: range) -> tuple[Array, Array]:
        coco, evaluator = library
        # On equal scores the order of the images decides; the library goes by their ids.
        seen = self._seen.values()
        chosen = self._categories[classes.start : classes.stop]
        common = {
            # The sizes serve polygons, and there are none: masks come encoded.
            "images": [{"id": one.truth.image_id, "height": 0, "width": 0} for one in seen],
            "categories": [{"id": number, "name": name} for number, name in chosen],
        }
        wanted = {number for number, _ in chosen}
        truths = [row for one in seen for row in _truth_rows(one) if row["category_id"] in wanted]
        results = [row for one in seen for row in self._result_rows(one, classes)]
        # The library talks through whatever it is given here.
        run = evaluator(
            _indexed(coco, common | {"annotations": truths}),
            _indexed(coco, common | {"annotations": results}),
            self.iou_type,
            print_function=lambda *words: None,
            **self.options,
        )
        run.params.maxDets = list(self._max_dets)
        run.params.catIds = sorted(number for number, _ in chosen)
        run.evaluate()
        run.accumulate()
        # The library goes by the sorted ids, whatever their order among the classes.
        places = [run.params.catIds.index(number) for number, _ in chosen]
        return np.asarray(run.eval["precision"])[:, :, places], np.asarray(run.eval["recall"])[:, places]

    def _result_rows(self, one: SeenImage, classes: range) -> Iterator[dict[str, Any]]:
        some = np.flatnonzero((one.classes >= classes.start) & (one.classes < classes.stop))
        image = one.truth.image_id
        rows = to_results(image, one.boxes[some], one.scores[some], one.classes[some], self._categories)
        for place, row in zip(some.tolist(), rows, strict=True):
            more = one.shapes[place] if one.shapes else {}
            yield row | {"area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0} | dict(more)

    def _figures(self, precision: Array, recall: Array) -> Iterator[tuple[str, float | None]]:
        """Yield the figures. The library's own summary takes some at another number of detections."""
        # IoU 0.5, 0.55 … 0.95: the first is 0.5, the sixth 0.75.
        yield "mAP", _mean(precision[:, :, :, 0, -1])
        yield "mAP_50", _mean(precision[0, :, :, 0, -1])
        yield "mAP_75", _mean(precision[5, :, :, 0, -1])
        for area, letter in enumerate(self.areas, start=1):
            yield f"mAP_{letter}", _mean(precision[:, :, :, area, -1])
        for place, most in enumerate(self._max_dets):
            yield f"AR_{most}", _mean(recall[:, :, 0, place])
        for area, letter in enumerate(self.areas, start=1):
            yield f"AR_{letter}", _mean(recall[:, :, area, -1])


def to_results(
    image_id: int, boxes: Array, scores: Array, classes: Array, categories: Sequence[tuple[int, str]]
) -> list[dict[str, Any]]:
    """Return the rows of a COCO result list; boxes (n, 4) x1 y1 x2 y2, scores (n,), class indices (n,)."""
    placed = sizes(np.asarray(boxes, np.float64).reshape(-1, 4))
    rows = zip(placed.tolist(), np.asarray(scores).tolist(), np.asarray(classes).tolist(), strict=True)
    return [
        {"image_id": image_id, "category_id": categories[kind][0], "bbox": box, "score": score}
        for box, score, kind in rows
    ]


def detection_text(boxes: Array, scores: Array, classes: Array, categories: Sequence[tuple[int, str]]) -> str:
    """Return the guide's lines ``class score left top right bottom``; its scripts read names of up to two words."""
    rows = zip(np.asarray(boxes).reshape(-1, 4), np.asarray(scores), np.asarray(classes).tolist(), strict=True)
    # str of a NumPy scalar gives the shortest digits that read back as the same number.
    return "".join(f"{categories[kind][1]} {score!s} {' '.join(map(str, box))}\n" for box, score, kind in rows)


def _mean(values: Array) -> float | None:
    """Return the mean of what was measured; -1 stands for nothing to measure."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def _truth_rows(one: SeenImage) -> Iterator[dict[str, Any]]:
    truth = one.truth
    columns = (truth.boxes, truth.category_ids, truth.iscrowd, truth.areas)
    shapes = one.true_shapes or ({},) * len(truth.boxes)
    for box, category, crowd, area, shape in zip(*(column.tolist() for column in columns), shapes, strict=True):
        row = {"image_id": truth.image_id, "category_id": category, "bbox": box, "iscrowd": int(crowd), "area": area}
        yield row | dict(shape)


def _indexed(coco: Any, dataset: dict[str, Any]) -> Any:
    """Return the library's form of a data set; annotations are numbered from 1, for it takes 0 as unmatched."""
    for number, row in enumerate(dataset["annotations"], start=1):
        row["id"] = number
    form = coco()
    form.dataset = dataset
    form.createIndex()
    return form


def _library() -> tuple[Any, Any]:
    """Return COCO and COCOeval_faster. Raises ModelportError where they cannot be imported."""
    found = "faster-coco-eval is needed for COCO's figures"
    with raised_as(ModelportError, found, "pip install 'modelport[detection]'", ImportError):
        from faster_coco_eval import COCO, COCOeval_faster
    return COCO, COCOeval_faster
