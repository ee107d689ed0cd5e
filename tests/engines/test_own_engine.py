"""An engine that is written in this folder alone, in 60 lines, is used by every verb: one line registers it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from conftest import Call
from modelport.ais_bench.__main__ import main as ais_bench
from modelport.engines.registry import ENGINES, recipe_tables
from modelport.recipes.setting import read_setting
from saved_outputs import lines

pytest_plugins = "step_data"
MOST_LINES = 60


@pytest.fixture(autouse=True)
def own_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The one line; and no other engine is chosen by itself, so that every default must be this one."""
    # The others are hidden, not gone: the recipe keeps the tables that they read.
    tables = recipe_tables()
    monkeypatch.setattr("modelport.engines.registry.recipe_tables", lambda: tables)
    before = dict(ENGINES)
    ENGINES.clear()
    ENGINES["own"] = "own_engine:OwnEngine"
    yield
    # In their order, which tells the fastest.
    ENGINES.clear()
    ENGINES.update(before)


@pytest.fixture
def given(tiny_weights: Path, flat: Path) -> tuple[object, ...]:
    return ("--weights", tiny_weights, "--data", flat)


def _compiled(call: Call, recipe: Path, graph: Path, out: Path) -> Path:
    answer = call("compile", recipe, graph, "--engine", "own", "--out", out, "--json")
    assert answer.code == 0, answer
    assert [row["kind"] for row in answer.json["artifacts"]] == ["onnx", "own"]
    assert answer.json["artifacts"][1]["made_from"] == [answer.json["artifacts"][0]["sha256"]]
    return out


def test_it_is_short() -> None:
    assert len((Path(__file__).parent / "own_engine.py").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_doctor_tells_it(call: Call) -> None:
    told = call("doctor", "--json").json["engines"]["own"]
    assert (told["usable"], told["version"], told["precisions"]) == (True, onnx.__version__, ["fp32"])
    assert "own" in call("doctor").out


@pytest.mark.slow
def test_run_chooses_it_and_names_it(
    call: Call, tiny_path: Path, given: tuple[object, ...], tiny_onnx: Path, tmp_path: Path
) -> None:
    answer = call("run", tiny_path, *given, "--out", tmp_path / "out", "--batch", 4, "--json")
    assert answer.code == 3, answer  # eleven images carry no verdict
    result = answer.json
    assert (result["engine"], result["n"]) == ("own", 11)
    assert result["metrics"]["source_agreement"]["value"] == 100
    assert [row["kind"] for row in result["artifacts"]] == ["checkpoint", "onnx", "own"]
    assert "own" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    # A file of its own kind is known by its suffix, here and wherever a model is given.
    own = _compiled(call, tiny_path, tiny_onnx, tmp_path / "tiny.own")
    words = ("--model", own, "--data", given[-1], "--out", tmp_path / "again", "--batch", 4)
    assert call("run", tiny_path, *words).code == 3
    first, again = (lines(tmp_path / name / "predictions.jsonl") for name in ("out", "again"))
    assert [line["top5"] for line in first] == [line["top5"] for line in again]


def test_its_words_are_refused_as_others_are(call: Call, tiny_path: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    call("compile", tiny_path, tiny_onnx, "--engine", "owm", "--out", tmp_path / "x.own").refused("mean 'own'")
    call("bench", "--model", tiny_onnx, "--precision", "int8").refused("'own' refuses int8", "fp32")
    (tmp_path / "torn.own").write_bytes(b"nothing")
    call("bench", "--model", tmp_path / "torn.own").refused("torn.own", "compile it again")
    call("bench", "--model", tmp_path / "x.om").refused("x.om", ".onnx, .own")


def test_compile_tells_what_it_would_do(call: Call, tiny_path: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    words = ("--engine", "own", "--out", tmp_path / "x.own", "--dry-run", "--json")
    assert "'own' would compile" in call("compile", tiny_path, tiny_onnx, *words).json["notes"][0]
    assert not (tmp_path / "x.own").exists()


@pytest.mark.slow
def test_bench_measures_a_recipe_and_a_file(
    call: Call, tiny_path: Path, tiny_weights: Path, tiny_onnx: Path, tmp_path: Path
) -> None:
    words = ("--duration", 0.01, "--concurrency", 1, "--batch", "1,2", "--json")
    value = call("bench", tiny_path, "--weights", tiny_weights, *words).json
    assert (value["engine"], value["precision"]) == ("own", "fp32")
    assert {point["batch"] for point in value["points"]} == {1, 2}
    own = _compiled(call, tiny_path, tiny_onnx, tmp_path / "tiny.own")
    value = call("bench", "--model", own, *words).json
    assert (value["engine"], [row["kind"] for row in value["artifacts"]]) == ("own", ["own"])


@pytest.mark.slow
def test_what_ais_bench_writes_with_it_is_evaluated(
    call: Call,
    tiny_path: Path,
    tiny_onnx: Path,
    flat: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = _compiled(call, tiny_path, tiny_onnx, tmp_path / "tiny.own")
    assert call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t").code == 0
    line = ["--model", own.with_suffix(""), "--input", tmp_path / "t", "--batchsize", 1, "--outfmt", "NPY"]
    assert ais_bench([str(word) for word in (*line, "--output", tmp_path / "r", "--output_dirname", "d")]) == 0
    assert "engine 'own'" in capsys.readouterr().out
    assert json.loads((tmp_path / "r" / "d_summary.json").read_text())["modelport"]["engine"] == "own"
    scored = call("evaluate", tiny_path, "--results", tmp_path / "r" / "d", "--data", flat, "--json").json
    ran = call("run", tiny_path, "--model", own, "--data", flat, "--out", tmp_path / "out", "--json").json
    assert scored["n"] == 11 and np.isfinite(scored["metrics"]["top1"]["value"])
    assert scored["metrics"]["top1"] == ran["metrics"]["top1"]


def test_the_demo_runs_on_it(
    call: Call, tiny_path: Path, tiny_weights: Path, flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelport.jobs.demo.RECIPES", (str(tiny_path),))
    for made, there in (("data/imagenet", flat), ("weights/tiny/model_lincls_best.pth.tar", tiny_weights)):
        (tmp_path / "demo" / made).parent.mkdir(parents=True)
        (tmp_path / "demo" / made).symlink_to(there)
    answer = call("demo", "--out", tmp_path / "demo", "--json")
    assert [run["engine"] for run in answer.json["runs"]] == ["own"]
    assert (answer.json["verdict"], answer.json["skipped_engines"]) == ("inconclusive", {})


@pytest.mark.slow
def test_tune_chooses_among_its_settings(
    call: Call, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelport.tasks.base.Task.tuned_batches", (4,))
    monkeypatch.setattr("modelport.jobs.tune.refine.FINALISTS", 1)
    words = ("--weights", tiny_weights, "--data", tiny_data, "--limit", 40, "--out", tmp_path / "s.toml")
    found = call("tune", tiny_path, *words, "--seconds", 0.01, "--json").json
    assert "error" not in found, found
    assert {(row["engine"], row["precision"]) for row in found["points"]} == {("own", "fp32")}
    assert read_setting(tmp_path / "s.toml").engine == found["chosen"]["engine"] == "own"
