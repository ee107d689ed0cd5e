"""The suppression of doubles as an Ascend device does it: one node of its own at a detector's end."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.errors import GraphError
from modelport.model.graph.tail import BEST, BOXES, IOU_THRESHOLD, SCORE_THRESHOLD, SCORES, Ending, Tail

if TYPE_CHECKING:
    import onnx

ASCEND_NMS = "BatchMultiClassNMS"


def append_ascend_nms(model: onnx.ModelProto) -> None:
    """Replace ``boxes`` and ``scores`` by ``dets`` and ``labels`` with the node ``BatchMultiClassNMS``; batch 1 only.

    ATC knows it and no ONNX checker does. The device computes it in float16: coordinates beyond 512 are whole
    half pixels there.
    """
    from onnx import TensorProto

    tail = Tail(model)
    if tail.batch != 1:
        raise GraphError(f"{ASCEND_NMS} takes one image at a time", "export with --batch 1")
    rows, classes = tail.rows, tail.classes
    each = tail.node("Reshape", "boxes_each", BOXES, tail.constant("boxes_each_shape", [1, rows, 1, 4]))
    each = tail.node("Cast", "boxes_half", each, to=TensorProto.FLOAT16)
    each = tail.node("Expand", "boxes_per_class", each, tail.constant("per_class_shape", [1, rows, classes, 4]))
    scores = tail.node("Cast", "scores_half", SCORES, to=TensorProto.FLOAT16)
    outputs = [tail.name(name) for name in ("found_boxes", "found_scores", "found_classes", "found")]
    settings: dict[str, Any] = {"score_threshold": SCORE_THRESHOLD, "iou_threshold": IOU_THRESHOLD}
    settings |= {"max_size_per_class": BEST, "max_total_size": BEST}
    tail.node(ASCEND_NMS, ASCEND_NMS, each, scores, outputs=outputs, **settings)
    # Rows past the number kept are unused, whatever stands in them.
    found = tail.node("Cast", "found_int", outputs[3], to=TensorProto.INT32)
    found = tail.node("Reshape", "found_column", found, tail.constant("found_shape", [1, 1]))
    places = tail.constant("places", np.arange(BEST, dtype=np.int32)[None])
    used = tail.node("Less", "used", places, found)
    best = tail.node("Cast", "boxes_float", outputs[0], to=TensorProto.FLOAT)
    top = tail.node("Cast", "scores_float", outputs[1], to=TensorProto.FLOAT)
    kinds = tail.node("Cast", "classes_int", outputs[2], to=TensorProto.INT64)
    tail.finish(best, top, kinds, used)


def standard_twin(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which ``BatchMultiClassNMS`` is made of standard operators: to be checked, run and compared.

    Inputs and outputs of the node keep their float16. Raises GraphError where the graph has not exactly one.
    """
    from onnx import TensorProto

    twin = copy.deepcopy(model)
    found = [place for place, node in enumerate(twin.graph.node) if node.op_type == ASCEND_NMS]
    if len(found) != 1:
        raise GraphError(f"the graph holds {len(found)} nodes {ASCEND_NMS}, not one", "export it with --nms ascend")
    native = twin.graph.node[found[0]]
    after = list(twin.graph.node[found[0] + 1 :])
    del twin.graph.node[found[0] :]
    tail = Tail(twin, prefix="twin", sizes=_twin_sizes(twin, native))
    boxes = tail.node("Gather", "boxes_first", native.input[0], tail.constant("first", np.array(0)), axis=2)
    boxes = tail.node("Cast", "boxes_float", boxes, to=TensorProto.FLOAT)
    scores = tail.node("Cast", "scores_float", native.input[1], to=TensorProto.FLOAT)
    best, top, kinds, used = tail.standard(boxes, scores)
    for made, name in zip((best, top, kinds), native.output, strict=False):
        tail.node("Cast", f"{name}_half", made, outputs=[name], to=TensorProto.FLOAT16)
    ones = tail.node("Cast", "used_int", used, to=TensorProto.INT32)
    tail.node("ReduceSum", "count", ones, outputs=[native.output[3]], keepdims=0)
    twin.graph.node.extend(after)
    return twin


def _twin_sizes(model: onnx.ModelProto, native: onnx.NodeProto) -> tuple[int, int]:
    """Return K and C from the shape that the node's boxes are expanded to."""
    from onnx import numpy_helper

    expand = next(node for node in model.graph.node if node.output and node.output[0] == native.input[0])
    shape = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == expand.input[1])
    return int(shape[1]), int(shape[2])


# The device's suppression computes in float16: so many times more answers may differ.
ON_DEVICE = Ending("ascend", append_ascend_nms, standard_twin, looser=5, normalises="by AIPP")
