"""``modelport history``: planted results stand in their order; what changed for certain is marked, and only that."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from conftest import Call
from modelport.cli.history import HEIGHTS, sparkline
from modelport.jobs.history import walk
from planted_results import Change, null_run, planted

Plant = Callable[..., Path]
FLIPS = (280, 12, 0, 108)  # both, lost, gained, neither: by the sign test certain (2/4096)


@pytest.fixture(scope="module")
def made(null_path: Path, null_weights: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder as ``run`` leaves it; not to be changed."""
    return null_run(null_path, tiny_data, null_weights, tmp_path_factory.mktemp("made") / "out")


@pytest.fixture
def plant(made: Path, tmp_path: Path, null_path: Path) -> Plant:
    """Plant a result of the tree, made on a day of November."""

    def one(name: str, right: Sequence[bool], day: int, change: Change = lambda value: None, **more: Any) -> Path:
        def dated(value: dict[str, Any]) -> None:
            value["started"] = f"2026-11-{day:02}T12:00:00+00:00"
            change(value)

        return planted(tmp_path / "tree" / name, made, null_path, right, change=dated, **more)

    return one


def _right(lost: int = 0) -> list[bool]:
    return [place >= lost for place in range(292)] + [False] * 108


def _set(**keys: Any) -> Change:
    return lambda value: value.update(keys)


def _answers(group: dict[str, Any]) -> list[str | None]:
    return [row["change"] and row["change"]["verdict"] for row in group["rows"]]


def test_results_stand_in_the_order_of_time_and_the_planted_change_is_marked(
    plant: Plant, tmp_path: Path, call: Call
) -> None:
    plant("c", _right(12), 3)
    plant("deep/er/a", _right(), 1)
    plant("b", _right(), 2)
    plant("d", _right(12), 4)
    answer = call("history", tmp_path / "tree", "--json")
    assert answer.code == 0 and answer.json["schema"] == "modelport.history/1" and answer.json["skipped"] == []
    (group,) = answer.json["groups"]
    assert [row["started"][:10] for row in group["rows"]] == [f"2026-11-0{day}" for day in (1, 2, 3, 4)]
    assert [Path(row["path"]).name for row in group["rows"]] == ["a", "b", "c", "d"]
    assert _answers(group) == [None, "same", "worse", "same"]
    assert [row["significant"] for row in group["rows"]] == [False, False, True, False]
    change = group["rows"][2]["change"]
    assert change["paired"] is True and change["change"] == pytest.approx(-3.0)
    assert change["interval"][0] <= -3.0 <= change["interval"][1] < 0.0
    assert (group["metric"], group["engine"], group["correction"]["tests"]) == ("top1", "null", 3)
    row = group["rows"][0]
    assert row["value"] == pytest.approx(73.0) and row["interval"][0] < row["value"] < row["interval"][1]
    assert row["version"] and row["command"] is not None and row["n"] == 400


def test_what_is_marked_is_what_compare_says_of_the_two(plant: Plant, tmp_path: Path, call: Call) -> None:
    a, b = plant("a", _right(), 1), plant("b", _right(12), 2)
    told = call("compare", a, b, "--json").json["rows"][0]
    change = call("history", tmp_path / "tree", "--json").json["groups"][0]["rows"][1]["change"]
    assert {key: change[key] for key in ("change", "interval", "verdict", "p")} == {
        key: told[key] for key in ("change", "interval", "verdict", "p")
    }


def test_without_the_samples_less_is_certain_and_nothing_is_claimed(plant: Plant, tmp_path: Path, call: Call) -> None:
    plant("a", _right(), 1)
    plant("b", _right(12), 2, samples=False)
    plant("c", [False] * 400, 3)
    (group,) = call("history", tmp_path / "tree", "--json").json["groups"]
    assert _answers(group) == [None, "cannot tell", "worse"]
    assert all("unpaired" in row["change"]["why"] and not row["change"]["paired"] for row in group["rows"][1:])


def test_results_of_other_questions_are_no_change_and_the_reason_is_told(
    plant: Plant, tmp_path: Path, call: Call
) -> None:
    plant("a", _right(), 1)
    plant("b", _right(12), 2, lambda value: value["dataset"].update(labels="not looked at"))
    plant("c", _right(12), 3, lambda value: value["environment"]["packages"].update(modelport="0.0.1"))
    (group,) = call("history", tmp_path / "tree", "--json").json["groups"]
    assert _answers(group) == [None, "cannot tell", "cannot tell"]
    assert "dataset.labels" in group["rows"][1]["change"]["why"]
    assert group["rows"][1]["change"]["interval"] is None
    shutil.rmtree(tmp_path / "tree" / "b")
    change = call("history", tmp_path / "tree", "--json").json["groups"][0]["rows"][1]["change"]
    assert change["verdict"] == "worse" and "a change may be the measure's" in change["why"]


def test_many_changes_by_chance_are_corrected_for(plant: Plant, tmp_path: Path, call: Call) -> None:
    """Eight of eight flips are certain alone (2/256), and not among eleven looks: 11 × 2/256 > 0.05."""
    for day in range(1, 13):
        plant(f"r{day}", _right(8 * (day % 2)), day)
    (group,) = call("history", tmp_path / "tree", "--json").json["groups"]
    assert group["correction"]["tests"] == 11
    assert not any(row["significant"] for row in group["rows"])
    shutil.rmtree(tmp_path / "tree")
    for day in (1, 2):
        plant(f"r{day}", _right(8 * (day % 2)), day)
    (group,) = call("history", tmp_path / "tree", "--json").json["groups"]
    assert group["rows"][1]["significant"] and group["rows"][1]["change"]["verdict"] == "better"


def test_each_recipe_variant_engine_and_precision_has_its_own_history(plant: Plant, tmp_path: Path, call: Call) -> None:
    for place, changed in enumerate(({}, {"engine": "other"}, {"precision": "int8"}, {"recipe": "[b]x[/b]"})):
        plant(f"r{place}", _right(), 1 + place, _set(**changed))
    groups = call("history", tmp_path / "tree", "--json").json["groups"]
    assert len(groups) == 4 and all(_answers(group) == [None] for group in groups)
    assert "[b]x[/b]" in call("history", tmp_path / "tree").out


def _no_time(value: dict[str, Any]) -> None:
    value["started"] = "yesterday"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no JSON": lambda folder: (folder / "result.json").write_text("{"),
    "nested": lambda folder: (folder / "result.json").write_text("[" * 100_000),
    "a list": lambda folder: (folder / "result.json").write_text("[]"),
    "other schema": lambda folder: _edit(folder, _set(schema="modelport.result/9")),
    "no time": lambda folder: _edit(folder, _no_time),
    "a time before all": lambda folder: _edit(folder, _set(started="0001-01-01T00:00:00+23:59")),
    "started is a number": lambda folder: _edit(folder, _set(started=7)),
    "engine is a list": lambda folder: _edit(folder, _set(engine=[])),
    "no figures": lambda folder: _edit(folder, lambda value: value.pop("metrics")),
    "changed samples": lambda folder: (folder / "samples.jsonl").write_text("{}"),
    "a link": lambda folder: _link(folder),
    "a folder": lambda folder: _folder(folder),
    "a pipe": lambda folder: _pipe(folder),
}


def _edit(folder: Path, change: Change) -> None:
    value = json.loads((folder / "result.json").read_text())
    change(value)
    (folder / "result.json").write_text(json.dumps(value))


def _link(folder: Path) -> None:
    (folder / "result.json").rename(folder / "else.json")
    (folder / "result.json").symlink_to("else.json")


def _folder(folder: Path) -> None:
    (folder / "result.json").unlink()
    (folder / "result.json").mkdir()


def _pipe(folder: Path) -> None:
    (folder / "result.json").unlink()
    os.mkfifo(folder / "result.json")


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_result_is_named_and_left_out(name: str, plant: Plant, tmp_path: Path, call: Call) -> None:
    plant("a", _right(), 1)
    DAMAGES[name](plant("b\x1b[31m", _right(), 2))
    plant("c", _right(12), 3)
    answer = call("history", tmp_path / "tree", "--json")
    assert answer.code == 0
    (skipped,) = answer.json["skipped"]
    assert skipped["path"].endswith("b\\x1b[31m") and skipped["why"]
    (group,) = answer.json["groups"]
    assert _answers(group) == [None, "worse"]  # against the last that could be read
    drawn = call("history", tmp_path / "tree")
    assert drawn.code == 0 and "skipped" in drawn.out and "\x1b" not in drawn.out
    shutil.rmtree(tmp_path / "tree" / "a")
    shutil.rmtree(tmp_path / "tree" / "c")
    call("history", tmp_path / "tree").refused("holds no result that can be read")


@pytest.mark.parametrize(
    "hostile",
    [
        {"n": 10**18, "metrics": {"top1": {"value": 50.0, "unit": "percent", "n": 10**18, "stderr": 5e-8}}},
        {"metrics": {"top1": {"value": 1e299, "unit": "fraction", "n": 1, "stderr": 1e299}}},
        {"metrics": {}, "checks": []},
        {"source": {"metrics": {"top1": {"value": 1e-299}}}},
        {"statistics": {"tolerance": {"unit": "percent_of_reference", "value": "x"}}},
        {"statistics": []},
        {"checks": [None, {"name": "top1_vs_source", "interval": [1, None]}]},
        {"command": "x" * 10**6, "started": "2026-11-02", "variant": "<b>" * 1000},
        {"throughput": {"end_to_end": {"value": "fast"}}, "environment": {"packages": 3}},
    ],
    ids=str,
)
def test_figures_that_nobody_could_have_measured_are_no_crash(
    hostile: dict[str, Any], plant: Plant, tmp_path: Path, call: Call
) -> None:
    plant("a", _right(), 1, samples=False)
    plant("b", _right(), 2, lambda value: value.update(hostile), samples=False)
    plant("c", _right(), 3, lambda value: value.update(hostile), samples=False)
    assert call("history", tmp_path / "tree", "--json").code == 0
    assert call("history", tmp_path / "tree", "--out", tmp_path / "page.html").code == 0
    assert "<b><b>" not in (tmp_path / "page.html").read_text()


def test_the_walk_follows_no_link_and_has_an_end(
    plant: Plant, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = plant("a", _right(), 1)
    shutil.copytree(a, tmp_path / "elsewhere")
    (a / "round").symlink_to(tmp_path / "tree", target_is_directory=True)
    (a / "away").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    plant("x/y/z", _right(), 2)
    value = call("history", tmp_path / "tree", "--json").json
    assert len(value["groups"][0]["rows"]) == 2 and value["notes"] == ["2 links to folders were not followed"]
    monkeypatch.setattr(walk, "MAX_DEPTH", 1)
    value = call("history", tmp_path / "tree", "--json").json
    assert len(value["groups"][0]["rows"]) == 1 and any("deeper than 1" in note for note in value["notes"])
    monkeypatch.setattr(walk, "MAX_ENTRIES", 7)  # two of the tree, five of its first folder
    assert any("ended at 7" in note for note in call("history", tmp_path / "tree", "--json").json["notes"])
    monkeypatch.setattr(walk, "MAX_DEPTH", 9)
    monkeypatch.setattr(walk, "MAX_ENTRIES", 1000)
    monkeypatch.setattr("modelport.jobs.history.history.MAX_RESULTS", 1)
    value = call("history", tmp_path / "tree", "--json").json
    assert value["groups"][0]["rows"][0]["started"].startswith("2026-11-02") and "newest 1 of 2" in str(value["notes"])


@pytest.mark.parametrize("name", ["missing", "file", "empty"])
def test_where_there_is_none_it_is_said(name: str, tmp_path: Path, call: Call) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    call("history", tmp_path / name).refused(str(tmp_path / name), "name a folder")


def test_the_table_fits_and_loses_no_word(plant: Plant, tmp_path: Path, call: Call) -> None:
    for day in range(1, 5):
        plant(f"r{day}", _right(12 * (day // 3)), day, _set(verdict="inconclusive", recipe="long-" * 30))
    out = call("history", tmp_path / "tree").out
    table = [line for line in out.splitlines() if "long-" not in line and "modelport run" not in line]
    assert max(map(len, table)) <= 80
    for words in ("2026-11-03", "inconclusive", "73.00", "70.00", "-3.00", "worse", "same", "1 certain change,", "▼"):
        assert words in out
    assert f"{HEIGHTS[-1] * 2}{HEIGHTS[0] * 2}" in out


def test_a_plot_is_high_where_the_figure_is() -> None:
    assert sparkline([0.0, None, 1.0], 0.0, 1.0) == f"{HEIGHTS[0]} {HEIGHTS[-1]}"
    assert sparkline([2.0, 2.0], 2.0, 2.0) == HEIGHTS[4] * 2
    heights = [HEIGHTS.index(character) for character in sparkline([0.1 * step for step in range(11)], 0.0, 1.0)]
    assert heights == sorted(heights) and heights[0] == 0 and heights[-1] == len(HEIGHTS) - 1
