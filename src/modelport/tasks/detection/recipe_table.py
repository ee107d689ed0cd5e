"""The table ``[detection]`` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelport.recipes.steps import Strict
from modelport.recipes.tables import MAX_AXIS


class Boxes(Strict):
    """How a detector's boxes are read from its outputs; what their names, dtypes and shapes tell may be left out."""

    form: Literal["dets", "boxes", "candidates", "yolov5", "yolov8", "end_to_end"] | None = None
    """What the outputs are (detection.md); needed where their shapes fit two of them."""
    boxes: Literal["xyxy", "yxyx", "cxcywh", "xywh"] | None = None
    """What the four numbers of a box are; ``xyxy``, corners, where it is left out."""
    normalised: bool | None = None
    """Boxes are shares of the input's width and height, else its pixels."""
    count: str | None = None
    """The output that tells how many boxes of a row are meant."""
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """A box counts whose score exceeds it: 0.001, as for mAP; under ``dets`` every one."""
    iou_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """A box goes that overlaps a better one of its class by more: 0.7, of ``yolov5`` 0.6."""
    max_detections: Annotated[int, Field(gt=0, le=MAX_AXIS)] | None = None
    """The best so many boxes of an image count: 300, under ``dets`` all."""
