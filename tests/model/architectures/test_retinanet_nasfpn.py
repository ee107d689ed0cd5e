"""The detector against the published keys, the golden outputs, and its own exported forms."""

from __future__ import annotations

import json
import runpy
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from detector_in_numpy import decode_levels, level_anchors
from modelport.core.errors import GraphError, SignatureError
from modelport.core.values import Array
from modelport.engines.ascend.nms import append_ascend_nms, standard_twin
from modelport.model.architectures.retinanet_nasfpn import RetinaNet, anchor_table
from modelport.model.graph import tail
from modelport.model.graph.proof import prove_weights
from modelport.tasks.detection.boxes import best_detections

GOLDEN = Path(__file__).parents[2] / "golden"
KEYS: dict[str, list[int]] = json.loads((GOLDEN / "retinanet_r50_nasfpn.json").read_text())["state_dict"]
SEEDED = runpy.run_path(str(GOLDEN / "seeded_weights.py"))
SIZE = (128, 256)  # the smallest in which height and width differ


@pytest.fixture(scope="module")
def detector() -> RetinaNet:
    with torch.device("meta"):
        module = RetinaNet().eval()
    state = {name: torch.from_numpy(SEEDED["seeded_array"](name, tuple(shape))) for name, shape in KEYS.items()}
    module.load_state_dict(state, strict=True, assign=True)
    return module


@pytest.fixture
def image() -> Array:
    made: Array = SEEDED["seeded_input"]((1, 3, *SIZE))
    return made


def test_keys_stand_in_the_published_order_with_the_published_shapes() -> None:
    with torch.device("meta"):
        state = RetinaNet().state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == KEYS
    assert list(state) == list(KEYS)


@pytest.mark.slow
def test_the_heads_give_the_golden_outputs(detector: RetinaNet) -> None:
    golden = np.load(GOLDEN / "retinanet_r50_nasfpn.npz")
    with torch.inference_mode():
        logits, deltas = detector.heads(torch.from_numpy(SEEDED["seeded_input"]((1, 3, 256, 384))))
    for level, (cls, reg) in enumerate(zip(logits, deltas, strict=True)):
        _assert_near(cls[:, ::36, ::4, ::4].numpy(), golden[f"cls_{level}"])
        _assert_near(reg[:, ::3, ::4, ::4].numpy(), golden[f"reg_{level}"])
        figures = [float(cls.mean()), float(cls.std())]
        np.testing.assert_allclose(figures, golden[f"cls_mean_std_{level}"], rtol=1e-4)


@pytest.mark.parametrize(
    ("file", "size"),
    [
        ("retinanet_r50_nasfpn.npz", (256, 384)),
        pytest.param("retinanet_r50_nasfpn_640.npz", (640, 640), marks=pytest.mark.slow),
    ],
)
def test_the_detections_are_the_golden_ones(detector: RetinaNet, file: str, size: tuple[int, int]) -> None:
    golden = np.load(GOLDEN / file)
    dets, labels = best_detections(*_run(detector, SEEDED["seeded_input"]((1, 3, *size))))
    np.testing.assert_allclose(dets[0, :, :4], golden["dets"][:, :4], atol=1e-2)
    np.testing.assert_allclose(dets[0, :, 4], golden["dets"][:, 4], atol=1e-4)
    np.testing.assert_array_equal(labels[0], golden["labels"])


@pytest.mark.slow
def test_the_network_and_numpy_decode_alike(detector: RetinaNet) -> None:
    image = SEEDED["seeded_input"]((2, 3, 256, 384))
    with torch.inference_mode():
        logits, deltas = detector.heads(torch.from_numpy(image))
    boxes, scores = decode_levels([x.numpy() for x in logits], [x.numpy() for x in deltas], (256, 384))
    got_boxes, got_scores = _run(detector, image)
    for got, want, close in ((got_boxes, boxes, 1e-3), (got_scores, scores, 1e-6)):
        np.testing.assert_allclose(np.sort(got, axis=1), np.sort(want, axis=1), atol=close)
        # Candidates whose best scores are equal up to rounding may change places.
        assert np.isclose(got, want, rtol=0, atol=close).all(axis=-1).mean() > 0.99


@pytest.mark.parametrize(("rows", "columns", "stride"), [(2, 3, 8), (5, 5, 128), (1, 1, 64)])
def test_both_make_the_same_anchors(rows: int, columns: int, stride: int) -> None:
    table, corners = anchor_table(rows, columns, stride), level_anchors(rows, columns, stride)
    np.testing.assert_allclose((corners[:, :2] + corners[:, 2:]) / 2, table[:, :2], atol=1e-4)
    np.testing.assert_allclose(corners[:, 2:] - corners[:, :2], table[:, 2:], rtol=1e-6)


def test_an_image_of_another_size_is_refused(detector: RetinaNet) -> None:
    with pytest.raises(SignatureError, match="100×256"):
        detector(torch.zeros(1, 3, 100, 256))


# A free batch at opset 20 takes the product's own way in tests/model/test_recipes_golden.py, weights and answers held.
@pytest.fixture(scope="module", params=[(11, None), (11, 1), (20, 1)], ids=str)
def exported(
    request: pytest.FixtureRequest, detector: RetinaNet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[onnx.ModelProto, int | None]]:
    """The candidates' graph at an opset, with a free batch (None) or one image."""
    opset, batch = request.param
    path = tmp_path_factory.mktemp("detector") / "host.onnx"
    example = torch.zeros(batch or 2, 3, *SIZE)
    common: dict[str, Any] = {"opset_version": opset, "input_names": ["input"], "output_names": ["boxes", "scores"]}
    if opset < 18:
        common |= {"dynamo": False}
        common |= {"dynamic_axes": {name: {0: "batch"} for name in ("input", "boxes", "scores")}} if not batch else {}
    else:
        common |= {"dynamo": True, "external_data": False, "verbose": False}
        common |= {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if not batch else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(detector, (example,), str(path), **common)
    model = onnx.load(str(path))
    path.unlink()
    tail.settle_outputs(model)
    yield model, batch


@pytest.mark.slow
def test_every_weight_arrives_in_the_graph(exported: tuple[onnx.ModelProto, int | None], detector: RetinaNet) -> None:
    model, _ = exported
    proof = prove_weights(detector, model, torch.zeros(1, 3, 128, 128))
    assert proof.lost == ()


@pytest.mark.slow
def test_the_graph_gives_the_hosts_detections(
    exported: tuple[onnx.ModelProto, int | None], detector: RetinaNet, image: Array
) -> None:
    model, batch = exported
    images = image if batch else np.concatenate([image, image[..., ::-1], np.zeros_like(image)])
    graph = _copy(model)
    tail.append_nms(graph)
    onnx.checker.check_model(graph, full_check=True)
    wanted = best_detections(*_run(detector, np.ascontiguousarray(images)))
    for dets, labels in (_onnxruntime(graph, images), _openvino(graph, images)):
        assert (dets.shape, labels.shape) == ((len(images), 100, 5), (len(images), 100))
        assert (str(dets.dtype), str(labels.dtype)) == ("float32", "int64")
        for row in range(len(images)):
            _assert_same_boxes((dets[row], labels[row]), (wanted[0][row], wanted[1][row]))


@pytest.mark.slow
def test_the_ascend_form_has_its_node_and_a_twin_that_runs(
    exported: tuple[onnx.ModelProto, int | None], detector: RetinaNet, image: Array
) -> None:
    model, batch = exported
    graph = _copy(model)
    if batch is None:
        with pytest.raises(GraphError, match="one image"):
            append_ascend_nms(graph)
        return
    append_ascend_nms(graph)
    twin = standard_twin(graph)
    onnx.checker.check_model(twin, full_check=True)
    dets, labels = _onnxruntime(twin, image)
    assert (dets.shape, labels.shape) == ((1, 100, 5), (1, 100))
    assert (str(dets.dtype), str(labels.dtype)) == ("float32", "int64")
    # float16 moves boxes and scores a little, so that some pairs near a threshold fall otherwise.
    wanted, kinds = best_detections(*_run(detector, image))
    np.testing.assert_allclose(dets[0, :, 4], wanted[0, :, 4], atol=2e-2)
    met = [_has(box, kind, dets[0], labels[0], 1.0, 1e-3) for box, kind in zip(wanted[0], kinds[0], strict=True)]
    assert np.mean(met) >= 0.9


def _run(detector: RetinaNet, image: Array) -> tuple[Array, Array]:
    with torch.inference_mode():
        boxes, scores = detector(torch.from_numpy(image))
    return boxes.numpy(), scores.numpy()


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _onnxruntime(graph: onnx.ModelProto, images: Array) -> tuple[Array, Array]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    dets, labels = session.run(["dets", "labels"], {"input": images})
    return dets, labels


def _openvino(graph: onnx.ModelProto, images: Array) -> tuple[Array, Array]:
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(graph.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    result = compiled([np.ascontiguousarray(images)])
    return np.array(result["dets"]), np.array(result["labels"])


def _assert_near(got: Array, want: Array) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * float(np.abs(want).max()))


def _assert_same_boxes(got: tuple[Array, Array], want: tuple[Array, Array]) -> None:
    """Same scores in order, same boxes; boxes whose scores differ by rounding only may change places."""
    np.testing.assert_allclose(got[0][:, 4], want[0][:, 4], atol=1e-4)
    assert (got[1] == tail.NO_LABEL).sum() == (want[1] == tail.NO_LABEL).sum()
    for box, label in zip(*want, strict=True):
        assert _has(box, label, *got, 1e-2, 1e-4), f"{label} {box} is missing"


def _has(box: Array, label: int, dets: Array, labels: Array, pixels: float, score: float) -> bool:
    near = (labels == label) & (np.abs(dets[:, 4] - box[4]) <= score)
    return bool((near & (np.abs(dets[:, :4] - box[:4]) <= pixels).all(-1)).any())
