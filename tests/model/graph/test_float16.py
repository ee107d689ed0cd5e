"""Conversion to float16, held against NumPy's float16, and the float32 twin that answers as it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from modelport.core.errors import GraphError
from modelport.core.values import Array
from modelport.model.graph.file import precision_of
from modelport.model.graph.float16 import to_float16
from modelport.model.graph.float16_twin import leaves_in_float16, rounded_twin

RNG = np.random.default_rng(5)
W = RNG.standard_normal((4, 4)).astype(np.float32)
FACTOR = np.array([100.0], np.float32)
X = RNG.standard_normal((3, 4)).astype(np.float32)


def _model(nodes: list[onnx.NodeProto], weights: dict[str, Array], **inputs: Any) -> onnx.ModelProto:
    shapes = inputs or {"x": (3, 4), "y": (3, 4)}
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    initialisers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _plain() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "product"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Mul", ["b", "f"], ["y"], "scale"),
    ]
    return _model(nodes, {"w": W, "f": FACTOR})


def _run(model: onnx.ModelProto, x: Array = X) -> Array:
    with np.errstate(over="ignore"):
        answers: Any = ReferenceEvaluator(model).run(None, {"x": x})
    answer: Array = answers[0]
    return answer


def _by_hand(x: Array) -> Array:
    """The same three steps in NumPy: products summed in float32, every result rounded to float16."""
    half = np.float16
    with np.errstate(over="ignore"):
        product = (x.astype(half).astype(np.float32) @ W.astype(half).astype(np.float32)).astype(half)
        answer: Array = (np.maximum(product, half(0)) * FACTOR.astype(half)).astype(np.float32)
    return answer


def _dtypes(model: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}


def test_weights_and_activations_are_half_inputs_and_outputs_are_not() -> None:
    done = to_float16(_plain())
    kinds = _dtypes(done.model)
    assert (kinds["x"], kinds["y"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert (kinds["a"], kinds["b"]) == (TensorProto.FLOAT16, TensorProto.FLOAT16)
    assert {tensor.data_type for tensor in done.model.graph.initializer} == {TensorProto.FLOAT16}
    assert precision_of(done.model) == "fp16"
    assert done.kept == ()
    np.testing.assert_allclose(_run(done.model), _by_hand(X), rtol=2e-3)
    assert np.abs(_run(done.model) - _run(_plain())).max() > 0


def test_a_blocked_node_computes_in_float32_between_casts() -> None:
    done = to_float16(_plain(), ["relu"])
    assert done.kept == ("relu",)
    assert "relu" in " ".join(done.notes)
    relu = next(node for node in done.model.graph.node if node.name == "relu")
    kinds = _dtypes(done.model)
    assert (kinds[relu.input[0]], kinds[relu.output[0]]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert sum(node.op_type == "Cast" for node in done.model.graph.node) == 4  # in, to relu, from relu, out
    product = next(node for node in done.model.graph.node if node.name == "product")
    assert kinds[product.output[0]] == TensorProto.FLOAT16


def test_with_all_blocked_nothing_changes() -> None:
    names = [node.name for node in _plain().graph.node]
    done = to_float16(_plain(), names)
    np.testing.assert_array_equal(_run(done.model), _run(_plain()))
    assert {tensor.data_type for tensor in done.model.graph.initializer} == {TensorProto.FLOAT}


def test_a_weight_that_two_precisions_want_is_there_twice() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "one"),
        helper.make_node("MatMul", ["a", "w"], ["y"], "two"),
    ]
    done = to_float16(_model(nodes, {"w": W}), ["two"])
    kinds = sorted(tensor.data_type for tensor in done.model.graph.initializer)
    assert kinds == sorted([TensorProto.FLOAT, TensorProto.FLOAT16])


def test_a_constant_beyond_the_range_stays_and_is_said() -> None:
    nodes = [
        helper.make_node("Constant", [], ["big"], "big", value=numpy_helper.from_array(np.array([1e6], np.float32))),
        helper.make_node("Mul", ["x", "far"], ["a"], "far"),
        helper.make_node("Mul", ["a", "big"], ["b"], "near"),
        helper.make_node("MatMul", ["b", "w"], ["y"], "product"),
    ]
    done = to_float16(_model(nodes, {"w": W, "far": np.array([7e4], np.float32)}))
    assert "'far' stays in float32: 'far' reaches 7e+04" in done.notes
    assert {"far", "big"} <= set(done.kept)
    tiny = to_float16(_model(_plain().graph.node[:], {"w": W * 1e-9, "f": FACTOR}))
    assert any("became zero" in note for note in tiny.notes)


def test_an_operator_keeps_what_it_takes_in_float32_only() -> None:
    shapes = {"x": (1, 2, 3, 3), "y": (1, 2, 6, 6)}
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "relu"),
        helper.make_node("Resize", ["a", "", "scales"], ["y"], "resize", mode="nearest"),
    ]
    done = to_float16(_model(nodes, {"scales": np.array([1, 1, 2, 2], np.float32)}, **shapes))
    kinds = {tensor.name: tensor.data_type for tensor in done.model.graph.initializer}
    assert kinds == {"scales": TensorProto.FLOAT}
    resize = next(node for node in done.model.graph.node if node.name == "resize")
    assert _dtypes(done.model)[resize.output[0]] == TensorProto.FLOAT16


def test_control_flow_is_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["out"])],
        "b",
        [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (3, 4))],
    )
    condition = numpy_helper.from_array(np.array(True), "c")
    nodes = [helper.make_node("If", ["c"], ["y"], "fork", then_branch=branch, else_branch=branch)]
    model = _model(nodes, {})
    model.graph.initializer.append(condition)
    with pytest.raises(GraphError, match="control flow"):
        to_float16(model)


def test_a_graph_too_large_for_inference_has_no_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise ValueError("the message is larger than 2 GB")  # as onnx says it

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", refused)
    with pytest.raises(GraphError, match="types of the float16 graph cannot be inferred"):
        rounded_twin(onnx.ModelProto())


def test_the_twin_rounds_and_overflows_as_float16_does() -> None:
    half = to_float16(_plain()).model
    twin = rounded_twin(half)
    assert not leaves_in_float16(half)
    assert {tensor.data_type for tensor in twin.graph.initializer} == {TensorProto.FLOAT}
    x = X.copy()
    x[0] = np.abs(x[0]) * 3e3  # beyond 65504 once it is multiplied
    want = _by_hand(x)
    assert np.isinf(want).any()
    np.testing.assert_array_equal(np.isinf(_run(twin, x)), np.isinf(want))
    finite = np.isfinite(want)
    np.testing.assert_allclose(_run(twin, x)[finite], want[finite], rtol=2e-3)
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(twin.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(np.isinf(session.run(None, {"x": x})[0]), np.isinf(want))
