"""The task ``instances``: boxes with classes and a mask each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelport.core.placement import Placement
from modelport.core.values import Array, TensorSpec, Truth
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Draft, own_table
from modelport.tasks.detection.coco_map import CocoMap, SeenImage
from modelport.tasks.instances.encoded import area_of, encoded_outline, laid_out, overlaps, pasted
from modelport.tasks.instances.outputs import Parts, Things
from modelport.tasks.instances.recipe_table import Instances
from modelport.tasks.instances.scorer import Judge, Seen
from modelport.tasks.instances.things import ThingTask, canvas_of, check_size, drafted, prefixed

THRESHOLD = 0.5
# Mask R-CNN's masks have 14 or 28 places a side, at most this many.
LARGEST_BOX_FRAME = 112
MASKS = "masks (N, K, h, w)"


class InstanceMasks(ThingTask):
    """Dets (N, K, 5) or boxes and scores, labels (N, K), and masks (N, K, h, w), of boxes or of the whole input."""

    metrics = ("mask_mAP", "mask_mAP_50", "mask_mAP_75", "mask_mAP_s", "mask_mAP_m", "mask_mAP_l")
    recipe_table = Instances
    most = 100
    label_form = "outlines"
    difference_means = "share of the source's things that no thing of the same class meets at a mask IoU of 0.9"

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise ValueError where the outputs are not boxes with masks, or nothing tells what a mask covers."""
        check_size(recipe)
        parts = Parts.of(recipe.signature.outputs, MASKS)
        _frame(recipe, parts)

    @classmethod
    def draft(cls, outputs: Sequence[TensorSpec], alone: bool = True) -> Draft | None:
        """Take boxes with masks that are no keypoints, and nothing else."""
        return drafted(cls, outputs, MASKS, lambda shape: not _few(shape[3]))

    def judge(self) -> MaskJudge:
        """Return what knows masks."""
        return MaskJudge(self._recipe)


class MaskJudge(Judge):
    """Masks, encoded, and their intersection over union."""

    name = "mask_"

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(Parts.of(recipe.signature.outputs, MASKS, recipe.dataset.label_offset))
        table = own_table(recipe, Instances)
        self._canvas = canvas_of(recipe)
        self._frame = _frame(recipe, self.parts)
        self._told = table.frame is not None
        self._threshold = THRESHOLD if table.threshold is None else table.threshold

    def metric(self, categories: Sequence[tuple[int, str]]) -> MaskMap:
        """Return an empty metric of masks."""
        return MaskMap(categories)

    def shapes(self, things: Things, placement: Placement) -> list[dict[str, Any]]:
        """Return each mask, encoded at the image's size, its area with it."""
        height, width = placement.image_height, placement.image_width
        if self._frame == "box":
            masks = pasted(things.shapes, things.boxes, height, width, self._threshold)
        else:
            masks = laid_out(things.shapes, placement, self._canvas, self._threshold)
        return [{"segmentation": mask, "area": area_of(mask)} for mask in masks]

    def true_shapes(self, truth: Truth, placement: Placement) -> list[dict[str, Any]]:
        """Return each annotated outline, encoded. Raises DataError for one that is encoded for another size."""
        told, size = f"image {truth.image_id}", (placement.image_height, placement.image_width)
        return [{"segmentation": encoded_outline(outline, *size, told)} for outline in truth.outlines]

    def alike(self, theirs: Seen, mine: Seen) -> Array:
        """Return the masks' intersections over unions."""
        first, second = ([shape["segmentation"] for shape in side.shapes] for side in (theirs, mine))
        return overlaps(first, second)

    def notes(self) -> list[str]:
        """Return what a mask covers, where the recipe does not tell it."""
        covers = "its box" if self._frame == "box" else "the whole input"
        return [] if self._told else [f"a mask covers {covers}, by its size; instances.frame tells it otherwise"]


class MaskMap(CocoMap):
    """``mask_mAP``, ``mask_mAP_50`` … over masks, equal to pycocotools'; the best 100 of an image and class count."""

    iou_type = "segm"

    def __init__(self, categories: Sequence[tuple[int, str]]) -> None:
        super().__init__(categories, (InstanceMasks.most,))

    def overlaps(self, seen: SeenImage) -> Array:
        """Return the masks' intersections over unions; over a crowd, the share of the mask that lies within."""
        masks, outlines = ([shape["segmentation"] for shape in side] for side in (seen.shapes, seen.true_shapes))
        return overlaps(masks, outlines, seen.truth.iscrowd)

    def _figures(self, precision: Array, recall: Array) -> Iterator[tuple[str, float | None]]:
        return prefixed("mask_", super()._figures(precision, recall))


def _few(axis: int | str) -> bool:
    """Whether an axis holds the numbers of a keypoint."""
    return axis in (2, 3)


def _frame(recipe: Recipe, parts: Parts) -> str:
    """Return what a mask covers, ``box`` or ``input``. Raises ValueError where its size does not tell."""
    told = own_table(recipe, Instances).frame
    if told is not None:
        return told
    sides: Mapping[str, Sequence[Any]] = {spec.name: spec.shape[2:] for spec in recipe.signature.outputs}
    size, canvas = tuple(sides[parts.shapes]), canvas_of(recipe)
    if size == canvas:
        return "input"
    if size[0] == size[1] and isinstance(size[0], int) and 4 * size[0] < min(canvas) and size[0] <= LARGEST_BOX_FRAME:
        return "box"
    raise ValueError(
        f"'{parts.shapes}' is {size[0]} × {size[1]}: does a mask cover its box, or the whole input? Tell it by "
        'instances.frame = "box" or "input"'
    )
