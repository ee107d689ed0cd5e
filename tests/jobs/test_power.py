"""``power`` as a verb: planted faults, judged on the user's own model and data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import Call


@pytest.mark.slow
def test_a_large_fault_is_noticed_and_the_file_says_by_what(
    call: Call, tiny_path: Path, tiny_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    words = ("--faults", "6", "--replays", "2", "--limit", "120", "--max-drop", "8", "--seed", "1")
    out = tmp_path / "power"
    where = ("--weights", str(tiny_weights), "--data", str(tiny_data), "--engine", "onnxruntime", "--out", str(out))
    answer = call("power", str(tiny_path), *where, *words, "--json")
    value = json.loads(answer.out)
    assert answer.code == 0 and value == json.loads((out / "power.json").read_text())
    assert value["schema"] == "modelport.power/1" and value["healthy"]["verdict"] == "pass"
    rows = [row for row in value["faults"] if row["by"] != "no output changed"]
    told = [row["noticed"] for row in rows]
    assert (value["planted"], value["noticed"]) == (len(rows), told.count(True))
    assert value["noticed"] + value["missed"] + value["by_chance"] == value["planted"] >= 4
    for row in rows:
        if row["drop"] is not None and row["drop"] > 30.0:
            assert row["noticed"] and "top1_vs_source" in row["by"]
    assert not [path for path in out.iterdir() if path.name != "power.json"]


@pytest.mark.parametrize("words", [("--faults", "0"), ("--faults", "9999999"), ("--replays", "-1")])
def test_numbers_that_are_none_are_refused(call: Call, null_path: Path, tmp_path: Path, words: tuple[str, str]) -> None:
    answer = call("power", str(null_path), "--data", str(tmp_path), "--out", str(tmp_path / "out"), *words)
    assert answer.code == 2 and words[0] in answer.err and not (tmp_path / "out").exists()


def test_a_model_without_a_graph_is_refused(
    call: Call, null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answer = call(
        *("power", str(null_path), "--weights", str(null_weights), "--data", str(tiny_data), "--out", str(out)),
        *("--engine", "null", "--limit", "2"),
    )
    assert answer.code == 2 and "ONNX" in answer.err and not (out / "power.json").exists()
