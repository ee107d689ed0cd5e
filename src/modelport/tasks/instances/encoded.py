"""Masks in COCO's run-length encoding: a few hundred bytes each, which the library takes for figures and overlaps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError, ModelportError, raised_as
from modelport.core.placement import Placement
from modelport.core.values import Array, Outline
from modelport.tasks.segmentation.pixels import scores_in_image

# {"size": [height, width], "counts": bytes}
Encoded = dict[str, Any]


def encoded_outline(outline: Outline, height: int, width: int, told: str) -> Encoded:
    """Return what an annotation outlines in an image of this size, as COCO's tools fill polygons.

    Raises DataError, ``told`` naming the annotation's image, where it is encoded for an image of another size.
    """
    library = _library()
    if outline.runs is None:
        polygons = [polygon.ravel().tolist() for polygon in outline.polygons]
        merged: Encoded = library.merge(library.frPyObjects(polygons, height, width))
        return merged
    if outline.size != (height, width):
        assert outline.size is not None
        raise DataError(
            f"{told}: a mask is encoded for {outline.size[1]} × {outline.size[0]} pixels, the image is "
            f"{width} × {height}",
            "take the images that the masks were made for, neither resized nor rotated",
        )
    runs: Encoded = library.frPyObjects({"size": [height, width], "counts": outline.runs.tolist()}, height, width)
    return runs


def pasted(masks: Array, boxes: Array, height: int, width: int, threshold: float) -> Iterator[Encoded]:
    """Yield the masks (n, h, w) of boxes (n, 4), in pixels of the image, encoded at the image's size.

    A pixel's middle is looked up between the middles of the mask's places, zero around them, and is the thing's from
    ``threshold`` on: mmdetection's ``_do_paste_mask`` (fcn_mask_head.py), which is Detectron2's.
    """
    for mask, box in zip(masks, np.nan_to_num(boxes), strict=True):
        whole = np.zeros((height, width), np.uint8, order="F")
        (left, right), (top, bottom) = (
            (max(0, int(np.floor(box[axis])) - 1), min(side, int(np.ceil(box[axis + 2])) + 1))
            for axis, side in ((0, width), (1, height))
        )
        if right > left and bottom > top and box[2] > box[0] and box[3] > box[1]:
            across = _places(np.arange(left, right), box[0], box[2], mask.shape[1])
            down = _places(np.arange(top, bottom), box[1], box[3], mask.shape[0])
            # A place of zeros on each side, which is what lies around the mask.
            padded = np.pad(mask.astype(np.float32), 1)
            values = _mixed(_mixed(padded, down, axis=0), across, axis=1)
            whole[top:bottom, left:right] = values >= threshold
        yield encode(whole)


def _places(pixels: Array, start: float, end: float, size: int) -> Array:
    """Return where the middles of pixels lie among ``size`` places with one more on each side, counted in middles."""
    places: Array = np.clip((pixels + 0.5 - start) / (end - start) * size + 0.5, 0, size + 1)
    return places


def _mixed(values: Array, places: Array, axis: int) -> Array:
    low = np.minimum(np.floor(places).astype(np.int64), values.shape[axis] - 2)
    share = (places - low).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
    mixed: Array = values.take(low, axis=axis) * (1 - share) + values.take(low + 1, axis=axis) * share
    return mixed


def laid_out(masks: Array, placement: Placement, canvas: tuple[int, int], threshold: float) -> Iterator[Encoded]:
    """Yield masks (n, h, w) that cover the whole input of size ``canvas``, encoded at the image's size."""
    for mask in masks:
        whole = np.zeros((placement.image_height, placement.image_width), np.uint8, order="F")
        for top, left, values in scores_in_image(mask[None], placement, canvas):
            height, width = values.shape[1:]
            whole[top : top + height, left : left + width] = values[0] >= threshold
        yield encode(whole)


def encode(mask: Array) -> Encoded:
    """Return a mask (H, W) uint8 of zeros and ones, column-major, encoded."""
    found: Encoded = _library().encode(np.asfortranarray(mask))
    return found


def area_of(mask: Encoded) -> float:
    """Return how many pixels a mask has."""
    return float(_library().area(mask))


def overlaps(masks: Sequence[Encoded], others: Sequence[Encoded], crowd: Array | None = None) -> Array:
    """Return intersections over unions (n, m); of others that are a ``crowd`` (m,), the share of the mask within."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    many = [0] * len(others) if crowd is None else crowd.astype(int).tolist()
    found: Array = np.asarray(_library().iou(list(masks), list(others), many), np.float64)
    return found


def _library() -> Any:
    """Return the library's functions on masks. Raises ModelportError where they cannot be imported."""
    found = "faster-coco-eval is needed for masks of instances"
    with raised_as(ModelportError, found, "pip install 'modelport[detection]'", ImportError):
        from faster_coco_eval.core import mask
    return mask
