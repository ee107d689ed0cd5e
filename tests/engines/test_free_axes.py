"""Free axes that share a symbol: only the batch's is ever fixed, on every engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from modelport.engines.base import Build
from modelport.engines.registry import get_engine, model_artifact, opened


def _mean(path: Path, *shapes: tuple[int | str, ...]) -> Path:
    """Inputs of these shapes, and the mean of each row of each."""
    nodes, inputs, outputs = [], [], []
    for index, shape in enumerate(shapes):
        nodes.append(helper.make_node("ReduceMean", [f"x{index}"], [f"y{index}"], axes=[1, 2, 3], keepdims=0))
        inputs.append(helper.make_tensor_value_info(f"x{index}", TensorProto.FLOAT, shape))
        outputs.append(helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, (None,)))
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    save(model, str(path))
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    "shapes", [[("N", 3, "N", 8)], [("N", 3, "N", "N")], [("N", 1, 6, 8), ("M", 1, "N", 8)], [("N", 3, "H", 8)]]
)
def test_an_axis_that_is_not_the_batchs_is_never_fixed_to_it(
    engine: str, shapes: list[tuple[int | str, ...]], tmp_path: Path
) -> None:
    path = _mean(tmp_path / "m.onnx", *shapes)
    inputs = {
        f"x{index}": np.random.default_rng(index)
        .standard_normal([2, *(6 if isinstance(axis, str) else axis for axis in shape[1:])])
        .astype(np.float32)
        for index, shape in enumerate(shapes)
    }
    with opened(get_engine(engine), model_artifact(path), Build(precision=None, batch=2)) as runner:
        got = runner.run(inputs)
    for index in range(len(shapes)):
        np.testing.assert_allclose(got[f"y{index}"], inputs[f"x{index}"].mean((1, 2, 3)), atol=1e-5)
