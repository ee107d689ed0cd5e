"""Small models for the tests of ais_bench, and what numpy says that they compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelport.core.values import Array

WEIGHTS = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)


def save_model(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "small", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def tensor(name: str, kind: int, *shape: int | str | None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def linear(path: Path, batch: int | str | None) -> Path:
    """Float32 (batch, 3, 2, 2) → scores float32 (batch, 5) and best int64 (batch, 1)."""
    return save_model(
        path,
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["best"], axis=1),
        ],
        [tensor("x", TensorProto.FLOAT, batch, 3, 2, 2)],
        [tensor("scores", TensorProto.FLOAT, batch, 5), tensor("best", TensorProto.INT64, batch, 1)],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )


def linear_by_numpy(images: Array) -> tuple[Array, Array]:
    scores = images.reshape(len(images), -1) @ WEIGHTS
    return scores, scores.argmax(axis=1)[:, None]


def two_inputs(path: Path, batch: int) -> Path:
    """Uint8 bytes (batch, 4) and float32 scale (batch, 2) → float32 (2, batch, 2): each half of the bytes × scale."""
    halves = numpy_helper.from_array(np.array([2, 2], np.int64), "halves")
    return save_model(
        path,
        [
            helper.make_node("Cast", ["bytes"], ["wide"], to=TensorProto.FLOAT),
            helper.make_node("Split", ["wide", "halves"], ["left", "right"], axis=1),
            helper.make_node("Mul", ["left", "scale"], ["once"]),
            helper.make_node("Mul", ["right", "scale"], ["again"]),
            helper.make_node("Unsqueeze", ["once", "zero"], ["a"]),
            helper.make_node("Unsqueeze", ["again", "zero"], ["b"]),
            helper.make_node("Concat", ["a", "b"], ["y"], axis=0),
        ],
        [tensor("bytes", TensorProto.UINT8, batch, 4), tensor("scale", TensorProto.FLOAT, batch, 2)],
        [tensor("y", TensorProto.FLOAT, 2, batch, 2)],
        [halves, numpy_helper.from_array(np.array([0], np.int64), "zero")],
    )


def sums(path: Path, *shape: int | str) -> Path:
    """Float32 of ``shape`` (batch, channels, height, width) → float32 (batch, channels): the mean of each channel."""
    return save_model(
        path,
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
        [tensor("x", TensorProto.FLOAT, *shape)],
        [tensor("y", TensorProto.FLOAT, *shape[:2])],
        [],
    )
