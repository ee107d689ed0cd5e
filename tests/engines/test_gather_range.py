"""Constant indices outside of a Gather's axis are refused on every engine; those inside are served."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from modelport.core.errors import EngineError
from modelport.engines.base import Build
from modelport.engines.registry import get_engine, model_artifact, opened

X = np.array([[1.0, 2.0, 3.0]], np.float32)


def _graph(path: Path, indices: list[int]) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", len(indices)])
    constant = helper.make_tensor("i", TensorProto.INT64, [len(indices)], indices)
    graph = helper.make_graph([helper.make_node("Gather", ["x", "i"], ["y"], axis=1)], "g", [x], [y], [constant])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("indices", "served"), [([0, 2], True), ([-3, -1], True), ([0, 3], False), ([-4, 0], False)])
def test_indices_are_held_against_the_axis(tmp_path: Path, engine: str, indices: list[int], served: bool) -> None:
    model = model_artifact(_graph(tmp_path / "g.onnx", indices))
    options = Build(precision=None, batch=1)
    if served:
        with opened(get_engine(engine), model, options) as runner:
            assert np.array_equal(runner.run({"x": X})["y"], X[:, indices])
        return
    with pytest.raises(EngineError), opened(get_engine(engine), model, options) as runner:
        runner.run({"x": X})
