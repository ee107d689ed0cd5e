"""``--precision int8`` and ``fp16`` from the command line to the result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from modelport.tasks.classification.task import Classification

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Classification, "calibration_images", 16)


@pytest.mark.parametrize(("engine", "package"), [("openvino", "nncf"), ("onnxruntime", "onnxruntime")])
def test_run_int8(
    engine: str, package: str, call: Any, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    words = ("run", tiny_path, "--weights", tiny_weights, "--data", tiny_data, "--out", tmp_path / "run")
    answer = call(
        *words, "--engine", engine, "--precision", "int8", "--calibration", tiny_data, "--limit", "40", "--json"
    )
    assert answer.code in (1, 3), answer
    result = answer.json
    assert result["precision"] == "int8"
    assert result["metrics"]["source_agreement"]["value"] >= 70
    quantization = result["quantization"]
    assert len(quantization["calibration"]["ranges"]) == 16
    assert quantization["layers"]["heavy"] == 21
    assert Path(quantization["plan_file"]).is_file()
    kinds = [row["kind"] for row in result["artifacts"]]
    assert kinds[:2] == ["checkpoint", "onnx"]
    assert result["artifacts"][2]["made_from"] == [result["artifacts"][1]["sha256"]]
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "## Quantization" in report
    assert quantization["method"]["library"] in report


def test_int8_is_refused_without_images_and_with_those_that_are_scored(
    call: Any, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    words = ("run", tiny_path, "--weights", tiny_weights, "--data", tiny_data, "--out", tmp_path, "--precision")
    engine = ("--engine", "onnxruntime")
    call(*words, "int8", *engine).refused("needs images to calibrate on", "--calibration DIR")
    call(*words, "fp32", *engine, "--calibration", tiny_data).refused("--calibration says nothing to fp32")
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted((tiny_data / "val").iterdir())[:3]:
        shutil.copy(file, flat)
    call(*words, "int8", *engine, "--calibration", flat).refused("images to be scored", "ILSVRC2012_val_00000001")


def test_compile_int8_and_fp16(call: Any, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path) -> None:
    graph, plan = tmp_path / "tiny.onnx", tmp_path / "plan.json"
    assert call("export", tiny_path, "--weights", tiny_weights, "--out", graph).code == 0
    words = ("compile", tiny_path, graph, "--engine", "onnxruntime")
    made = call(*words, "--out", tmp_path / "q.onnx", "--precision", "int8", "--calibration", tiny_data, "--json").json
    assert made["precision"] == "int8"
    written = json.loads((tmp_path / "q.plan.json").read_text())
    assert written == made["quantization"]["plan"]
    plan.write_text(json.dumps({"schema": "modelport.plan/1", "types": {"Gemm": "fp32"}}))
    half = call(*words, "--out", tmp_path / "h.onnx", "--precision", "fp16", "--plan", plan, "--json").json
    assert half["precision"] == "fp16"
    assert any("speeds mean nothing" in note for note in half["notes"])
    assert any("by the block list: node_linear" in note for note in half["notes"])
    assert (tmp_path / "h.onnx").stat().st_size < graph.stat().st_size * 0.6
    run = ("run", tiny_path, "--model", tmp_path / "h.onnx", "--data", tiny_data, "--out", tmp_path / "run")
    result = call(*run, "--engine", "onnxruntime", "--precision", "fp16", "--limit", "20", "--json").json
    assert result["precision"] == "fp16"
    assert result["quantization"] is None
    assert "mean nothing" in result["speed_warnings"][0]
