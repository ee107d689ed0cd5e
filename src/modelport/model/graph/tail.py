"""What an exported detector ends with: its candidates, or the suppression of doubles as standard ONNX operators.

The latter turns the outputs ``boxes`` (N, K, 4) and ``scores`` (N, K, C) into ``dets`` (N, 100, 5) and ``labels``
(N, 100).
Every operator used here reads the same from opset 11 to the newest, so that both exporters get the same tail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.errors import GraphError
from modelport.core.values import Array

if TYPE_CHECKING:
    import onnx

BOXES, SCORES, DETS, LABELS = "boxes", "scores", "dets", "labels"
SCORE_THRESHOLD = 0.05
IOU_THRESHOLD = 0.5
# A class whose best 100 are kept cannot lack one of the best 100 of all classes.
BEST = 100
NO_LABEL = -1
# Where boxes without an area are put for the suppression; no box of an image comes there.
ASIDE = (-2.0, -2.0, -1.0, -1.0)


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a detector's doubles are suppressed, by the word of ``export --nms``."""

    word: str
    # Puts the suppression behind the candidates; None where the host suppresses and the candidates are the outputs.
    append: Callable[[onnx.ModelProto], None] | None
    # Returns the same graph of standard operators, where ``append`` writes a device's own node.
    twin: Callable[[onnx.ModelProto], onnx.ModelProto] | None = None
    # So many times more answers may differ: the device's node computes less exactly.
    looser: int = 1
    # How the device normalises pixels.
    normalises: str = "by itself"
    # Whether the network gives candidates; where not, its outputs are the graph's.
    candidates: bool = True


def append_nms(model: onnx.ModelProto) -> None:
    """Replace the outputs ``boxes`` and ``scores`` by ``dets`` and ``labels``, with standard operators only."""
    tail = Tail(model)
    tail.finish(*tail.standard(BOXES, SCORES))


IN_GRAPH = Ending("graph", append_nms)
ON_HOST = Ending("host", None)
# Of a network that gives no candidates.
AS_IT_IS = Ending("none", lambda model: None, candidates=False)


def settle_outputs(model: onnx.ModelProto) -> None:
    """Give the outputs the sizes that ONNX's own inference finds; the TorchScript exporter leaves some of them free."""
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(model).graph.output
    for output, known in zip(model.graph.output, inferred, strict=True):
        output.type.CopyFrom(known.type)


class Tail:
    """Nodes and constants added to the end of a graph, under names of their own."""

    def __init__(self, model: onnx.ModelProto, prefix: str = "nms", sizes: tuple[int, int] | None = None) -> None:
        self.graph, self.prefix = model.graph, prefix
        self.batch, self.rows, self.classes = _read_sizes(model) if sizes is None else (1, *sizes)
        if self.rows * self.classes < BEST:
            raise GraphError(
                f"{self.rows} boxes of {self.classes} classes cannot fill {BEST} rows", "choose a larger input"
            )

    def name(self, name: str) -> str:
        return f"{self.prefix}/{name}"

    def constant(self, name: str, value: Sequence[int] | Array) -> str:
        """Add a constant (a list is int64) and return its name."""
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), self.name(name)))
        return self.name(name)

    def node(self, operator: str, name: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node and return its first output, which has the node's name unless ``outputs`` says else."""
        from onnx import helper

        made = list(outputs) or [self.name(name)]
        self.graph.node.append(helper.make_node(operator, list(inputs), made, self.name(name), **attributes))
        return made[0]

    def standard(self, boxes: str, scores: str) -> tuple[str, str, str, str]:
        """boxes (N, K, 4), scores (N, K, C) → best boxes (N, 100, 4), scores, classes int64 and used, (N, 100)."""
        picked = self._picked(self._apart(boxes), scores)
        # Only what stays keeps its score; then one TopK finds the best of all classes, image by image.
        stays = self.node("GatherND", "picked_scores", scores, picked)
        shape = self.node("Shape", "scores_shape", scores)
        spread = self.node("ConstantOfShape", "no_scores", shape)
        spread = self.node("ScatterND", "stayed_scores", spread, picked, stays)
        spread = self.node("Flatten", "stayed_flat", spread, axis=1)
        top, place = self.name("top_scores"), self.name("top_places")
        self.node("TopK", "top", spread, self.constant("best", [BEST]), outputs=[top, place], axis=1)
        classes = self.constant("classes", np.array(self.classes))
        row = self.node("Div", "top_rows", place, classes)
        kinds = self.node("Mod", "top_classes", place, classes)
        column = self.node("Reshape", "top_rows_column", row, self.constant("column", [0, BEST, 1]))
        column = self.node("Expand", "top_rows_wide", column, self.constant("wide", [1, 1, 4]))
        best = self.node("GatherElements", "top_boxes", boxes, column, axis=1)
        used = self.node("Greater", "used", top, self.constant("zero_score", np.array(0, np.float32)))
        return best, top, kinds, used

    def finish(self, boxes: str, scores: str, classes: str, used: str) -> None:
        """Blank the unused rows and make ``dets`` and ``labels`` the graph's outputs."""
        from onnx import TensorProto, helper

        shape = self.constant("rows_column", [0, BEST, 1])
        scores = self.node("Reshape", "scores_column", scores, shape)
        dets = self.node("Concat", "rows", boxes, scores, axis=2)
        # Reshape takes no booleans on some devices, so the mask is made a column as a number.
        mask = self.node("Cast", "used_float", used, to=TensorProto.FLOAT)
        mask = self.node("Reshape", "used_column", mask, shape)
        self.node("Mul", DETS, dets, mask, outputs=[DETS])
        self.node("Where", LABELS, used, classes, self.constant("no_label", np.array(NO_LABEL)), outputs=[LABELS])
        del self.graph.output[:]
        self.graph.output.append(helper.make_tensor_value_info(DETS, TensorProto.FLOAT, [self.batch, BEST, 5]))
        self.graph.output.append(helper.make_tensor_value_info(LABELS, TensorProto.INT64, [self.batch, BEST]))

    def _apart(self, boxes: str) -> str:
        """Put all boxes without an area on one place of their own: they are doubles of each other, of no other box.

        That is what the published results do with boxes clipped to a line; the operator would keep them all.
        """
        ends = self.node("Gather", "ends", boxes, self.constant("end_columns", [2, 3]), axis=2)
        starts = self.node("Gather", "starts", boxes, self.constant("start_columns", [0, 1]), axis=2)
        sides = self.node("Sub", "sides", ends, starts)
        wide = self.node("Gather", "widths", sides, self.constant("width_column", [0]), axis=2)
        high = self.node("Gather", "heights", sides, self.constant("height_column", [1]), axis=2)
        area = self.node("Mul", "areas", wide, high)
        has = self.node("Greater", "has_area", area, self.constant("zero_area", np.array(0, np.float32)))
        aside = self.constant("aside", np.array(ASIDE, np.float32))
        return self.node("Where", "boxes_apart", has, boxes, aside)

    def _picked(self, boxes: str, scores: str) -> str:
        """Return (M, 3) int64: image, row and class of what stays, at most 100 of a class and image."""
        by_class = self.node("Transpose", "scores_by_class", scores, perm=[0, 2, 1])
        most = self.constant("most", [BEST])
        # Some runtimes also drop a box at exactly the threshold; the next number keeps that one, as in the others.
        overlap = self.constant("iou_threshold", np.nextafter(np.array([IOU_THRESHOLD], np.float32), np.float32(1)))
        least = self.constant("score_threshold", np.array([SCORE_THRESHOLD], np.float32))
        # The operator reads y x y x; with x and y exchanged the overlaps are the same.
        picked = self.node("NonMaxSuppression", "suppress", boxes, by_class, most, overlap, least)
        return self.node("Gather", "picked", picked, self.constant("row_first", [0, 2, 1]), axis=1)


def _read_sizes(model: onnx.ModelProto) -> tuple[int | str, int, int]:
    """Return N, K and C from the outputs ``boxes`` and ``scores``; N may be a name."""
    shapes = {
        value.name: [axis.dim_value or axis.dim_param for axis in value.type.tensor_type.shape.dim]
        for value in model.graph.output
    }
    boxes, scores = shapes.get(BOXES, []), shapes.get(SCORES, [])
    if set(shapes) != {BOXES, SCORES} or len(scores) != 3 or boxes != [*scores[:2], 4] or isinstance(scores[2], str):
        raise GraphError(
            f"the graph's outputs are {shapes}, not {BOXES} (N, K, 4) and {SCORES} (N, K, C)",
            "suppression follows a detector exported with --nms host",
        )
    batch, rows, classes = scores
    if not isinstance(rows, int):
        raise GraphError(f"the number of boxes is free ({rows})", "export the detector with a fixed height and width")
    return batch, rows, classes
