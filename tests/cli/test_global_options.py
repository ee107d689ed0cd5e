"""The options that every verb takes, completion, and wrong words on the line: what typer finds is told as all else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Call

WRONG = {
    "run moco-v2 --frce": ("--frce", "did you mean '--force'?"),
    "list --jsn": ("--jsn", "did you mean '--json'?"),
    "run moco-v2": ("--out", "`modelport run --help`"),
    "run moco-v2 --data d --out o --batch x1": ("--batch x1", "integer"),
    "run moco-v2 --data d --out o --batch=x1": ("--batch x1", "integer"),
    "samples data imagenet --out o --count 0": ("--count 0", "`modelport samples data --help`"),
    "rnu": ("rnu", "'run'"),
    "samples dat": ("dat", "'data'"),
    "list extra": ("extra", "`modelport list --help`"),
    "bench moco-v2 --batch": ("--batch", "`modelport bench --help`"),
    "--frob": ("--frob", "`modelport --help`"),
}


@pytest.mark.parametrize("line", WRONG)
def test_wrong_usage_is_one_message_with_a_fix_and_json_where_that_is_asked_for(line: str, call: Call) -> None:
    said = call(*line.split())
    said.refused("error: ", "\n  fix: ", *WRONG[line])
    assert said.out == "" and len(said.err.splitlines()) == 2
    for words in ([*line.split(), "--json"], ["--json", *line.split()]):
        answer = call(*words)
        assert answer.code == 2
        assert answer.json == {
            "schema": "modelport.error/1",
            "error": said.err.splitlines()[0].removeprefix("error: "),
            "fix": said.err.splitlines()[1].removeprefix("  fix: "),
        }


@pytest.mark.parametrize("line", ["", "samples", "aipp"])
def test_no_command_is_help_and_wrong(line: str, call: Call) -> None:
    answer = call(*line.split())
    assert answer.code == 2 and "Usage: " in answer.out
    answer = call(*line.split(), "--json")
    assert answer.code == 2 and answer.json["error"] == "no command was given" and "--help" in answer.json["fix"]


def test_the_end_of_a_file_is_no_wrong_usage(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise EOFError("ended early")

    monkeypatch.setattr("modelport.recipes.load.load_recipe", broken)
    answer = call("show", "moco-v2")
    assert answer.code == 70 and "EOFError: ended early" in answer.err


def _words(null_path: Path, null_weights: Path, tiny_data: Path, out: Path) -> list[object]:
    given = ["--weights", null_weights, "--data", tiny_data, "--engine", "null"]
    return ["run", null_path, *given, "--limit", 20, "--out", out]


def test_quiet_leaves_the_verdict_alone(
    call: Call, null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    usual = call(*_words(null_path, null_weights, tiny_data, tmp_path / "a"))
    first = call("-q", *_words(null_path, null_weights, tiny_data, tmp_path / "b"))
    last = call(*_words(null_path, null_weights, tiny_data, tmp_path / "c"), "--quiet")
    assert usual.code == first.code == last.code == 3
    for answer, name in ((first, "b"), (last, "c")):
        assert answer.out == f"verdict: inconclusive   report: {tmp_path / name / 'report.md'}\n"
        assert answer.err == ""
    assert usual.out.splitlines()[-1].startswith("verdict: inconclusive") and len(usual.out.splitlines()) > 5
    whole = call("--quiet", "--json", *_words(null_path, null_weights, tiny_data, tmp_path / "d"))
    assert whole.json.keys() == json.loads((tmp_path / "a" / "result.json").read_text()).keys()
    call("-q", *_words(null_path, null_weights, tiny_data, tmp_path / "a")).refused("--force")


def test_quiet_leaves_what_is_a_result_from_end_to_end(call: Call, tmp_path: Path) -> None:
    for words in (["list"], ["show", "moco-v2"], ["aipp", "write", "moco-v2", "--out", tmp_path / "a.cfg"]):
        quiet, usual = call(*words, "-q"), call(*words)
        assert quiet.code == usual.code == 0
        assert quiet.out == (usual.out.splitlines(keepends=True)[-1] if words[0] == "aipp" else usual.out)


def test_verbose_tells_stages_with_their_seconds_and_what_came_from_the_cache(
    call: Call, null_path: Path, null_weights: Path, tiny_data: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        answer = call(*_words(null_path, null_weights, tiny_data, tmp_path / name), "-v")
        lines = answer.err.splitlines()
        assert all(re.match(r"\[ *\d+\.\d\d s\] ", line) for line in lines), answer.err
        told = [found[1] for line in lines if (found := re.search(r"\] (.*): \d+\.\d\d s$", line))]
        assert told == [
            *("source", "graph", "precision fp32", "build for null"),
            *("source model", "load into null", "evaluating"),
        ]
    assert "every answer from the cache" in answer.err
    assert call(*_words(null_path, null_weights, tiny_data, tmp_path / "c")).err == ""


@pytest.mark.slow
def test_verbose_tells_the_seconds_of_whatever_has_a_bar(call: Call, tmp_path: Path) -> None:
    answer = call("samples", "data", "imagenet", "--out", tmp_path / "d", "--count", 10, "--verbose")
    assert answer.code == 0 and re.search(r"\] drawing: \d+\.\d\d s$", answer.err, re.MULTILINE)


def test_quiet_and_verbose_at_once_are_refused(call: Call) -> None:
    call("list", "-q", "--verbose").refused("--quiet and --verbose", "one of them")
    assert call("list", "--", "-q").code == 2  # behind -- it is a word like any other


def _shell(words: list[str], **place: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-X", "importtime", "-m", "modelport", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | place)


def test_completion_completes_without_loading_anything_heavy() -> None:
    for typed, offered in (("modelport be", ["bench"]), ("modelport run --ou", ["--out"])):
        count = str(len(typed.split()) - 1)
        done = _shell([], _MODELPORT_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=count)
        assert (done.returncode, done.stdout.split()) == (0, offered)
        for package in ("numpy", "torch", "onnx", "PIL", "rich.table"):
            assert not re.search(rf"\| +{re.escape(package)}$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed(shell: str, tmp_path: Path) -> None:
    place = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = _shell(["--show-completion", shell], **place)
    assert shown.returncode == 0 and "_MODELPORT_COMPLETE" in shown.stdout
    done = _shell(["--install-completion", shell], **place)
    assert done.returncode == 0 and f"{shell} completion installed" in done.stdout
    assert any("_MODELPORT_COMPLETE" in file.read_text() for file in tmp_path.rglob("*") if file.is_file())
