"""Bad input: one clear message, exit 2, and what was complete stays and is said to be partial."""

# The fixtures come from the other file.
# ruff: noqa: F401, F811

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ais_bench_models import linear, save_model, tensor, two_inputs
from onnx import TensorProto, helper, save
from test_ais_bench_files import Tool, contents, images, summary, tool

from modelport.ais_bench.outputs import whole_file
from modelport.ais_bench.session import Session
from modelport.core.errors import OutputError
from modelport.core.values import Array


@pytest.fixture
def model(tool: Tool) -> Path:
    return linear(Path("m.onnx"), 2)


def _write(name: str, content: bytes | Array) -> None:
    path = Path("in") / name
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content)


IMAGE = np.ones((3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bin", b"", "a.bin: holds 0 bytes"),
        ("a.bin", IMAGE.tobytes()[:-1], "do not divide"),
        ("a.bin", np.ones(60, np.float32).tobytes(), "it holds 5 rows"),
        ("a.npy", IMAGE[:2], "do not divide"),
        ("a.npy", IMAGE.astype(np.float64), "holds float64"),
        ("a.npy", IMAGE.astype(">f4"), "holds >f4"),
        ("a.npy", IMAGE.reshape(2, 3, 2), "shape (2, 3, 2)"),
        ("a.npy", np.array([{}], object), "cannot be read"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("a.npy", b"", "cannot be read"),
    ],
)
def test_a_file_that_does_not_fit(tool: Tool, model: Path, name: str, content: Any, message: str) -> None:
    _write(name, content)
    for more in ((), ("--pipeline", 1)):
        tool("-m", model, "-i", "in", "-o", "out", *more).refused(f"in/{name}", message)
        assert not any(Path("out").glob("*")) if Path("out").exists() else True


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        ("-i none", ["none", "no such file"]),
        ("-i in/s0.bin,in", ["a folder among files"]),
        ("-i in,in", ["2 folders", "give 1"]),
        ("-i empty", ["holds no .bin or .npy"]),
        ("-i in/s0.bin,in/s0.bin -o out", ["in/s0.bin and in/s0.bin", "s0_0"]),
        ("-i in/s1.x.bin,in/s1.y.bin -o out", ["in/s1.x.bin and in/s1.y.bin", "s1_0"]),
        ("--engine torch", ["not onnx"]),
        ("--engine openvin", ["did you mean 'openvino'"]),
        ("--device 1", ["device 0 alone", "'ascend'"]),
        ("--device 0,1", ["device 0 alone", "'ascend'"]),
        ("--profiler 1", ["--profiler", "'openvino'", "'ascend'"]),
        ("--dump 1 -o out", ["--dump", "'ascend'"]),
        ("--acl_json_path a.json", ["--acl_json_path", "'ascend'"]),
        ("--aipp_config a.config", ["--aipp_config", "'ascend'"]),
        ("--energy_consumption 1", ["--energy_consumption", "'ascend'"]),
        ("--npu_id 3", ["--npu_id", "'ascend'"]),
        ("--backend trtexec", ["--backend", "'ascend'"]),
        ("--perf 1", ["--perf", "'ascend'"]),
        ("--dymShape_range x:2~1,3,2,2", ["--dymShape_range", "2~1"]),
        ("-o m.onnx", ["m.onnx", "cannot be written"]),
        ("-o out --output_dirname link/a", ["leads out of out"]),
    ],
)
def test_a_call_that_cannot_be_served(tool: Tool, model: Path, images: Array, words: str, messages: list[str]) -> None:
    Path("empty/deeper").mkdir(parents=True)
    for name in ("in/s1.x.bin", "in/s1.y.bin"):
        Path(name).write_bytes(images[0].tobytes())
    Path("out").mkdir()
    Path("out/link").symlink_to(Path("empty").absolute())
    tool("-m", model, *words.split()).refused(*messages)
    assert not list(Path("empty").glob("a*")) and len(list(Path("out").iterdir())) == 1


def test_unequal_numbers_of_files(tool: Tool) -> None:
    two_inputs(Path("m.onnx"), 1)
    for folder, width, count in (("a", 4, 3), ("b", 8, 2)):
        Path(folder).mkdir()
        for index in range(count):
            Path(f"{folder}/{index}.bin").write_bytes(bytes(width))
    tool("-m", "m.onnx", "-i", "a,b").refused("3 from a, 2 from b")
    tool("-m", "m.onnx", "-i", "a/0.bin,a/1.bin,b/0.bin").refused("3 files for 2 model inputs")
    Path("b/2.bin").write_bytes(bytes(4))
    assert "b/2.bin" in tool("-m", "m.onnx", "-i", "a,b").err


@pytest.mark.parametrize("name", ["m.onnx", "m.xml", "m.om", "m.bin"])
def test_a_model_that_is_missing_damaged_or_unknown(tool: Tool, name: str) -> None:
    tool("--model", name).refused(name, "no such model file")
    Path(name).write_bytes(b"nothing of the kind")
    tool("--model", name).refused(name)


def test_an_om_file_needs_a_device_and_says_so(tool: Tool) -> None:
    Path("moco-v2-atc-1.om").write_bytes(b"om")
    ran = tool("--model", "moco-v2-atc-1")
    ran.refused("moco-v2-atc-1.om", "'ascend' is not usable", "pip install")
    assert "moco-v2-atc-1 does not exist: moco-v2-atc-1.om taken" in ran.out


def test_a_type_that_no_file_holds(tool: Tool) -> None:
    words = helper.make_tensor_value_info("x", TensorProto.STRING, [1])
    same = helper.make_tensor_value_info("y", TensorProto.STRING, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [words], [same])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "m.onnx")
    tool("-m", "m.onnx", "--engine", "onnxruntime").refused("m.onnx", "no .bin or .npy file holds")


def test_a_model_without_inputs(tool: Tool) -> None:
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    one = helper.make_node("ConstantOfShape", ["two"], ["y"])
    two = helper.make_tensor("two", TensorProto.INT64, [1], [2])
    graph = helper.make_graph([one], "g", [], [value], [two])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "m.onnx")
    tool("-m", "m.onnx", "--engine", "onnxruntime").refused("m.onnx", "no inputs")


@pytest.mark.parametrize("more", [(), ("--pipeline", 1), ("--threads", 3)])
@pytest.mark.parametrize("harm", ["gone", "short", "pipe"])
def test_a_bad_file_in_the_middle_leaves_what_was_done(
    tool: Tool,
    model: Path,
    images: Array,
    more: tuple[object, ...],
    harm: str,
) -> None:
    tool("-m", model, "-i", "in", "-o", "out", "--output_dirname", "whole")
    bad = Path("in/s9.bin")
    bad.unlink()
    if harm == "gone":
        bad.symlink_to("nowhere")
    elif harm == "short":
        bad.write_bytes(images[9].tobytes()[:20])
    else:
        os.mkfifo(bad)
    ran = tool("-m", model, "-i", "in", "-o", "out", "--output_dirname", "r", *more)
    ran.refused("in/s9.bin", {"gone": "cannot be read", "short": "20 bytes", "pipe": "no plain file"}[harm])
    assert "out/r_summary.json says partial" in ran.out and "[INFO] throughput" not in ran.out
    told, left, whole = summary(), contents("out/r"), contents("out/whole")
    assert told["modelport"]["partial"] and any("in/s9.bin" in note for note in told["modelport"]["notes"])
    # Batches are pairs: the first four, and where runs overlap perhaps some that came after the bad one.
    assert {f"s{index}_{output}.bin" for index in range(8) for output in range(2)} <= set(left)
    assert not {"s8_0.bin", "s9_0.bin"} & set(left)
    assert all(left[name] == whole[name] for name in left)
    outfiles = [file for entry in told["filesinfo"].values() for file in entry["outfiles"]]
    assert sorted(outfiles) == sorted(f"out/r/{name}" for name in left)


def test_an_interrupt_leaves_whole_files(
    tool: Tool,
    model: Path,
    images: Array,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute, calls = Session._execute, iter(range(99))

    def interrupted(self: Session, filled: Any) -> Any:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return execute(self, filled)

    monkeypatch.setattr(Session, "_execute", interrupted)
    ran = tool("-m", model, "-i", "in", "-o", "out", "--output_dirname", "r")
    assert ran.code == 130 and "whole" in ran.err and summary()["modelport"]["partial"]
    assert set(contents("out/r")) == {f"s{index}_{output}.bin" for index in range(6) for output in range(2)}


def test_a_full_disk_is_one_message_and_no_half_file(
    tool: Tool,
    model: Path,
    images: Array,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Path.write_bytes

    def full(self: Path, content: Any) -> int:
        if "s7_1" in self.name:
            write(self, content[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    tool("-m", model, "-i", "in", "-o", "out", "--output_dirname", "r").refused("s7_1.bin cannot be written")
    left = contents("out/r")
    assert "s7_1.bin" not in left and not [name for name in left if name.startswith(".")]
    assert summary()["modelport"]["partial"]


def test_a_result_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputError, match="a cannot be written"):
        whole_file(tmp_path / "a", b"12")
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_folders_inside_and_other_files_are_passed_over_and_said(tool: Tool, model: Path, images: Array) -> None:
    Path("in/deep.bin").mkdir()
    Path("in/labels.txt").write_text("0")
    ran = tool("-m", model, "-i", "in", "-o", "out", "--output_dirname", "r")
    assert ran.code == 0 and "in: 2 names passed over" in ran.out and len(contents("out/r")) == 34


@pytest.mark.slow
def test_whoever_stops_reading_the_log_stops_nothing(tmp_path: Path, model: Path, images: Array) -> None:
    words = [sys.executable, "-m", "modelport.ais_bench", "-m", "m.onnx", "-i", "in", "-o", "out", "--debug", "1"]
    with subprocess.Popen(
        [*words, "--output_dirname", "r"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)
    assert len(contents("out/r")) == 34


STAND_IN = """
import numpy as np
class Tensor:
    def __init__(self, name, datatype, shape):
        self.name, self.datatype, self.shape, self.format = name, datatype, shape, "ND"
class MemorySummary:
    reset = staticmethod(lambda: None)
    get_h2d_time_list = staticmethod(lambda: [2.0])
    get_d2h_time_list = staticmethod(lambda: [3.0])
class Summary:
    exec_time_list = [(100.0, 105.0)]
class InferSession:
    def __init__(self, device_id, model_path, *rest, **more):
        self.device = device_id
    def get_inputs(self):
        return [Tensor("x", "float32", [2, 3])]
    def get_outputs(self):
        return [Tensor("y", "float32", [2, 3])]
    def infer(self, feeds, *rest, **more):
        return [feeds[0] + self.device]
    def summary(self):
        return Summary
    def free_resource(self):
        pass
"""


@pytest.fixture
def device(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library of the device that adds the device's number to its input, with clocks of its own."""
    _forget_library()
    package = tmp_path / "library" / "ais_bench" / "infer"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("")
    (package / "interface.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path / "library"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "library"))
    Path("m.om").write_bytes(b"om")
    Path("in").mkdir()
    for index in range(5):
        np.full(3, index, np.float32).tofile(f"in/{index}.bin")
    yield Path("m.om")
    _forget_library()


def _forget_library() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ais_bench"]:
        del sys.modules[name]


def test_a_devices_own_clocks_are_told(tool: Tool, device: Path) -> None:
    for loop, threads in ((1, 1), (4, 1), (1, 2)):
        words = (
            "--loop",
            loop,
            "--pipeline",
            threads > 1,
            "--threads",
            threads,
            "--device",
            7,
            "--display_all_summary",
            1,
        )
        assert tool("-m", device, "-i", "in", "-o", "out", "--output_dirname", "r", *words).code == 0
        told = summary()
        assert (told["H2D_latency"]["mean"], told["D2H_latency"]["mean"]) == (2, 3)
        assert told["H2D_latency"]["count"] == told["D2H_latency"]["count"] == 3
        assert told["NPU_compute_time"]["count"] == 3 * loop and told["modelport"]["engine"] == "ascend"
        if threads == 1:
            assert told["NPU_compute_time"]["mean"] == pytest.approx(5) and told["throughput"] == pytest.approx(400)
        assert not any("no copies" in note for note in told["modelport"]["notes"])
        assert np.fromfile("out/r/3_0.bin", np.float32).tolist() == [10, 10, 10]
    tool("-m", device, "--dymBatch", 4).refused("'ascend'", "fixed shapes")
    tool("-m", device, "--profiler", 1).refused("'ascend'", "--profiler")


@pytest.mark.slow
@pytest.mark.parametrize("divide", [False, True])
def test_several_devices_have_folders_of_their_own(
    tool: Tool,
    device: Path,
    divide: bool,
) -> None:
    words = ("--device", "3,1", "--divide_input", divide)
    assert tool("-m", device, "-i", "in", "-o", "out", "--output_dirname", "r", *words).code == 0
    assert sorted(path.name for path in Path("out").rglob("*_summary.json")) == [
        "device1_1_summary.json",
        "device3_0_summary.json",
    ]
    for folder, number, files in (("device3_0", 3, range(3)), ("device1_1", 1, range(3, 5))):
        taken = list(files) if divide else list(range(5))
        assert set(contents(f"out/r/{folder}")) == {f"{index}_0.bin" for index in taken}
        for index in taken:
            assert np.fromfile(f"out/r/{folder}/{index}_0.bin", np.float32).tolist() == [index + number] * 3
        told = json.loads(Path(f"out/r/{folder}_summary.json").read_text())
        assert told["NPU_compute_time"]["mean"] == pytest.approx(5)
    Path("in/2.bin").unlink()
    Path("in/2.bin").write_bytes(bytes(4))
    tool("-m", device, "-i", "in", "-o", "out", "--output_dirname", "s", *words).refused("in/2.bin")


@pytest.mark.slow
def test_the_same_device_twice_is_two_runs(tool: Tool, model: Path, images: Array) -> None:
    words = ("--device", "0,0", "--engine", "onnxruntime")
    assert tool("-m", model, "-i", "in", "-o", "out", "--output_dirname", "r", *words).code == 0
    first, second = contents("out/r/device0_0"), contents("out/r/device0_1")
    assert first and first == second


@pytest.mark.parametrize(("dtype", "batch"), [("float64", 1), ("float16", 1), ("uint8", 1), ("float64", 3)])
def test_files_of_another_dtype_are_named_by_their_size(tool: Tool, dtype: str, batch: int) -> None:
    linear(Path("m.onnx"), batch)
    np.ones((3, 2, 2), dtype).tofile("a.bin")
    ran = tool("--model", "m.onnx", "--input", "a.bin")
    ran.refused("a.bin", f"one row of {dtype} values", "write the files as float32")


@pytest.mark.parametrize("form", ["float16", "float64", "NHWC", ""])
def test_files_of_the_right_size_and_another_form_are_warned_of(tool: Tool, form: str) -> None:
    """The bytes of a batch fit, and would give a bad accuracy without a word."""
    save_model(
        Path("m.onnx"),
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        [tensor("x", TensorProto.FLOAT, 2, 3, 32, 32)],
        [tensor("y", TensorProto.FLOAT, 2, 3, 1, 1)],
        [],
    )
    y, x = np.indices((32, 32)) / 9
    rows = np.stack([np.sin(x + row) + np.cos(y) for row in range(6)]).reshape(2, 3, 32, 32).astype(np.float32)
    if form == "NHWC":
        rows = rows.transpose(0, 2, 3, 1)
    kept = np.concatenate([rows, rows]) if form == "float16" else rows[:1] if form == "float64" else rows
    (kept.astype(form) if form.startswith("float") else np.ascontiguousarray(kept)).tofile("a.bin")
    ran = tool("--model", "m.onnx", "--input", "a.bin", "--output", ".", "--output_dirname", "r")
    assert ran.code == 0
    warned = [line for line in ran.out.splitlines() if "[WARNING]" in line and "the first files, input x: " in line]
    assert len(warned) == bool(form)
    assert form in "".join(warned)
    assert bool(form) == any(
        "the first files" in note for note in json.loads(Path("r_summary.json").read_text())["modelport"]["notes"]
    )


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_files_that_the_index_names_and_that_are_not_there_are_told(tool: Tool, model: Path, lost: int) -> None:
    for number in range(4):
        _write(f"img_{number}.npy", IMAGE)
    entries = [{"file": f"img_{number}.npy", "ids": [f"img_{number}"]} for number in range(4)]
    form = {"dtype": "float32", "layout": "NCHW", "shape": [3, 2, 2]}
    Path("in/index.json").write_text(json.dumps({"schema": "modelport.tensors/1", **form, "files": entries}))
    for number in range(4 - lost, 4):
        Path(f"in/img_{number}.npy").unlink()
    ran = tool("--model", model, "--input", "in")
    assert ran.code == 0
    warned = [line for line in ran.out.splitlines() if "they will have no result" in line]
    assert len(warned) == bool(lost)
    assert not lost or f"names 4 files, {lost} of them are not there: img_{4 - lost}.npy" in warned[0]
