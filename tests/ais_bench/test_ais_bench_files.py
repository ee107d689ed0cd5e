"""Files in, files out: what lies where, and that it is what the model computes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ais_bench_models import linear, linear_by_numpy, sums, two_inputs

from modelport.ais_bench.__main__ import main
from modelport.ais_bench.inputs import FileFeed
from modelport.core.text import natural_key
from modelport.core.values import Array, TensorSpec
from modelport.measure.timing import busy

FLOATS = r"-?\d+\.\d+(?:e-?\d+)?"


@dataclass
class Ran:
    code: int
    out: str
    err: str

    def refused(self, *words: str) -> None:
        assert self.code == 2, self
        assert self.err.startswith("[ERROR] ") and "Traceback" not in self.err
        for word in words:
            assert word in self.err, self


Tool = Callable[..., Ran]


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        printed = capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def images(tmp_path: Path) -> Array:
    """17 images (17, 3, 2, 2), as float32 files in ``in/``."""
    drawn = np.random.default_rng(1).standard_normal((17, 3, 2, 2)).astype(np.float32)
    (tmp_path / "in").mkdir()
    for index, image in enumerate(drawn):
        image.tofile(tmp_path / "in" / f"s{index}.bin")
    return drawn


def summary(name: str = "out/r") -> Any:
    return json.loads(Path(f"{name}_summary.json").read_text())


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_results_are_what_the_model_computes_in_every_format(tool: Tool, images: Array, engine: str) -> None:
    linear(Path("m.onnx"), 2)
    scores, best = linear_by_numpy(images)
    for outfmt in ("BIN", "NPY", "TXT"):
        words = ("--outfmt", outfmt, "--output", "out", "--output_dirname", outfmt, "--engine", engine)
        assert tool("--model", "m.onnx", "--input", "in", *words).code == 0
        assert len(contents(f"out/{outfmt}")) == 2 * len(images)
    for index in range(len(images)):
        got = np.fromfile(f"out/BIN/s{index}_0.bin", np.float32)
        np.testing.assert_allclose(got, scores[index], rtol=1e-5, atol=1e-6)
        assert np.fromfile(f"out/BIN/s{index}_1.bin", np.int64) == best[index]
        saved = np.load(f"out/NPY/s{index}_0.npy")
        assert saved.shape == (1, 5) and saved.tobytes() == got.tobytes()
        np.savetxt("want.txt", saved, fmt="%f", delimiter=" ", newline=" \n")
        assert Path(f"out/TXT/s{index}_0.txt").read_bytes() == Path("want.txt").read_bytes()
        assert Path(f"out/TXT/s{index}_1.txt").read_text() == f"{best[index][0]} \n"


def test_every_batch_size_gives_the_same_files_and_runs_as_often_as_it_must(tool: Tool, images: Array) -> None:
    for batch in (1, 2, 4, 8, 16):
        linear(Path("m.onnx"), batch)
        ran = tool(
            "--model", "m.onnx", "--input", "in", "--output", "out", "--output_dirname", f"b{batch}", "--debug", "True"
        )
        assert ran.code == 0
        assert ran.out.count("[DEBUG] model aclExec cost : ") == 1 + -(-17 // batch)
        assert contents(f"out/b{batch}") == contents("out/b1")
        told = summary(f"out/b{batch}")
        assert told["NPU_compute_time"]["count"] == -(-17 // batch)
        assert [entry["infiles"] for entry in told["filesinfo"].values()] == [[f"in/s{i}.bin"] for i in range(17)]
        assert list(told["filesinfo"]) == [str(i) for i in range(17)]
        assert told["filesinfo"]["3"]["outfiles"] == [f"out/b{batch}/s3_0.bin", f"out/b{batch}/s3_1.bin"]
        padded = [note for note in told["modelport"]["notes"] if "filled up with in/s16.bin" in note]
        assert len(padded) == (batch > 1)


def test_summary_and_log_tell_the_same_figures(tool: Tool, images: Array) -> None:
    linear(Path("m.onnx"), 4)
    words = ("--model", "m.onnx", "--input", "in", "--output", "out", "--output_dirname", "r/", "--loop", 3)
    ran = tool(*words, "--debug", "1", "--display_all_summary", "1", "--warmup_count", 2)
    told = summary()
    times = told["npu_compute_time_list"]
    assert set(told) == {
        "filesinfo", "args", "NPU_compute_time", "H2D_latency", "D2H_latency", "npu_compute_time_list", "throughput",
        "pid", "modelport",
    }  # fmt: skip
    assert told["NPU_compute_time"] == pytest.approx({
        "min": min(times), "max": max(times), "mean": sum(times) / 15, "median": sorted(times)[7],
        "percentile(99%)": np.percentile(times, 99), "count": 15,
    })  # fmt: skip
    nothing = {"min": 0, "max": 0, "mean": 0, "median": 0, "percentile(99%)": 0, "count": 5}
    assert told["H2D_latency"] == told["D2H_latency"] == nothing
    assert told["throughput"] == pytest.approx(1000 * 4 / told["NPU_compute_time"]["mean"])
    assert any("no copies" in note for note in told["modelport"]["notes"])
    assert told["args"][1:] == [str(word) for word in (*words, "--debug", 1, "--display_all_summary", 1)] + [
        "--warmup_count", "2",
    ]  # fmt: skip
    printed = [float(time) for time in re.findall(r"\[DEBUG\] model aclExec cost : (\S+)", ran.out)]
    assert printed[2:] == pytest.approx(times, abs=1e-6)
    assert "[INFO] load model m.onnx success\n" in ran.out and "[INFO] output path:out/r\n" in ran.out
    assert "[INFO] -----------------Performance Summary------------------\n" in ran.out
    values = ", ".join(f"{key} = {FLOATS}" for key in ("min", "max", "mean", "median", r"percentile\(99%\)"))
    for name in ("H2D_latency", "NPU_compute_time", "D2H_latency"):
        assert re.search(rf"^\[INFO\] {name} \(ms\): {values}$", ran.out, re.M)
    line = next(line for line in ran.out.splitlines() if line.startswith("[INFO] throughput"))
    assert "1000*batchsize.mean(4)/" in line and float(line.rpartition(": ")[2]) == told["throughput"]


def test_overlapped_runs_give_the_same_files(tool: Tool, images: Array) -> None:
    linear(Path("m.onnx"), 2)
    common = ("--model", "m.onnx", "--input", "in", "--output", "out")
    tool(*common, "--output_dirname", "r")
    for name, words in {"p": ("--pipeline", 1), "t": ("--threads", 3), "pt": ("--pipeline", 1, "--threads", 2)}.items():
        ran = tool(*common, "--output_dirname", name, "--debug", 1, "--loop", 2, "--warmup-count", 2, *words)
        threads = words[-1] if words[:1] == ("--pipeline",) and "--threads" in words else 1
        assert ran.code == 0 and contents(f"out/{name}") == contents("out/r")
        assert ran.out.count("[INFO] load model") == threads
        assert ran.out.count("[INFO] create model description success") == threads
        assert ran.out.count("model aclExec cost : ") == 2 * threads + 2 * 9
        told = summary(f"out/{name}")
        assert len(told["filesinfo"]) == 17 and told["NPU_compute_time"]["count"] == 18
        if threads == 1:
            assert told["NPU_compute_time"]["min"] > 0 and len(told["H2D_latency"]) == 6
            assert any("--threads makes no difference" in note for note in told["modelport"]["notes"]) == (name == "t")
            continue
        assert (
            set(told["NPU_compute_time"]) == set(told["H2D_latency"]) == set(told["D2H_latency"]) == {"mean", "count"}
        )
        spans = told["npu_compute_time_list"]
        assert all(start < end for start, end in spans)
        marks = np.unique(spans)
        covered = [any(start <= a and b <= end for start, end in spans) for a, b in pairwise(marks)]
        assert told["NPU_compute_time"]["mean"] == pytest.approx(np.diff(marks)[covered].sum() / 18)


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        (lambda array: array.astype(np.float64).reshape(-1)[: array.size // 2], "float64"),
        (lambda array: array.view(np.int32), "int32"),
        (lambda array: array.reshape(-1), "shape (24,)"),
    ],
)
def test_npy_files_of_another_kind_are_taken_by_their_bytes_only_where_asked(
    saved: Callable[[Array], Array], found: str, tool: Tool
) -> None:
    model = linear(Path("m.onnx"), 2)
    array = np.random.default_rng(3).standard_normal((2, 3, 2, 2)).astype(np.float32)
    Path("npy").mkdir()
    np.save("npy/a.npy", saved(array))
    words = ("--model", model, "--input", "npy", "--output", "out", "--output_dirname", "r", "--outfmt", "NPY")
    tool(*words).refused("a.npy", found, "--npy-as-bytes")
    ran = tool(*words, "--npy-as-bytes")
    assert ran.code == 0 and any("--npy-as-bytes" in note for note in summary()["modelport"]["notes"])
    bits = np.frombuffer(saved(array).tobytes(), np.float32).reshape(array.shape)
    np.testing.assert_allclose(np.load("out/r/a_0.npy"), linear_by_numpy(bits)[0], rtol=1e-4)


def test_busy_time_counts_overlaps_once() -> None:
    assert busy([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (1.5, 1.6)]) == 4.0


def test_pure_inference(tool: Tool) -> None:
    linear(Path("m.onnx"), 3)
    for kind in ("zero", "random"):
        ran = tool(
            "-m", "m.onnx", "-o", "out", "--output_dirname", kind, "-r", 4, "--debug", 1, "--pure_data_type", kind
        )
        assert ran.code == 0 and ran.out.count("cost :") == 5
        assert set(contents(f"out/{kind}")) == {"pure_infer_data_0.bin", "pure_infer_data_1.bin"}
        scores = np.fromfile(f"out/{kind}/pure_infer_data_0.bin", np.float32)
        assert scores.shape == (15,) and (scores == 0).all() == (kind == "zero")
        told = summary(f"out/{kind}")
        assert told["NPU_compute_time"]["count"] == 4
        assert told["H2D_latency"]["count"] == told["D2H_latency"]["count"] == 1
    assert tool("-m", "m.onnx").code == 0  # writes nothing
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "random", "random_summary.json", "zero", "zero_summary.json",
    ]  # fmt: skip


@pytest.mark.parametrize("as_files", [False, True])
def test_two_inputs_and_another_axis(tool: Tool, as_files: bool) -> None:
    two_inputs(Path("m.onnx"), 2)
    rng = np.random.default_rng(2)
    numbers = rng.integers(0, 256, (5, 4)).astype(np.uint8)
    scales = rng.standard_normal((5, 2)).astype(np.float32)
    for folder, rows in (("a", numbers), ("b", scales)):
        Path(folder).mkdir()
        for index, row in enumerate(rows):
            np.save(f"{folder}/{index}.NPY.npy", row) if folder == "a" else row.tofile(f"{folder}/{index}.BIN")
    entries = ["a", "b"]
    if as_files:
        entries = [f"a/{i}.NPY.npy" for i in range(5)] + [f"b/{i}.BIN" for i in range(5)]
    words = ("--output", "out", "--output_dirname", "r", "--output_batchsize_axis", 1, "--outfmt", "NPY")
    assert tool("--om", "m.onnx", "--input", ",".join(entries), *words).code == 0
    for index in range(5):
        want = np.stack([numbers[index, :2] * scales[index], numbers[index, 2:] * scales[index]])[:, None]
        np.testing.assert_allclose(np.load(f"out/r/{index}_0.npy"), want, rtol=1e-6)
    assert summary()["filesinfo"]["4"]["infiles"] == ["a/4.NPY.npy", "b/4.BIN"]
    tool("--om", "m.onnx", "--input", ",".join(entries), *words[:5], 3).refused("output 0", "--output_batchsize_axis")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("axis", ["batch", "N", None])
def test_a_free_batch(tool: Tool, images: Array, engine: str, axis: str | None) -> None:
    linear(Path("m.onnx"), axis)
    common = ("--model", "m.onnx", "--input", "in", "--output", "out", "--engine", engine, "--debug", 1)
    cases = {
        "default": (),
        "batchsize": ("--batchsize", 4),
        "dym": ("--dymBatch", 8),
        "shape": ("--dymShape", "x:2,3,2,2"),
    }
    for (name, words), batch in zip(cases.items(), (1, 4, 8, 2), strict=True):
        ran = tool(*common, "--output_dirname", name, *words)
        assert ran.code == 0 and f"1000*batchsize.mean({batch})/" in ran.out
        assert ran.out.count("cost :") == 1 + -(-17 // batch)
        assert contents(f"out/{name}") == contents("out/default")
    assert any("batch is free: 1 taken" in note for note in summary("out/default")["modelport"]["notes"])


def test_a_batchsize_that_is_not_the_models_only_scales_the_throughput(tool: Tool, images: Array) -> None:
    linear(Path("m.onnx"), 2)
    ran = tool("--model", "m.onnx", "--input", "in", "--output", "out", "--output_dirname", "r", "--batchsize", 10)
    assert "[WARNING] --batchsize 10: the model runs 2 rows" in ran.out and len(contents("out/r")) == 34
    assert [text.split(":")[0] for text in summary()["modelport"]["warnings"]] == ["--batchsize 10"]
    assert summary()["throughput"] == pytest.approx(10000 / summary()["NPU_compute_time"]["mean"])
    ran = tool("--model", "m.onnx", "--batchsize", 1)
    assert "the throughput below is batches/s, not samples/s" in ran.out
    assert "batches/s" not in tool("--model", "m.onnx", "--batchsize", 2).out
    tool("--model", "m.onnx", "--dymBatch", 3).refused("--dymBatch 3", "fixed")


def test_free_height_and_width(tool: Tool) -> None:
    sums(Path("m.onnx"), "n", 3, "h", "w")
    tool("-m", "m.onnx").refused("x: float32 (1, 3, ?, ?)", "--dymShape 'x:1,3,1,1'")
    assert tool("-m", "m.onnx", "--dymHW", "4,6", "--dymBatch", 0).code == 0
    tool("-m", "m.onnx", "--dymShape", "y:1,3,4,6").refused("no input 'y'", "known inputs: x")
    tool("-m", "m.onnx", "--dymShape", "x:1,4,4,6").refused("(1, 4, 4, 6)")
    sums(Path("fixed.onnx"), 1, 3, 4, 6)
    tool("-m", "fixed.onnx", "--dymHW", "4,6").refused("--dymHW", "not free")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_each_file_may_bring_its_own_shape(tool: Tool, engine: str) -> None:
    sums(Path("m.onnx"), "n", 3, "h", "w")
    Path("in").mkdir()
    arrays = [np.random.default_rng(i).random((i + 1, 3, 2 + i, 4), np.float32) for i in range(3)]
    for index, array in enumerate(arrays):
        np.save(f"in/{index}.npy", array)
    words = ("-m", "m.onnx", "-i", "in", "-o", "out", "--output_dirname", "r", "--auto_set_dymshape_mode", 1)
    ran = tool(*words, "--engine", engine)
    assert ran.code == 0 and "1000*batchsize.mean(2.0)/" in ran.out
    for index, array in enumerate(arrays):
        got = np.fromfile(f"out/r/{index}_0.bin", np.float32).reshape(-1, 3)
        np.testing.assert_allclose(got, array.mean(axis=(2, 3)), rtol=1e-5)
    np.save("in/9.npy", arrays[0][:, :2])
    tool(*words).refused("tensor 'x'", "(1, 2, 2, 4)")
    tool("-m", "m.onnx", "--auto_set_dymdims_mode", 1).refused("give --input")


def test_files_of_several_rows_and_a_short_last_one(tool: Tool, images: Array) -> None:
    Path("rows").mkdir()
    for start in range(0, 17, 4):
        images[start : start + 4].tofile(f"rows/batch-{start:05}.bin")
    scores = linear_by_numpy(images)[0]
    for model, name in ((4, "one"), (8, "two"), ("batch", "free")):
        linear(Path("m.onnx"), model)
        ran = tool("-m", "m.onnx", "-i", "rows", "-o", "out", "--output_dirname", name, "--outfmt", "NPY")
        assert ran.code == 0
        for start in range(0, 17, 4):
            got = np.load(f"out/{name}/batch-{start:05}_0.npy")
            np.testing.assert_allclose(got, scores[start : start + 4], rtol=1e-5, atol=1e-6)
        assert any("batch-00016.bin holds 1/4" in note for note in summary(f"out/{name}")["modelport"]["notes"])
    (Path("rows") / "batch-00004.bin").write_bytes(images[:3].tobytes())
    tool("-m", "m.onnx", "-i", "rows").refused("batch-00004.bin", "3 rows", "the first file 4")


def test_padding_repeats_the_batchs_first_file_and_a_short_files_first_row(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{index}.bin") for index in range(5)]
    for index, file in enumerate(files):
        np.full((2, 1), index, np.float32).tofile(file)
    np.array([8], np.float32).tofile(files[4])
    feed = FileFeed((TensorSpec("x", "float32", (6, 1)),), (tuple(files),), 3)
    first, last = feed.batches()
    assert feed.read(first).inputs["x"].ravel().tolist() == [0, 0, 1, 1, 2, 2] and feed.read(first).kept == 1
    assert feed.read(last).inputs["x"].ravel().tolist() == [3, 3, 8, 8, 3, 3] and feed.read(last).kept == Fraction(1, 2)


def test_order_is_natural(tool: Tool) -> None:
    names = ["a10.bin", "a2.bin", "A1.bin", "b.bin", "10.bin", "9.bin"]
    assert sorted(names, key=natural_key) == ["9.bin", "10.bin", "A1.bin", "a2.bin", "a10.bin", "b.bin"]


@pytest.mark.slow
def test_calls_of_the_same_second_get_folders_of_their_own(tool: Tool) -> None:
    linear(Path("m.onnx"), 1)
    folders = {re.findall("output path:(.*)", tool("-m", "m.onnx", "-o", "out").out)[0] for _ in range(3)}
    assert len(folders) == 3
    assert all(re.fullmatch(r"out/\d{4}(_\d\d){2}-\d\d(_\d\d){2}", folder) for folder in folders)
    assert all(Path(f"{folder}_summary.json").is_file() for folder in folders)


def test_openvinos_own_files_and_a_name_without_suffix(tool: Tool, images: Array) -> None:
    import openvino

    linear(Path("m.onnx"), 2)
    openvino.save_model(openvino.Core().read_model("m.onnx"), "compiled.xml", compress_to_fp16=False)
    common = ("--input", "in", "--output", "out")
    tool("-m", "m.onnx", *common, "--output_dirname", "a")
    ran = tool("-m", "compiled", *common, "--output_dirname", "b")
    assert "[INFO] compiled does not exist: compiled.xml taken" in ran.out
    assert contents("out/a") == contents("out/b")
    tool("-m", "compiled.xml", "--engine", "onnxruntime").refused("compiled.xml", "choose another engine")


@pytest.mark.parametrize("mode", ["files", "tensor", "full"])
def test_every_run_mode_gives_the_same_files_and_says_so(tool: Tool, images: Array, mode: str) -> None:
    linear(Path("m.onnx"), 4)
    common = ("-m", "m.onnx", "-i", "in", "-o", "out")
    tool(*common, "--output_dirname", "a")
    ran = tool(*common, "--output_dirname", "b", "--run_mode", mode, "--outputSize", 1000)
    assert contents("out/a") == contents("out/b")
    assert f"--run_mode {mode} makes no difference" in ran.out and "--outputSize makes no difference" in ran.out
