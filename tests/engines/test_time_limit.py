"""A run without end is ended, by the clock and by Ctrl-C, with one clear error; other runs are left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from modelport.core.errors import UsageError
from modelport.engines.time_limit import limit_runs


def endless(path: Path) -> Path:
    """Float32 (1, 4) → (1, 4), after more additions than anyone can wait for."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["go_on"]), helper.make_node("Add", ["v", "v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 4]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "yes", "x"], ["y"], body=body)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [
            numpy_helper.from_array(np.array(2**62, np.int64), "times"),
            numpy_helper.from_array(np.array(True), "yes"),
        ],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def _started(engine: str, model: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "modelport.ais_bench", "--model", str(model), "--engine", engine, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_run_without_end_is_stopped(engine: str, tmp_path: Path) -> None:
    process = _started(engine, endless(tmp_path / "m.onnx"), "--timeout", "0.5")
    try:
        _, said = process.communicate(timeout=40)
    finally:
        process.kill()
    assert process.returncode == 2 and "longer than 0.5 s" in said and "Traceback" not in said


@pytest.mark.slow
def test_ctrl_c_ends_a_run_that_is_inside_the_engine(tmp_path: Path) -> None:
    process = _started("onnxruntime", endless(tmp_path / "m.onnx"))
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "try get model batchsize" in line:
                break
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130 and "interrupted" in said and "Traceback" not in said


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_is_a_time(seconds: float) -> None:
    with pytest.raises(UsageError, match="--timeout"):
        limit_runs(seconds)
