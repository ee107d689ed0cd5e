"""The suppression inside a graph against the host's, on boxes without a network before them."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelport.core.errors import GraphError
from modelport.core.values import Array
from modelport.engines.ascend.nms import append_ascend_nms, standard_twin
from modelport.model.graph import tail
from modelport.tasks.detection.boxes import best_detections

ROWS, CLASSES = 300, 6


def _candidates(opset: int, batch: int | str, rows: int | str = ROWS) -> onnx.ModelProto:
    """A graph that hands its two inputs on as ``boxes`` and ``scores``."""
    shapes = {"boxes": [batch, rows, 4], "scores": [batch, rows, CLASSES]}
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}_in"], [name]) for name in shapes],
        "candidates",
        [helper.make_tensor_value_info(f"{name}_in", TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def _random(seed: int, batch: int) -> tuple[Array, Array]:
    """Boxes of which some are equal and some are lines, whole pixels (exact in float16); scores all different."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, 12, (batch, ROWS, 2, 2)), axis=2).reshape(batch, ROWS, 4) * 8.0
    scores = rng.permutation(np.linspace(0, 1, batch * ROWS * CLASSES)).reshape(batch, ROWS, CLASSES)
    return corners.astype(np.float32), scores.astype(np.float32)


def _onnxruntime(model: onnx.ModelProto, boxes: Array, scores: Array) -> tuple[Array, Array]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dets, labels = session.run(["dets", "labels"], {"boxes_in": boxes, "scores_in": scores})
    return dets, labels


def _openvino(model: onnx.ModelProto, boxes: Array, scores: Array) -> tuple[Array, Array]:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    result = compiled({"boxes_in": boxes, "scores_in": scores})
    return np.array(result["dets"]), np.array(result["labels"])


@pytest.mark.parametrize("run", [_onnxruntime, _openvino])
@pytest.mark.parametrize("opset", [11, 13, 18, 20])
@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_the_graph_keeps_what_the_host_keeps(opset: int, batch: int | str, run: object) -> None:
    assert callable(run)
    model = _candidates(opset, batch)
    tail.append_nms(model)
    onnx.checker.check_model(model, full_check=True)
    boxes, scores = _random(opset, batch if isinstance(batch, int) else 2)
    wanted = best_detections(boxes, scores)
    dets, labels = run(model, boxes, scores)
    np.testing.assert_array_equal(labels, wanted[1])
    np.testing.assert_allclose(dets, wanted[0], rtol=1e-6)
    assert (str(dets.dtype), str(labels.dtype)) == ("float32", "int64")


@pytest.mark.parametrize("run", [_onnxruntime, _openvino])
@pytest.mark.parametrize("high", [0.0, 0.4])
def test_unused_rows_are_zero_and_minus_one(high: float, run: object) -> None:
    assert callable(run)
    model = _candidates(20, "batch")
    tail.append_nms(model)
    boxes, scores = _random(0, 2)
    scores = np.where(np.arange(ROWS)[:, None] < 3, np.float32(high), np.float32(0.01)) * np.ones_like(scores)
    dets, labels = run(model, boxes, scores)
    wanted = best_detections(boxes, scores)
    assert (labels == -1).any()
    np.testing.assert_array_equal(dets[labels < 0], 0)
    np.testing.assert_array_equal(np.sort(labels), np.sort(wanted[1]))


@pytest.mark.parametrize("opset", [11, 20])
def test_the_ascend_node_and_its_twin(opset: int) -> None:
    model = _candidates(opset, 1)
    append_ascend_nms(model)
    (node,) = [node for node in model.graph.node if node.op_type == "BatchMultiClassNMS"]
    settings = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert settings.pop("score_threshold") == pytest.approx(0.05)
    assert settings == {"iou_threshold": 0.5, "max_size_per_class": 100, "max_total_size": 100}
    assert (len(node.input), len(node.output)) == (2, 4)
    twin = standard_twin(model)
    onnx.checker.check_model(twin, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(twin, strict_mode=True, data_prop=True)
    kinds = {
        value.name: (value.type.tensor_type.elem_type, [axis.dim_value for axis in value.type.tensor_type.shape.dim])
        for value in inferred.graph.value_info
    }
    assert [kinds[name] for name in node.input] == [
        (TensorProto.FLOAT16, [1, ROWS, CLASSES, 4]),
        (TensorProto.FLOAT16, [1, ROWS, CLASSES]),
    ]
    boxes, scores = _random(1, 1)
    # 2048 different float16 values, so that no two scores meet.
    scores = (np.argsort(np.argsort(scores, axis=None)) / 2048 + 0.06).reshape(scores.shape).astype(np.float32)
    scores = scores.astype(np.float16).astype(np.float32)
    for run in (_onnxruntime, _openvino):
        dets, _ = run(twin, boxes, scores)
        np.testing.assert_allclose(dets[0, :, 4], best_detections(boxes, scores)[0][0, :, 4], atol=1e-6)


def test_what_cannot_be_suppressed_is_refused() -> None:
    with pytest.raises(GraphError, match="free"):
        tail.append_nms(_candidates(20, 1, "rows"))
    with pytest.raises(GraphError, match="one image"):
        append_ascend_nms(_candidates(20, "batch"))
    model = _candidates(20, 1)
    with pytest.raises(GraphError, match="0 nodes"):
        standard_twin(model)
    tail.append_nms(model)
    with pytest.raises(GraphError, match="--nms host"):
        tail.append_nms(model)
