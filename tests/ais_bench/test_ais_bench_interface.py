"""``InferSession`` under ais_bench's names: its answers are the model's, and nothing is reinterpreted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ais_bench_models import linear, linear_by_numpy, sums, two_inputs

from modelport.ais_bench.infer.interface import InferSession, MemorySummary
from modelport.core.errors import EngineError, SignatureError, UsageError

ENGINES = ["onnxruntime", "openvino"]


def _images(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_script_of_the_catalogue_runs(engine: str, tmp_path: Path) -> None:
    session = InferSession(0, str(linear(tmp_path / "m.onnx", 2)), loop=3, engine=engine)
    images = _images(2, 3, 2, 2)
    strided = torch.from_numpy(images.transpose(0, 3, 2, 1).copy()).permute(0, 3, 2, 1)
    assert not strided.is_contiguous()
    for feed in (images, np.asfortranarray(images), torch.from_numpy(images), strided):
        scores, best = session.infer([feed], "static", custom_sizes=1000)
        np.testing.assert_allclose(scores, linear_by_numpy(images)[0], rtol=1e-5)
        np.testing.assert_array_equal(best, linear_by_numpy(images)[1])
    (described,) = session.get_inputs()
    assert (described.name, described.shape, described.datatype) == ("x", [2, 3, 2, 2], "float32")
    assert described.size == described.realsize == 96 and described.format == "NCHW"
    assert [(out.name, out.size) for out in session.get_outputs()] == [("scores", 40), ("best", 16)]
    times = session.sumary().exec_time_list
    assert times == session.summary().exec_time_list
    assert len(times) == 12 and all(start < end for start, end in times)
    session.reset_summaryinfo()
    assert not session.summary().exec_time_list and not MemorySummary.get_h2d_time_list()
    assert len(session.infer_pipeline([[images], [images]])) == 2
    session.free_resource()
    session.free_resource()
    InferSession.finalize()
    with pytest.raises(EngineError, match="freed"):
        session.infer([images])


@pytest.mark.parametrize("engine", ENGINES)
def test_free_axes_take_each_arrays_size(engine: str, tmp_path: Path) -> None:
    session = InferSession(0, str(sums(tmp_path / "m.onnx", "n", 3, "h", "w")), engine=engine)
    assert session.get_inputs()[0].shape == [-1, 3, -1, -1] and session.get_inputs()[0].size == 0
    for mode, shape in (("dymbatch", (4, 3, 2, 2)), ("dymhw", (1, 3, 5, 7)), ("dymshape", (2, 3, 4, 6))):
        array = _images(*shape)
        np.testing.assert_allclose(session.infer([array], mode)[0], array.mean((2, 3)), atol=1e-5)
    session.set_dynamic_hw(5, 7)
    session.run([_images(1, 3, 5, 7)], out_array=True)
    with pytest.raises(SignatureError, match="was set"):
        session.run([_images(1, 3, 7, 5)])
    session.set_dynamic_shape("x:2,3,4,4")
    with pytest.raises(SignatureError, match="was set"):
        session.run([_images(1, 3, 4, 4)])
    session.set_staticbatch()
    session.run([_images(1, 3, 7, 5)])
    for wrong in ("x:2,4,4,4", "x:2,3,4", "y:1", "x:a"):
        with pytest.raises(UsageError):
            session.set_dynamic_dims(wrong)


@pytest.mark.parametrize(
    ("feeds", "word"),
    [
        ([_images(2, 3, 2, 2).astype(np.float64)], "float64"),
        ([_images(2, 3, 2, 2).astype(np.float16)], "float16"),
        ([_images(24)], "24"),
        ([_images(1, 3, 2, 2)], "want float32"),
        ([], "0 arrays for 1 inputs"),
        ([[1.0]], "list is no array"),
        ([torch.zeros(2, 3, 2, 2, dtype=torch.bfloat16)], "bfloat16"),
    ],
)
def test_nothing_is_reinterpreted(feeds: list[Any], word: str, tmp_path: Path) -> None:
    session = InferSession(0, str(linear(tmp_path / "m.onnx", 2)), engine="onnxruntime")
    with pytest.raises(SignatureError, match=word):
        session.infer(feeds)


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    model = str(two_inputs(tmp_path / "m.onnx", 2))
    with pytest.raises(UsageError, match="device 0 alone"):
        InferSession(1, model)
    with pytest.raises(UsageError, match="acl_json_path"):
        InferSession(0, model, acl_json_path="acl.json")
    with pytest.raises(UsageError, match="no such file"):
        InferSession(0, str(tmp_path / "none.onnx"))
    session = InferSession(0, model, engine="onnxruntime")
    with pytest.raises(UsageError, match="batch is fixed"):
        session.set_dynamic_batchsize(4)
    with pytest.raises(UsageError, match="no mode"):
        session.infer([], "dynamic")
