"""``modelport diff``: two files or two engines, on the same inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from modelport.engines.base import Build, Launch
from modelport.engines.null import NullEngine
from modelport.engines.registry import model_artifact

Call = Callable[..., Any]
IMAGE = ["N", 3, 8, 8]


def _file(path: Path, seed: str = "0a", inputs: Any = None, outputs: Any = None) -> Path:
    """Write a model of the null engine."""
    sides = {"inputs": inputs or [["x", "float32", IMAGE]], "outputs": outputs or [["y", "float32", ["N", 10]]]}
    path.write_text(json.dumps({"schema": "modelport.null/1", "seed": seed * 8, "of": path.name} | sides))
    return path


def test_two_files_of_the_same_answers_are_within(call: Call, tmp_path: Path) -> None:
    words = ["diff", _file(tmp_path / "a.null"), _file(tmp_path / "b.null"), "--engine", "null"]
    answer = call(*words, "--json")
    assert answer.code == 0 and answer.json["within"] and answer.json["schema"] == "modelport.diff/1"
    row = answer.json["outputs"][0]
    assert row["max_abs"] == 0 and row["cosine"] == pytest.approx(1) and row["argmax"] == 100
    assert answer.json["inputs"]["shapes"] == {"x": [1, 3, 8, 8]} and answer.json["inputs"]["count"] == 4
    assert "(1, 3, 8, 8) was chosen" in answer.json["notes"][0]
    assert call(*words, "-q").out == "within the tolerance\n"


def test_figures_are_those_of_the_two_answers(call: Call, tmp_path: Path) -> None:
    a, b = _file(tmp_path / "a.null"), _file(tmp_path / "b.null", "0b")
    fed = np.random.default_rng(3).normal(size=(5, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "in.npz", x=fed)
    answer = call("diff", a, b, "--engine", "null", "--inputs", tmp_path / "in.npz", "--json")
    assert answer.code == 1 and not answer.json["within"]
    answers = []
    for path in (a, b):
        with NullEngine().open(model_artifact(path), Build(), Launch()) as runner:
            answers.append(runner.run({"x": fed})["y"].astype(np.float64))
    want, got = answers
    row = answer.json["outputs"][0]
    assert row["max_abs"] == np.abs(got - want).max() and row["allowed"] == pytest.approx(1e-4 * np.abs(want).max())
    assert row["argmax"] == 100 * np.mean(got.argmax(1) == want.argmax(1))
    assert answer.json["inputs"]["kind"] == "file"
    wide = call("diff", a, b, "--engine", "null", "--inputs", tmp_path / "in.npz", "--atol", row["max_abs"], "--json")
    assert wide.code == 0 and wide.json["tolerance"]["atol"] == row["max_abs"]


def test_outputs_of_other_names_pair_by_position_and_that_is_said(call: Call, tmp_path: Path) -> None:
    a, b = _file(tmp_path / "a.null"), _file(tmp_path / "b.null", outputs=[["z", "float32", ["N", 10]]])
    answer = call("diff", a, b, "--engine", "null", "--json")
    assert answer.json["outputs"][0]["paired_by"] == "position"
    assert any("'y' is held beside 'z'" in note for note in answer.json["notes"])


def test_images_of_a_folder_are_resized_and_that_is_said(call: Call, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    Image.fromarray(pixels).resize((31, 20)).save(tmp_path / "images" / "b.png")
    a, b = _file(tmp_path / "a.null"), _file(tmp_path / "b.null", "0b")
    answer = call("diff", a, b, "--engine", "null", "--data", tmp_path / "images", "--json")
    told = answer.json["inputs"]
    assert told["count"] == 2 and "2 of 2 images" in told["about"] and "divided by 255" in told["about"]
    # An image of the input's size is given pixel for pixel, channels first.
    np.savez(tmp_path / "in.npz", x=(pixels.transpose(2, 0, 1)[None] / np.float32(255)))
    (tmp_path / "images" / "b.png").unlink()
    alone = call("diff", a, b, "--engine", "null", "--data", tmp_path / "images", "--json").json["outputs"]
    given = call("diff", a, b, "--engine", "null", "--inputs", tmp_path / "in.npz", "--json").json["outputs"]
    assert alone == given


def test_the_same_seed_draws_the_same_inputs(call: Call, tmp_path: Path) -> None:
    words = ["diff", _file(tmp_path / "a.null"), _file(tmp_path / "b.null", "0b"), "--engine", "null", "--json"]
    drawn = [call(*words, "--random", 3, "--seed", seed).json["outputs"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_bad_input_is_one_message(call: Call, tmp_path: Path) -> None:
    a = _file(tmp_path / "a.null")
    two = _file(tmp_path / "two.null", outputs=[["p", "float32", ["N", 10]], ["q", "float32", ["N", 10]]])
    np.savez(tmp_path / "name.npz", z=np.zeros((1, 3, 8, 8), np.float32))
    np.savez(tmp_path / "shape.npz", x=np.zeros((1, 3, 8, 9), np.float32))
    np.savez(tmp_path / "dtype.npz", x=np.zeros((1, 3, 8, 8)))
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], dtype=object))
    (tmp_path / "junk.npz").write_text("no archive")
    null = ("--engine", "null")
    b = _file(tmp_path / "b.null")
    for words, found in (
        ((a, tmp_path / "none.null", *null), f"{tmp_path / 'none.null'}: no such file"),
        ((a, a, *null), f"{a} on null would be held against itself"),
        ((a, *null), "would be held against itself"),
        ((a, two, *null), "the outputs do not pair"),
        ((a, b, "--engine", "onnxruntime"), "the engine 'onnxruntime' runs onnx, not null"),
        ((a, b, "--engine", "ascend"), "the engine 'ascend' is not usable here"),
        ((a, b, "--engine", "nul"), "no engine named 'nul'"),
        ((a, b, "--engine", "null,null,null"), "two engines at most"),
        ((a, b, *null, "--shape", "y:1,3,8,8"), "no input named 'y'"),
        ((a, b, *null, "--shape", "x:1,3"), "--shape x:1,3"),
        ((a, b, *null, "--inputs", tmp_path / "none.npz"), "none.npz: No such file"),
        ((a, b, *null, "--inputs", tmp_path / "name.npz"), "name.npz: holds z, the inputs are x"),
        ((a, b, *null, "--inputs", tmp_path / "shape.npz"), "shape.npz: 'x' is float32 (1, 3, 8, 9)"),
        ((a, b, *null, "--inputs", tmp_path / "dtype.npz"), "dtype.npz: 'x' is float64"),
        ((a, b, *null, "--inputs", tmp_path / "pickle.npz"), "pickle.npz: cannot be read"),
        ((a, b, *null, "--inputs", tmp_path / "junk.npz"), "junk.npz: cannot be read"),
        ((a, b, *null, "--data", tmp_path / "nowhere"), "nowhere"),
        ((a, b, *null, "--data", tmp_path, "--random", 2), "--data and --random both say"),
        ((a, b, *null, "--random", 0), "--random 0"),
        ((a, b, *null, "--atol", -1), "--atol -1"),
        ((a, b, *null, "--atol", "nan"), "--atol nan"),
    ):
        call("diff", *words).refused(found)


def _conv(path: Path, shift: float = 0.0) -> Path:
    """Write a graph whose height and width are free: a convolution and the mean of each channel."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    weights[0, 0, 0, 0] += shift
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["y"])],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 1, 1])],
        [numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_one_file_on_two_engines_and_a_weight_that_is_another(call: Call, tmp_path: Path) -> None:
    right, wrong = _conv(tmp_path / "right.onnx"), _conv(tmp_path / "wrong.onnx", 0.01)
    answer = call("diff", right, "--json")
    assert answer.code == 0, answer
    assert (answer.json["a"]["engine"], answer.json["b"]["engine"]) == ("onnxruntime", "openvino")
    assert answer.json["tolerance"]["share_of_largest"] == 1e-4
    assert call("diff", right, wrong, "--engine", "onnxruntime").code == 1
    told = call("diff", right, wrong, "--engine", "onnxruntime,openvino", "--shape", "x:2,3,16,20", "--json").json
    assert told["inputs"]["shapes"] == {"x": [2, 3, 16, 20]} and not told["notes"] and not told["within"]
