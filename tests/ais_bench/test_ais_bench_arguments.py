"""The words of ais_bench: every flag with its default, its spellings and its limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelport.ais_bench.__main__ import main
from modelport.ais_bench.arguments import Arguments, parse
from modelport.core.errors import UsageError

DEFAULTS = Arguments(model=Path("m.onnx"), words=("--model", "m.onnx"))


def test_defaults() -> None:
    assert parse(["--model", "m.onnx"]) == DEFAULTS
    assert DEFAULTS.outfmt == "BIN" and DEFAULTS.loop == 1 and DEFAULTS.warmup == 1 and DEFAULTS.devices == (0,)
    assert DEFAULTS.run_mode == "array" and DEFAULTS.pure_data_type == "zero" and DEFAULTS.batchsize is None


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--input a,b", "inputs", ("a", "b")),
        ("-i a", "inputs", ("a",)),
        ("-o out", "output", Path("out")),
        ("--output out --output_dirname result/", "output_dirname", "result"),
        ("--output out --output_dirname ./a/b/", "output_dirname", "a/b"),
        ("--outfmt TXT", "outfmt", "TXT"),
        ("--loop 3", "loop", 3),
        ("-l 3", "loop", 3),
        ("-r 3", "loop", 3),
        ("--batchsize 8", "batchsize", 8),
        ("--device 255", "devices", (255,)),
        ("-d 1,2", "devices", (1, 2)),
        ("--device_id 7", "devices", (7,)),
        ("--warmup_count 0", "warmup", 0),
        ("--warmup-count 5", "warmup", 5),
        ("--pure_data_type random", "pure_data_type", "random"),
        ("--display_all_summary yes", "display_all_summary", True),
        ("--display_all_summary N", "display_all_summary", False),
        ("--run_mode full", "run_mode", "full"),
        ("--pipeline T", "pipeline", True),
        ("--threads 4", "threads", 1),
        ("--threads 4", "pipeline", False),
        ("--threads 4 --pipeline 1", "threads", 4),
        ("--npy-as-bytes", "npy_as_bytes", True),
        ("--timeout 2.5", "timeout", 2.5),
        ("--output_batchsize_axis 1", "axis", 1),
        ("--dymBatch 4", "dym_batch", 4),
        ("--dymHW 224,300", "dym_hw", (224, 300)),
        ("--dymDims a:1,600;b:2,3", "shapes", (("a", (1, 600)), ("b", (2, 3)))),
        ("--dymShape in:0:1,3", "shapes", (("in:0", (1, 3)),)),
        ("--dym-shape a:1", "shapes", (("a", (1,)),)),
        ("--outputSize 10000", "output_size", "10000"),
        ("--auto_set_dymshape_mode 1", "auto_shapes", True),
        ("--auto_set_dymdims_mode y", "auto_shapes", True),
        ("--divide_input TRUE", "divide_input", True),
        ("--debug t", "debug", True),
        ("--debug=f", "debug", False),
        ("--engine onnxruntime", "engine", "onnxruntime"),
        ("--profiler no --dump 0 --perf false --npu_id 0", "refused", ()),
    ],
)
def test_every_flag_and_spelling(words: str, field: str, value: Any) -> None:
    assert getattr(parse(["--om", "m.onnx", *words.split()]), field) == value


@pytest.mark.parametrize("words", [["-m", "m.onnx"], ["--om", "m.onnx"], ["--model=m.onnx"]])
def test_the_model_has_three_spellings(words: list[str]) -> None:
    assert parse(words).model == Path("m.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--loop 0", "at least 1"),
        ("--loop -3", "at least 1"),
        ("--loop 1.5", "at least 1"),
        ("--batchsize 0", "at least 1"),
        ("--warmup_count -1", "at least 0"),
        ("--output_batchsize_axis -1", "at least 0"),
        ("--device 256", "0 to 255"),
        ("--device -2", "0 to 255"),
        ("--device 1,257", "0 to 255"),
        ("--device 1,", "0 to 255"),
        ("--outfmt JSON", "BIN"),
        ("--run_mode fast", "array"),
        ("--pure_data_type one", "zero"),
        ("--debug maybe", "neither true nor false"),
        ("--dymHW 224", "height and width"),
        ("--dymShape 1,3", "name and shape"),
        ("--dymShape a:1,0", "at least 1"),
        ("--dymShape a:1;a:2", "twice"),
        ("--dymBatch 2 --dymShape a:1", "--dymBatch and --dymShape"),
        ("--output_dirname a", "give --output"),
        ("--output o --output_dirname /a", "absolute"),
        ("--output o --output_dirname ../a", "leaves --output"),
        ("--output o --output_dirname a/../../b", "leaves --output"),
        ("--output o --output_dirname ./", "leaves --output"),
        ("--warmup 3", "did you mean '--warmup"),
        ("--outputsize 3", "did you mean '--outputSize'"),
        ("stray.bin", "belongs to no flag"),
        ("--input", "expected one argument"),
    ],
)
def test_what_is_refused(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "m.onnx", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("[ERROR] ") and message in error and "fix: " in error


def test_the_model_is_required() -> None:
    with pytest.raises(UsageError, match="--model"):
        parse([])


def test_help_and_import_are_light() -> None:
    probe = "import sys, modelport.ais_bench.__main__; print(sorted({n.partition('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    for package in ("numpy", "onnx", "onnxruntime", "openvino", "pydantic", "typer", "rich"):
        assert f"'{package}'" not in loaded
    told = subprocess.run([sys.executable, "-m", "modelport.ais_bench", "--help"], capture_output=True, text=True)
    assert told.returncode == 0
    for flag in ("--model", "--om", "--dymShape_range", "--auto_set_dymdims_mode", "--output_batchsize_axis"):
        assert flag in told.stdout
