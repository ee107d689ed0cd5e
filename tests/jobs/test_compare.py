"""``modelport compare``: results with planted changes are told rightly, and what is not comparable is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from modelport.recipes.load import load_recipe
from planted_results import Change, digest, null_run, planted

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def made(null_path: Path, null_weights: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder as ``run`` leaves it; not to be changed."""
    return null_run(null_path, tiny_data, null_weights, tmp_path_factory.mktemp("made") / "out")


@pytest.fixture
def plant(made: Path, tmp_path: Path, null_path: Path) -> Callable[..., Path]:
    """Write a folder of that form in which the samples are answered as planted."""
    return lambda name, right, *words, **more: planted(tmp_path / name, made, null_path, right, *words, **more)


def _pair(both: int, lost: int, gained: int, neither: int) -> tuple[list[bool], list[bool]]:
    cells = [(True, True)] * both + [(True, False)] * lost + [(False, True)] * gained + [(False, False)] * neither
    return [first for first, _ in cells], [last for _, last in cells]


# (both, lost, gained, neither), the tolerance in points → what is told of the change, and of the whole. The sign test
# of 12 flips one way is 2/4096, of 8 against 2 it is 0.11; without flips 305 samples exclude a loss of 1 in a hundred.
PAIRED = [
    ((280, 0, 0, 120), 1.0, "same", "not worse"),
    ((280, 0, 0, 26), 1.0, "same", "not worse"),
    ((280, 0, 0, 20), 1.0, "same", "cannot tell"),
    ((280, 12, 0, 108), 1.0, "worse", "worse"),
    ((280, 0, 12, 108), 1.0, "better", "not worse"),
    ((280, 12, 0, 108), 6.0, "worse", "not worse"),
    ((280, 12, 0, 108), 3.0, "worse", "cannot tell"),
    ((280, 8, 2, 110), 1.0, "cannot tell", "cannot tell"),
    ((280, 2, 8, 110), 1.0, "cannot tell", "not worse"),
    ((280, 40, 38, 42), 1.0, "cannot tell", "cannot tell"),
    ((1400, 2, 2, 596), 1.0, "cannot tell", "not worse"),
    ((1400, 60, 10, 530), 1.0, "worse", "worse"),
    ((1400, 10, 60, 530), 1.0, "better", "not worse"),
    ((30, 3, 0, 7), 1.0, "cannot tell", "cannot tell"),
]
# Right answers of each of other samples. Two shares of 2,000 each are told apart from about 5 points on.
UNPAIRED = [
    ((1400, 1200, 2000), 1.0, "worse", "worse"),
    ((1200, 1400, 2000), 1.0, "better", "not worse"),
    ((1400, 1390, 2000), 1.0, "cannot tell", "cannot tell"),
    ((1400, 1400, 2000), 8.0, "cannot tell", "not worse"),
    ((70, 60, 100), 1.0, "cannot tell", "cannot tell"),
    ((100, 0, 100), 1.0, "worse", "worse"),
]
CODES = {"not worse": 0, "worse": 1, "cannot tell": 3}


@pytest.mark.parametrize(("cells", "tolerance", "change", "whole"), PAIRED)
def test_planted_flips_of_the_same_samples(
    cells: tuple[int, int, int, int], tolerance: float, change: str, whole: str, plant: Callable[..., Path], call: Call
) -> None:
    first, last = _pair(*cells)
    answer = call("compare", plant("a", first), plant("b", last), "--max-drop", tolerance, "--json")
    row = answer.json["rows"][0]
    assert (row["metric"], row["verdict"], answer.json["verdict"]) == ("top1", change, whole), row
    assert answer.code == CODES[whole] and answer.json["schema"] == "modelport.compare/1"
    assert answer.json["paired"] is True and answer.json["samples"] == sum(cells)
    names = ("both", "only_baseline", "only_other", "neither")
    assert row["paired"] == dict(zip(names, cells, strict=True))
    assert row["change"] == pytest.approx(100 * (cells[2] - cells[1]) / sum(cells))
    assert row["interval"][0] <= row["change"] <= row["interval"][1]
    flips = answer.json["flips"][0]
    assert (flips["lost"], flips["gained"]) == cells[1:3]
    wanted = [f"{place:05}.png" for place, (one, other) in enumerate(zip(first, last, strict=True)) if one != other]
    assert [flip["id"] for flip in flips["listed"]] == wanted[:100]
    assert {flip["flip"] for flip in flips["listed"][: cells[1]]} <= {"lost"}


@pytest.mark.parametrize(("counts", "tolerance", "change", "whole"), UNPAIRED)
@pytest.mark.parametrize("told", [True, False], ids=["other samples", "samples not told"])
def test_planted_changes_on_other_samples(
    counts: tuple[int, int, int], tolerance: float, change: str, whole: str, told: bool, plant: Any, call: Call
) -> None:
    mine, theirs, n = counts
    first = plant("a", [place < mine for place in range(n)], samples=told)
    last = plant("b", [place < theirs for place in range(n)], start=n if told else 0, samples=told)
    answer = call("compare", first, last, "--max-drop", tolerance, "--json")
    row = answer.json["rows"][0]
    assert (row["verdict"], answer.json["verdict"]) == (change, whole), row
    assert answer.code == CODES[whole]
    assert answer.json["paired"] is False and answer.json["samples"] == 0 and row["paired"] is None
    why = "no sample is in both" if told else "no samples.jsonl of its own lies beside"
    assert "unpaired" in row["why"] and why in answer.out
    assert row["interval"][0] <= row["change"] <= row["interval"][1]


def test_of_sets_that_overlap_what_is_in_both_is_paired(plant: Any, call: Call) -> None:
    first, last = _pair(280, 0, 12, 108)
    a = plant("a", [*first, *[True] * 50])
    b = plant("b", last)
    answer = call("compare", a, b, "--max-drop", 1, "--json")
    row = answer.json["rows"][0]
    assert answer.json["samples"] == row["n"] == 400 and row["verdict"] == "better"
    assert row["change"] == pytest.approx(3.0) and row["values"][1] - row["values"][0] < 0.5
    assert any("share 400 samples (of 450 and 400)" in note for note in answer.json["notes"])


@pytest.fixture
def pair(plant: Any) -> tuple[Path, Path]:
    """Two results of the same samples, 12 of 400 lost."""
    first, last = _pair(280, 12, 0, 108)
    return plant("a", first), plant("b", last)


def _rewrite(folder: Path, change: Change) -> None:
    value = json.loads((folder / "result.json").read_text())
    change(value)
    (folder / "result.json").write_text(json.dumps(value))


def _set(**keys: Any) -> Change:
    return lambda value: value.update(keys)


def test_the_tolerance_is_the_recipes_or_what_is_said(pair: Any, call: Call) -> None:
    told = call("compare", *pair, "--json").json["rows"][0]["tolerance"]
    assert told == {"value": 1.0, "unit": "points", "from": "recipe", "rule": "fixed", "verdict": "worse"}
    told = call("compare", *pair, "--max-drop", 6, "--json").json["rows"][0]["tolerance"]
    assert (told["value"], told["from"], told["verdict"]) == (6.0, "--max-drop", "not worse")
    (pair[0] / "recipe.toml").unlink()
    told = call("compare", *pair, "--json").json["rows"][0]["tolerance"]
    assert (told["value"], told["unit"], told["from"]) == (2.5, "percent_of_reference", "result")
    _rewrite(pair[0], _set(statistics={}))
    call("compare", *pair).refused("what may be lost is not told", "--max-drop X")
    call("compare", *pair, "--max-drop", "-1").refused("--max-drop -1")
    call("compare", *pair, "--max-drop", "nan").refused("--max-drop nan")


def test_a_result_file_serves_as_its_folder_does(pair: Any, call: Call) -> None:
    answer = call("compare", pair[0] / "result.json", pair[1], "--json")
    assert answer.json["paired"] and answer.code == 1
    # A copy of another name is no folder's own.
    shutil.copy(pair[0] / "result.json", pair[1] / "copy.json")
    answer = call("compare", pair[1] / "copy.json", pair[1], "--json")
    assert not answer.json["paired"] and "no samples.jsonl of its own lies beside" in answer.out


def test_on_the_full_published_set_the_observed_drop_decides(pair: Any, call: Call) -> None:
    for folder in pair:
        _rewrite(folder, _set(published=[{"metric": "top1", "value": 70.0, "applies": True}]))
    for drop, whole in ((2.9, "worse"), (3.1, "not worse")):
        answer = call("compare", *pair, "--max-drop", drop, "--json")
        assert answer.json["verdict"] == whole and answer.json["rows"][0]["tolerance"]["rule"] == "full_set"


def test_each_is_held_against_the_first_and_the_code_is_about_the_last(plant: Any, call: Call) -> None:
    first, lost = _pair(280, 40, 0, 80)
    a, b, c = plant("a", first), plant("b", lost), plant("c", first)
    answer = call("compare", a, b, c, "--json")
    words = {row["of"]: row["verdict"] for row in answer.json["rows"] if row["metric"] == "top1"}
    assert words == {1: "worse", 2: "same"} and answer.code == 0
    assert call("compare", a, c, b, "--json").code == 1
    assert [flips["of"] for flips in answer.json["flips"]] == [1, 2]
    assert answer.json["correction"] == {"method": "holm", "tests": 2}


def test_figures_that_are_no_means_of_samples_are_told_alone(plant: Any, call: Call) -> None:
    def detector(value: dict[str, Any], figure: float) -> None:
        value["metrics"] = {"mAP": {"value": figure, "unit": "fraction", "n": value["n"], "stderr": None}}
        value["checks"], value["paired"] = [{"name": "mAP_vs_source"}], {}

    right = [True] * 400
    a = plant("a", right, change=lambda value: detector(value, 0.40))
    b = plant("b", right, change=lambda value: detector(value, 0.35))
    answer = call("compare", a, b, "--json")
    row = answer.json["rows"][0]
    assert answer.code == 3 and row["verdict"] == "cannot tell" and row["interval"] is None
    assert row["change"] == pytest.approx(-0.05) and "no mean of samples" in row["why"]
    for folder in (a, b):
        _rewrite(folder, _set(published=[{"metric": "mAP", "value": 0.4, "applies": True}]))
    # Five points of 100, on the full set.
    assert call("compare", a, b, "--max-drop", 4.9, "--json").code == 1
    assert call("compare", a, b, "--max-drop", 5.1, "--json").code == 0


@pytest.mark.parametrize(("n", "code"), [(290, 3), (310, 0)])
def test_answers_that_are_the_same_to_the_byte_leave_no_figure_in_doubt(
    n: int, code: int, plant: Any, call: Call
) -> None:
    """None of n images differs: at 0.99 to the n below 5 % that excludes one in a hundred that would."""
    content = b'{"id": "00000.png", "boxes": []}\n'

    def detector(value: dict[str, Any]) -> None:
        value["metrics"] = {"mAP": {"value": 0.5, "unit": "fraction", "n": n, "stderr": None}}
        value["metrics"]["r2"] = value["metrics"]["mAP"]
        value["checks"], value["paired"] = [{"name": "mAP_vs_source"}], {}
        value["companions"]["predictions.jsonl"] = digest(content)

    folders = [plant(name, [True] * n, change=detector) for name in "ab"]
    for folder in folders:
        (folder / "predictions.jsonl").write_bytes(content)
    answer = call("compare", *folders, "--json")
    row, endless = answer.json["rows"][:2]
    assert answer.code == code and row["verdict"] == endless["verdict"] == "same" and endless["interval"] is None
    assert row["interval"][1] == pytest.approx(1 - 0.05 ** (1 / n))
    (folders[1] / "predictions.jsonl").write_bytes(content + b"{}")
    call("compare", *folders).refused(str(folders[1] / "predictions.jsonl"), "another sha256")


def test_samples_of_unequal_weight_are_told_alone(pair: Any, call: Call) -> None:
    text = (pair[1] / "samples.jsonl").read_text().replace('"target": 0,', '"target": 0, "weight": 0.5,')
    (pair[1] / "samples.jsonl").write_text(text)
    _rewrite(pair[1], _set(companions={"samples.jsonl": digest(text.encode())}))
    answer = call("compare", *pair, "--json")
    row = answer.json["rows"][0]
    assert answer.code == 3 and row["interval"] is None and "drawn more often" in row["why"]
    assert (answer.json["flips"][0]["lost"], answer.json["flips"][0]["gained"]) == (12, 0)


def test_what_is_right_in_part_or_stopped_when_sure_is_judged_by_bets(plant: Any, call: Call) -> None:
    first, last = _pair(280, 60, 0, 60)
    a = plant("a", first, change=_set(statistics={"rule": "sequential"}))
    answer = call("compare", a, plant("b", last), "--json")
    row = answer.json["rows"][0]
    assert row["verdict"] == "worse" and row["tolerance"]["rule"] == "any_moment" and "bets" in row["why"]
    assert answer.json["paired"] is True and row["paired"] is None
    exact = call("compare", plant("c", first), plant("d", last), "--json").json["rows"][0]
    assert row["interval"][0] < exact["interval"][0] < exact["interval"][1] < row["interval"][1]
    # Both stopped: of one order the samples in both are its first ones, of two orders they are chosen by both answers.
    late = plant("e", last, change=_set(statistics={"rule": "sequential"}, seed=1))
    row = call("compare", a, late, "--json").json["rows"][0]
    assert row["verdict"] == "cannot tell" and "different orders (seed)" in row["why"]
    far = plant("f", last, start=1000)
    row = call("compare", a, far, "--json").json["rows"][0]
    assert row["verdict"] == "cannot tell" and row["interval"] is None and "stopped" in row["why"]


LATENCY = {"min": 1.0, "median": 1.1, "p90": 1.2}


def test_a_speed_is_certain_on_one_machine_where_the_runs_do_not_overlap(pair: Any, call: Call) -> None:
    def speeds(latency: float, rate: float, **place: Any) -> Change:
        def change(value: dict[str, Any]) -> None:
            value["latency_ms"] = {"host": {key: latency * number for key, number in LATENCY.items()}}
            value["throughput"] = {name: {"value": rate} for name in ("end_to_end", "host")} | {"device": None}
            value["environment"] |= place

        return change

    def words(change: Change) -> dict[str, str]:
        _rewrite(pair[1], change)
        rows = call("compare", *pair, "--json").json["rows"]
        return {row["metric"]: row["verdict"] for row in rows if row["metric"] != "top1"}

    _rewrite(pair[0], speeds(1.0, 900.0))
    slower = words(speeds(1.3, 700.0))
    assert slower == {"latency_host": "worse", "throughput_end_to_end": "cannot tell", "throughput_host": "worse"}
    assert words(speeds(0.8, 1100.0))["latency_host"] == "better"
    assert set(words(speeds(1.1, 800.0)).values()) == {"cannot tell"}
    assert set(words(speeds(1.3, 700.0, cores=1)).values()) == {"cannot tell"}
    assert "environment.cores" in call("compare", *pair, "--json").json["differs"]


def test_what_differs_is_named(pair: Any, call: Call) -> None:
    def change(value: dict[str, Any]) -> None:
        value["environment"]["packages"] |= {"onnxruntime": "0.9", "modelport": "0.0.1"}
        value["engine"], value["verdict"] = "onnxruntime", "fail"

    _rewrite(pair[1], change)
    answer = call("compare", *pair, "--json").json
    assert answer["differs"]["engine"] == ["null", "onnxruntime"]
    assert answer["differs"]["environment.packages.onnxruntime"][1] == "0.9"
    assert any("computed by modelport" in note and "0.0.1" in note for note in answer["notes"])
    assert any("own verdict is fail" in note for note in answer["notes"])


def test_what_does_not_answer_the_same_question_is_refused_by_the_key(pair: Any, call: Call) -> None:
    a, b = pair
    kept = (b / "result.json").read_text(), (b / "recipe.toml").read_text()

    def restored() -> None:
        (b / "result.json").write_text(kept[0])
        (b / "recipe.toml").write_text(kept[1])

    def other_recipe(old: str, new: str) -> None:
        assert old in kept[1]
        text = kept[1].replace(old, new)
        (b / "recipe.toml").write_text(text)

        def change(value: dict[str, Any]) -> None:
            value["companions"]["recipe.toml"] = digest(text.encode())
            value["recipe_sha256"] = load_recipe(str(b / "recipe.toml")).digest

        _rewrite(b, change)

    for change, words in (
        (_set(recipe="other"), ("recipe is tiny and other",)),
        (_set(variant="small"), ("variant is none and small",)),
        (lambda value: value["dataset"].update(labels="not looked at"), ("dataset.labels", str(b))),
    ):
        _rewrite(b, change)
        call("compare", a, b).refused(*words)
        restored()
    (b / "recipe.toml").write_text(kept[1] + "\n")
    call("compare", a, b).refused(str(b / "recipe.toml"), "another sha256")
    restored()
    other_recipe("size = 40", "size = 36")
    call("compare", a, b).refused("recipes differ in preprocess[", "size")
    (b / "recipe.toml").unlink()
    call("compare", a, b).refused("recipe_sha256 differs")
    restored()
    other_recipe("[run]\nbatch = 8", "[run]\nbatch = 2")
    answer = call("compare", a, b, "--json")
    assert answer.code == 1 and any("recipes differ in run.batch" in note for note in answer.json["notes"])


def test_other_labels_of_the_same_samples_are_refused(plant: Any, pair: Any, call: Call) -> None:
    lines = [json.loads(line) for line in (pair[1] / "samples.jsonl").read_text().splitlines()]
    lines[7]["target"] = 3
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (pair[1] / "samples.jsonl").write_text(text)
    _rewrite(pair[1], _set(companions={"samples.jsonl": digest(text.encode())}))
    call("compare", *pair).refused("other labels", "00007.png")


def test_broken_results_are_refused_by_name(pair: Any, call: Call, tmp_path: Path) -> None:
    a, b = pair
    call("compare", a).refused("1 results were given")
    call("compare", a, tmp_path / "none").refused(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    call("compare", a, tmp_path / "empty").refused("result.json")
    os.mkfifo(tmp_path / "pipe")
    call("compare", a, tmp_path / "pipe").refused("named pipe")
    kept = (b / "result.json").read_text()
    for text, word in (
        ("[" * 100_000, "no JSON"),
        ("[]", "another schema"),
        ('{"schema": "modelport.result/9"}', "another schema"),
        (kept.replace('"batch": 8', '"batch": "8"'), "batch: is of another kind"),
        (kept.replace('"top1": {"value": 70.0', '"top1": {"value": "70"'), "metrics.top1"),
        (kept.replace('"top1": {', '"top1\\u202e": {'), "metrics.top1\\u202e"),
        (kept.replace('"recipe": "tiny", ', ""), "recipe: is missing"),
    ):
        assert text != kept
        (b / "result.json").write_text(text)
        call("compare", a, b).refused(str(b / "result.json"), word)
    (b / "result.json").write_text(kept)
    samples = (b / "samples.jsonl").read_text()
    for text, word in (
        (samples + samples[: samples.index("\n") + 1], "comes twice"),
        (samples.replace('"id"', '"ids"', 1), "line 1: id or sha256"),
        (samples.replace("1.0", "17.0", 1), "line 1: top1: is no number from 0 to 1"),
        ("nothing\n" + samples, "line 1"),
    ):
        (b / "samples.jsonl").write_text(text)
        _rewrite(b, _set(companions={"samples.jsonl": digest(text.encode())}))
        call("compare", a, b).refused(str(b / "samples.jsonl"), word)
    _rewrite(b, _set(companions={"samples.jsonl": digest(samples.encode())}))
    call("compare", a, b).refused(str(b / "samples.jsonl"), "another sha256")
    changed = samples.replace("[1.0, 1.0]", "[0.0, 1.0]", 1)
    (b / "samples.jsonl").write_text(changed)
    _rewrite(b, _set(companions={"samples.jsonl": digest(changed.encode())}))
    call("compare", a, b).refused("top1 of its samples is 69.75", "the result says 70")


HOSTILE = "b%,:\n::error::x<&"


def test_github_reads_nothing_but_our_commands(
    pair: Any, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    b = pair[1].rename(tmp_path / HOSTILE)
    answer = call("compare", pair[0], b, "--github")
    assert answer.code == 1
    lines = answer.out.splitlines()
    token = lines[0].removeprefix("::stop-commands::")
    end = lines.index(f"::{token}::")
    commands = [line for line in lines[end + 1 :] if line]
    assert commands and all(
        line.startswith(("::error title=", "::warning title=", "::notice title=")) for line in commands
    )
    assert commands[0].startswith("::error title=top1%3A worse::top1 73.00 (")
    assert "b%25,:\\x0a::error::x<&)" in commands[0]
    text = summary.read_text()
    assert text.startswith("before\n") and "modelport compare: worse" in text
    assert "b%,:\\\\x0a::error::x&lt;&" in text and "\n::error" not in text
    row = next(line for line in text.splitlines() if line.startswith("| top1 |"))
    assert "-3.00 [" in row and row.count(" | ") == 6
    call("compare", *(pair[0], b), "--github", "--json").refused("--github", "--json-out")


def test_junit_has_a_case_for_each_row(pair: Any, call: Call, tmp_path: Path) -> None:
    b = pair[1].rename(tmp_path / HOSTILE)
    file = tmp_path / "junit.xml"
    file.write_text("old")
    answer = call("compare", pair[0], b, "--junit", file, "--json")
    suite = ElementTree.parse(file).getroot().find("testsuite")
    assert suite is not None
    cases = suite.findall("testcase")
    rows = answer.json["rows"]
    assert [case.get("name") for case in cases] == [row["metric"] for row in rows]
    assert {case.get("classname") for case in cases} == {f"{tmp_path}/b%,:\\x0a::error::x<&"}
    found = [(case.find("failure") is not None, case.find("skipped") is not None) for case in cases]
    assert found == [(row["verdict"] == "worse", row["verdict"] == "cannot tell") for row in rows]
    assert suite.get("tests") == str(len(rows)) and suite.get("failures") == "1"
    assert "12 lost, 0 gained" in (cases[0].findtext("failure") or "")
    # What is worse for certain and within the tolerance is no failure.
    call("compare", pair[0], b, "--junit", file, "--max-drop", 6)
    suite = ElementTree.parse(file).getroot().find("testsuite")
    assert suite is not None and suite.get("failures") == "0"
    call("compare", pair[0], b, "--junit", tmp_path).refused("is a folder")


def test_real_results_of_one_model_are_the_same(made: Path, call: Call, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "again")
    answer = call("compare", made, tmp_path / "again", "--max-drop", 3)
    assert answer.code == 0 and "verdict: not worse" in answer.out
    assert call("compare", made, tmp_path / "again", "--max-drop", 3, "-q").out.count("\n") == 1
