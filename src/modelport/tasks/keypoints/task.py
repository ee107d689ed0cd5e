"""The task ``keypoints``: boxes with keypoints, held against annotated ones by their similarity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.placement import Placement
from modelport.core.values import Array, TensorSpec, Truth
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Draft, own_table
from modelport.tasks.detection.coco_map import CocoMap, SeenImage
from modelport.tasks.instances.outputs import Parts, Things
from modelport.tasks.instances.scorer import Judge, Seen
from modelport.tasks.instances.things import ThingTask, check_size, drafted, prefixed
from modelport.tasks.keypoints.recipe_table import Sigmas

KEYPOINTS = "keypoints (N, K, P, 3), x y score in pixels of the input, or (N, K, P, 2)"
# Of COCO's 17 keypoints of people (cocoapi, cocoeval.py: kpt_oks_sigmas).
COCO_SIGMAS = tuple(
    value / 10
    for value in (0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89)
)
# A person's area as a share of the box, where no outline tells it (CrowdPose's evaluation, as in faster-coco-eval).
AREA_OF_BOX = 0.53


class Keypoints(ThingTask):
    """Dets (N, K, 5) or boxes and scores, labels (N, K) but for one class, and keypoints (N, K, P, 3) or (N, K, P, 2).

    Places are in pixels of the network's input.
    """

    metrics = ("oks_mAP", "oks_mAP_50", "oks_mAP_75", "oks_mAP_m", "oks_mAP_l")
    recipe_table = Sigmas
    most = 20
    label_form = "keypoints"
    difference_means = "share of the source's things that no thing of the same class meets at a similarity of 0.9"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the outputs are not boxes with keypoints, or nothing tells how exact these are."""
        check_size(recipe)
        parts = Parts.of(recipe.signature.outputs, KEYPOINTS, alone=recipe.dataset.classes == 1)
        _sigmas(recipe, parts)

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take boxes with keypoints, and nothing else; where the task was not named, with as many as COCO's."""
        return drafted(
            cls, outputs, KEYPOINTS, lambda shape: shape[3] in (2, 3) and (not alone or shape[2] == 17), True
        )

    def judge(self) -> KeypointJudge:
        """Return what knows keypoints."""
        return KeypointJudge(self._recipe)


class KeypointJudge(Judge):
    """Keypoints in the image, and COCO's object keypoint similarity (OKS)."""

    name = "oks_"

    def __init__(self, recipe: Recipe) -> None:
        one_class = recipe.dataset.classes == 1
        super().__init__(Parts.of(recipe.signature.outputs, KEYPOINTS, recipe.dataset.label_offset, alone=one_class))
        self._sigmas = _sigmas(recipe, self.parts)

    def metric(self, categories: Sequence[tuple[int, str]]) -> KeypointMap:
        """Return an empty metric of keypoints."""
        return KeypointMap(categories, self._sigmas)

    def shapes(self, things: Things, placement: Placement) -> list[dict[str, Any]]:
        """Return the keypoints of each thing, its area and box those that they span, as COCO's tools take them."""
        found = []
        for points in things.shapes:
            # A NaN would be similar to nothing, or to everything: it lies far away instead.
            places = np.nan_to_num(placement.points_to_image(points[:, :2]), nan=-1e6, posinf=1e6, neginf=-1e6)
            low, size = places.min(axis=0), np.ptp(places, axis=0)
            flat = np.concatenate([places, np.ones((len(places), 1))], axis=1).ravel().tolist()
            found.append({"keypoints": flat, "bbox": [*low.tolist(), *size.tolist()], "area": float(size.prod())})
        return found

    def true_shapes(self, truth: Truth, placement: Placement) -> list[dict[str, Any]]:
        """Return the annotated keypoints. Raises DataError where they are not as many as the network's."""
        count, points = len(self._sigmas), truth.keypoints
        if points is None:
            points = np.zeros((len(truth.boxes), count, 3))
        if points.shape[1] != count:
            raise DataError(
                f"image {truth.image_id}: {points.shape[1]} keypoints are annotated, the network gives {count}",
                "choose the annotations that fit the model, or the recipe that fits the data",
            )
        labelled = (points[:, :, 2] > 0).sum(axis=1).tolist()
        flat = points.reshape(len(points), -1).tolist()
        return [{"keypoints": one, "num_keypoints": number} for one, number in zip(flat, labelled, strict=True)]

    def alike(self, theirs: Seen, mine: Seen) -> Array:
        """Return the similarities of the source's keypoints and the engine's, all of them counted alike."""
        count = len(self._sigmas)
        one, two = (
            np.array([shape["keypoints"] for shape in side.shapes], np.float64).reshape(-1, count, 3)[:, :, :2]
            for side in (theirs, mine)
        )
        boxes = np.asarray(theirs.things.boxes, np.float64).reshape(-1, 4)
        areas = AREA_OF_BOX * np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
        away = np.square(one[:, None] - two[None]).sum(axis=-1)
        spread = 2 * np.square(2 * np.array(self._sigmas)) * (areas[:, None, None] + np.spacing(1))
        similar: Array = np.exp(-away / spread).mean(axis=-1)
        return similar


class KeypointMap(CocoMap):
    """``oks_mAP``, ``oks_mAP_50`` … over keypoints, equal to pycocotools'; the best 20 of an image and class count."""

    iou_type = "keypoints"
    areas = ("m", "l")

    def __init__(self, categories: Sequence[tuple[int, str]], sigmas: Sequence[float]) -> None:
        super().__init__(categories, (Keypoints.most,))
        self.options = {"kpt_oks_sigmas": list(sigmas)}
        self._spread = np.square(2 * np.array(sigmas))

    def overlaps(self, seen: SeenImage) -> Array:
        """Return the similarities of things and annotations (pycocotools' ``computeOks``).

        Of an annotation without labelled keypoints it is how near they lie to three times its box.
        """
        count = len(self._spread)
        found, true = (
            np.array([shape["keypoints"] for shape in side], np.float64).reshape(-1, count, 3)
            for side in (seen.shapes, seen.true_shapes)
        )
        similar = np.zeros((len(found), len(true)))
        for place, (points, box, area) in enumerate(zip(true, seen.truth.boxes, seen.truth.areas, strict=True)):
            labelled = points[:, 2] > 0
            away = found[:, :, :2] - points[:, :2]
            if not labelled.any():
                low, high = box[:2] - box[2:], box[:2] + 2 * box[2:]
                away = np.maximum(0, low - found[:, :, :2]) + np.maximum(0, found[:, :, :2] - high)
            distances = np.square(away[..., 0]) + np.square(away[..., 1])
            kept = np.exp(-(distances / self._spread / (area + np.spacing(1)) / 2))
            similar[:, place] = (kept[:, labelled] if labelled.any() else kept).mean(axis=1)
        return similar

    def passed_over(self, seen: SeenImage) -> NDArray[np.bool_]:
        """Return which annotations have no labelled keypoints."""
        return np.array([shape["num_keypoints"] == 0 for shape in seen.true_shapes], np.bool_)

    def _figures(self, precision: Array, recall: Array) -> Iterator[tuple[str, float | None]]:
        return prefixed("oks_", super()._figures(precision, recall))


def _sigmas(recipe: Recipe, parts: Parts) -> tuple[float, ...]:
    """Return how exactly each keypoint is placed. Raises ValueError where neither recipe nor COCO tells."""
    shape = next(spec.shape for spec in recipe.signature.outputs if spec.name == parts.shapes)
    if not isinstance(shape[2], int) or shape[3] not in (2, 3):
        raise ValueError(f"'{parts.shapes}' is {tuple(shape)}; wanted are {KEYPOINTS}")
    told = own_table(recipe, Sigmas).sigmas
    if told is None and shape[2] == len(COCO_SIGMAS):
        return COCO_SIGMAS
    if told is None or len(told) != shape[2]:
        found = "is missing" if told is None else f"has {len(told)} numbers"
        raise ValueError(f"keypoints.sigmas {found}: '{parts.shapes}' has {shape[2]} keypoints; give one for each")
    return tuple(told)
