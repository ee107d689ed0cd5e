"""A run that stops as soon as the verdict is certain, and says at how many samples of how many."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def run(call: Callable[..., Any], null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path) -> Run:
    words = ("run", null_path, "--weights", null_weights, "--data", tiny_data, "--engine", "null", "--force", "--json")
    return lambda *more: call(*words, "--out", tmp_path / "out", *more)


def _samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "samples.jsonl").read_text().splitlines()]


def test_it_stops_when_the_verdict_is_certain_and_says_where(run: Run, tmp_path: Path) -> None:
    answer = run("--until-decided", "--max-drop", 14)
    told = answer.json["statistics"]
    assert answer.code == 0 and answer.json["verdict"] == "pass"
    assert told["rule"] == "sequential" and told["order"] == "random" and told["n_planned"] == 310
    assert told["stopped_at"] == answer.json["n"] == len(_samples(tmp_path)) < 200
    check = next(check for check in answer.json["checks"] if check["name"] == "top1_vs_source")
    assert check["interval"][0] < 0 < check["interval"][1] <= 14
    assert f"decided at {told['stopped_at']} of 310 images" in (tmp_path / "out" / "report.md").read_text()
    # The same seed draws the same samples.
    first = [row["id"] for row in _samples(tmp_path)]
    run("--until-decided", "--max-drop", 14)
    assert [row["id"] for row in _samples(tmp_path)] == first != sorted(first)


def test_what_is_not_decided_sees_all_samples(run: Run) -> None:
    answer = run("--until-decided", "--max-drop", 0.5, "--limit", 60)
    told = answer.json["statistics"]
    assert answer.code == 3 and answer.json["n"] == told["n_planned"] == 60 and told["stopped_at"] is None
    check = next(check for check in answer.json["checks"] if check["name"] == "top1_vs_source")
    assert check["verdict"] == "inconclusive" and check["needed_n"] > 60


def test_by_margin_small_margins_come_early_and_figures_are_those_of_all(run: Run, tmp_path: Path) -> None:
    everything = run().json
    answer = run("--until-decided", "--order", "margin", "--max-drop", 14)
    told, rows = answer.json["statistics"], _samples(tmp_path)
    assert answer.code == 0 and told["order"] == "margin" and told["stopped_at"] == len(rows) < 250
    # The source's figures are those of all samples, and without flips the engine's are the same.
    for name in ("top1", "top5"):
        assert answer.json["metrics"][name]["value"] == pytest.approx(everything["metrics"][name]["value"])
        assert answer.json["source"]["metrics"][name]["value"] == pytest.approx(everything["metrics"][name]["value"])
    assert len({row["weight"] for row in rows}) > 50 and "per_class" not in answer.json
    assert any("estimates for all 310" in note for note in answer.json["notes"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--until-decided", "--order", "data"), "--order data"),
        (("--order", "margin"), "--order margin"),
        (("--until-decided", "--predict"), "without labels"),
        (("--confidence", 0.999), "--confidence 0.999"),
        (("--confidence", "nan"), "--confidence nan"),
        (("--max-drop", -1), "--max-drop -1"),
        (("--max-drop", "nan"), "--max-drop nan"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, words: tuple[Any, ...], said: str) -> None:
    run(*words).refused(said)
