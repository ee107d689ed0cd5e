"""A range of shapes: what it spells, a run for each, and the counts at the end."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from modelport.ais_bench.__main__ import main
from modelport.ais_bench.shape_ranges import shapes_of


def test_the_sizes_that_a_range_spells() -> None:
    shapes = shapes_of("x:1~2,3,224-300,10~20~5;y:7")
    assert len(shapes) == 2 * 2 * 3
    assert shapes[0] == (("x", (1, 3, 224, 10)), ("y", (7,)))
    assert shapes[-1] == (("x", (2, 3, 300, 20)), ("y", (7,)))


@pytest.mark.parametrize(
    "word", ["x:1,3,0", "x:5~2", "1,3", "x:1;x:2", "x:1~99999999", "x:" + "1~99," * 3 + "1~99", "x:a", "x:1~2~0", ":1"]
)
def test_what_is_no_range_is_refused(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        shapes_of(word)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Runs any height but that its width must be a multiple of four."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [-1, 4])
    nodes = [helper.make_node("Reshape", ["x", "s"], ["f"]), helper.make_node("Relu", ["f"], ["y"])]
    made = helper.make_graph(nodes, "g", [x], [y], [shape])
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


def test_a_line_for_each_shape_and_the_counts(graph: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(graph), "--engine", "onnxruntime", "--dymShape_range", "x:1~2,3,5,3-4"]
    assert main(words) == 0
    told = "".join(capfd.readouterr())
    assert "run_count:4 success_count:2" in told
    assert told.count("result:OK throughput") == told.count("result:Failed throughput") == 2
    assert "0 dymshape:x:" in told and "3 dymshape:x:" in told


def test_where_none_succeeds_it_is_an_error(graph: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(graph), "--engine", "onnxruntime", "--dymShape_range", "z:1,3,5~6,4"]
    assert main(words) == 2
    assert "none of the 2 shapes" in "".join(capfd.readouterr())
