"""``verify``: whatever is changed in a result folder is found, and nothing hostile in one is believed or followed.

That untouched folders pass is held for each run of the suite (``call`` in conftest.py), of every task and engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Call
from modelport.core.errors import ModelportError
from modelport.core.output_folder import manifest_text
from modelport.core.progress import Silent
from modelport.jobs.run import run
from modelport.jobs.run_request import RunRequest
from modelport.jobs.verify import verify
from modelport.recipes.load import load_recipe
from modelport.report.result_folder import MAX_FILE_BYTES, WRITTEN
from modelport.stages.plan import Wish

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def ran(null_path: Path, null_weights: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder; not to be changed."""
    out = tmp_path_factory.mktemp("ran") / "out"
    run(RunRequest(str(null_path), tiny_data, out, weights=null_weights, wish=Wish("null", "bf16"), limit=40), Silent())
    return out


@pytest.fixture
def folder(ran: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(ran, tmp_path / "out")
    return tmp_path / "out"


def _failed(folder: Path) -> list[str]:
    """Return what ``verify`` names; an error counts as one."""
    try:
        found = verify(folder, Silent())
    except ModelportError as error:
        return [error.found]
    rows = [row for kind in ("digests", "figures", "checks") for row in found[kind]]
    names = [row["name"] + f": {row.get('why', '')}" for row in rows if not row["fits"]]
    assert (found["verdict"] == "fail") == bool(names)
    return names


def _edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    result = json.loads((folder / "result.json").read_text())
    change(result)
    (folder / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


def _edit_line(folder: Path, name: str, number: int, change: Callable[[dict[str, Any]], None]) -> None:
    lines = (folder / name).read_text().splitlines()
    value = json.loads(lines[number - 1])
    change(value)
    lines[number - 1] = json.dumps(value, ensure_ascii=False)
    (folder / name).write_text("\n".join(lines) + "\n")


def _forge(folder: Path) -> None:
    """Make every digest of a changed folder anew, as whoever changed it would."""
    digests: dict[str, str] = {}
    for name in sorted(WRITTEN, key=lambda name: name == "result.json"):
        if name == "result.json":
            _edit(folder, lambda result: result.update(companions=dict(digests)))
        if name != "manifest.json":
            digests[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(manifest_text(digests))


def test_an_untouched_folder_passes_and_says_what_was_held(call: Call, ran: Path, null_path: Path) -> None:
    answer = call("verify", ran)
    assert answer.code == 0 and answer.out.splitlines()[-1].startswith("pass: ")
    assert "metrics.top1 " in answer.out and "not recomputed" in answer.out
    value = call("verify", ran, "--json").json
    assert (value["schema"], value["verdict"], value["unlisted"]) == ("modelport.verify/1", "pass", [])
    assert {row["name"] for row in value["digests"]} >= set(WRITTEN)
    figures = {row["name"]: row["recomputed"] for row in value["figures"]}
    result = json.loads((ran / "result.json").read_text())
    assert figures["metrics.top1"] == pytest.approx(result["metrics"]["top1"]["value"], rel=1e-12)
    assert figures["source.metrics.top5"] == pytest.approx(result["source"]["metrics"]["top5"]["value"], rel=1e-12)
    checks = {row["name"]: row["recomputed"] for row in value["checks"]}
    assert checks["verdict"] == result["verdict"] and "top1_vs_source" in checks
    assert load_recipe(str(ran / "recipe.toml")).digest == load_recipe(str(null_path)).digest


def test_a_hundred_changed_bytes_are_found(ran: Path, folder: Path) -> None:
    """One byte each, anywhere in any file, for any other byte."""
    rng, missed = np.random.default_rng(16), []
    names = sorted(path.name for path in ran.iterdir())
    assert set(names) == set(WRITTEN)
    sizes = [(ran / name).stat().st_size for name in names]
    for turn in range(100):
        # Each file is met as often; a small one would else never be.
        name, size = names[turn % len(names)], sizes[turn % len(names)]
        place, by = int(rng.integers(size)), int(rng.integers(1, 256))
        content = bytearray((ran / name).read_bytes())
        content[place] ^= by
        (folder / name).write_bytes(content)
        if not any(name in found for found in _failed(folder)):
            missed.append((name, place, by))
        shutil.copy(ran / name, folder)
    assert not missed and not _failed(folder)


@pytest.mark.parametrize("name", ["result.json", "manifest.json"])
def test_white_space_is_found(folder: Path, name: str) -> None:
    (folder / name).write_text((folder / name).read_text().replace("\n", "\n ", 1))
    assert any(found.startswith(name) or name in found for found in _failed(folder))


def _raised(result: dict[str, Any]) -> None:
    result["metrics"]["top1"]["value"] += 1.0


def _passed(result: dict[str, Any]) -> None:
    result["verdict"] = "pass" if result["verdict"] != "pass" else "fail"


def _without(result: dict[str, Any]) -> None:
    result["checks"] = [check for check in result["checks"] if check["name"] != "top1_vs_source"]


def _lenient(result: dict[str, Any]) -> None:
    next(check for check in result["checks"] if check["name"] == "top1_vs_source")["want"] -= 5.0


def _narrower(result: dict[str, Any]) -> None:
    next(check for check in result["checks"] if check["name"] == "top1_vs_source")["interval"][1] -= 0.5


def _less_sure(result: dict[str, Any]) -> None:
    result["statistics"]["confidence"] = 0.9


def _more_than_chance(result: dict[str, Any]) -> None:
    check = next(check for check in result["checks"] if check["name"] == "top1_above_chance")
    check["verdict"] = "pass" if check["verdict"] != "pass" else "inconclusive"


def _a_better_class(result: dict[str, Any]) -> None:
    result["per_class"][0]["top1"] = (result["per_class"][0]["top1"] + 50.0) % 100.0 + 1.0


def _another_slice(result: dict[str, Any]) -> None:
    result["slices_looked_at"] += 1


def _other_pairs(result: dict[str, Any]) -> None:
    result["paired"]["top1"]["both"] += 1
    result["paired"]["top1"]["neither"] -= 1


def _nothing_paired(result: dict[str, Any]) -> None:
    del result["paired"]["top1"]


def _no_slices(result: dict[str, Any]) -> None:
    del result["slices"], result["slices_looked_at"]


def _estimated(result: dict[str, Any]) -> None:
    result["statistics"]["order"] = "margin"


def _fewer_flips(result: dict[str, Any]) -> None:
    result["source"]["flip_count"] += 1


def _other_data(result: dict[str, Any]) -> None:
    result["dataset"]["fingerprint"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_raised, "metrics.top1: "),
        (_passed, "verdict: "),
        (_without, "top1_vs_source: is not among"),
        (_lenient, "top1_vs_source: "),
        (_narrower, "top1_vs_source: "),
        (_less_sure, "top1_vs_source: "),
        (_more_than_chance, "top1_above_chance: "),
        (_a_better_class, "per_class "),
        (_another_slice, "slices_looked_at: "),
        (_other_pairs, "paired.top1: "),
        (_nothing_paired, "paired.top1: "),
        (_no_slices, "slices are told: "),
        (_estimated, "result.json: "),
        (_fewer_flips, "source.flip_count: "),
        (_other_data, "dataset.fingerprint: "),
    ],
)
def test_a_forged_result_with_new_digests_is_found(
    folder: Path, change: Callable[[dict[str, Any]], None], named: str
) -> None:
    _edit(folder, change)
    _forge(folder)
    assert any(found.startswith(named) for found in _failed(folder))


def test_forged_lines_with_new_digests_are_found(folder: Path) -> None:
    """An answer made right; and an answer that only the source had made one of both, where no figure moves."""

    def right(line: dict[str, Any]) -> None:
        line["target"] = (line["top5"][0][0] + 1) % 10 if line["rank"] == 0 else line["top5"][0][0]

    _edit_line(folder, "predictions.jsonl", 7, right)
    _forge(folder)
    found = _failed(folder)
    assert any(name.startswith("metrics.top1: ") for name in found)
    assert any("samples.jsonl line 7: target" in name for name in found)


def test_paired_answers_that_the_predictions_do_not_tell_are_found(folder: Path) -> None:
    """Which answers flipped decides the interval, where their sums stay."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    wrong, right = (next(n for n, line in enumerate(lines, 1) if line["values"]["top1"] == [v, v]) for v in (0.0, 1.0))
    _edit_line(folder, "samples.jsonl", wrong, lambda line: line["values"].update(top1=[1.0, 0.0]))
    _edit_line(folder, "samples.jsonl", right, lambda line: line["values"].update(top1=[0.0, 1.0]))
    _forge(folder)
    found = _failed(folder)
    assert not any(name.startswith("metrics.") for name in found)
    assert any(f"samples.jsonl line {wrong}: values" in name for name in found)


def test_a_recipe_that_did_not_run_is_found(folder: Path) -> None:
    text = (folder / "recipe.toml").read_text()
    assert "tolerance" in text
    (folder / "recipe.toml").write_text(text.replace("[tolerance]\nvalue = ", "[tolerance]\nvalue = 1"))
    _forge(folder)
    assert any(name.startswith("recipe_sha256") for name in _failed(folder))


def test_files_that_are_missing_or_not_listed(call: Call, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "more").mkdir()
    answer = call("verify", folder)
    assert answer.code == 0 and "not in the manifest: notes.txt" in answer.out
    assert call("verify", folder, "--json").json["unlisted"] == ["more/", "notes.txt"]
    (folder / "report.md").unlink()
    assert any(name.startswith("report.md: ") for name in _failed(folder))
    # Taken out of the lists as well, it is still what every run writes.
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["report.md"], manifest["manifest.json"]
    (folder / "manifest.json").write_text(manifest_text(manifest))
    assert any(name.startswith("report.md: is not in manifest.json") for name in _failed(folder))


def test_what_is_no_result_folder(call: Call, folder: Path, tmp_path: Path) -> None:
    call("verify", tmp_path / "none").refused("none", "run --out")
    call("verify", tmp_path).refused("holds no result")
    call("verify", folder / "report.md").refused("report.md")
    (folder / "manifest.json").unlink()
    call("verify", folder).refused("manifest.json", "older modelport")


def test_another_schema_is_refused(call: Call, folder: Path) -> None:
    _edit(folder, lambda result: result.update(schema="modelport.result/2"))
    _forge(folder)
    call("verify", folder).refused("result.json", "schema")


def _replaced(name: str, content: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)
        _forge(folder)

    return change


def _line(name: str, text: str) -> Change:
    def change(folder: Path) -> None:
        lines = (folder / name).read_text().splitlines()
        lines[2] = text.replace("ID", json.loads(lines[2])["id"])
        _replaced(name, "\n".join(lines) + "\n")(folder)

    return change


def _linked(folder: Path) -> None:
    (folder / "report.md").unlink()
    (folder / "report.md").symlink_to("/etc/passwd")


def _linked_lines(folder: Path) -> None:
    (folder / "samples.jsonl").rename(folder.parent / "elsewhere")
    (folder / "samples.jsonl").symlink_to(folder.parent / "elsewhere")


def _pipe(folder: Path) -> None:
    (folder / "predictions.jsonl").unlink()
    os.mkfifo(folder / "predictions.jsonl")


def _sparse(folder: Path) -> None:
    with (folder / "samples.jsonl").open("r+b") as stream:
        stream.truncate(10 * 1024**3)
    assert (folder / "samples.jsonl").stat().st_size > MAX_FILE_BYTES


def _outside(name: str) -> Change:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text()) | {name: "0" * 64}
        del manifest["manifest.json"]
        (folder / "manifest.json").write_text(manifest_text(manifest))

    return change


def _linked_folder(folder: Path) -> None:
    (folder / "drawn").symlink_to("/etc")
    _outside("drawn/passwd")(folder)


def _bare(name: str, content: str) -> Change:
    """Write a file without any digest anew."""
    return lambda folder: (folder / name).write_text(content)


def _result(change: Callable[[dict[str, Any]], None]) -> Change:
    def changed(folder: Path) -> None:
        _edit(folder, change)
        _forge(folder)

    return changed


DEEP, HUGE = "[" * 100_000, "9" * 4000
HOSTILE: dict[str, tuple[Change, str]] = {
    "link": (_linked, "report.md"),
    "link to lines": (_linked_lines, "samples.jsonl"),
    "pipe": (_pipe, "predictions.jsonl"),
    "sparse": (_sparse, "samples.jsonl"),
    "outside": (_outside("../../etc/passwd"), "passwd"),
    "absolute": (_outside("/etc/passwd"), "passwd"),
    "through a link": (_linked_folder, "drawn/passwd"),
    "nul": (_outside("a\0b"), "a"),
    "deep result": (_bare("result.json", DEEP), "result.json"),
    "deep line": (_line("predictions.jsonl", '{"id": "ID", "top5": ' + DEEP), "predictions.jsonl line 3"),
    "nan": (_line("samples.jsonl", '{"id": "ID", "sha256": "", "agrees": null, "x": NaN}'), "samples.jsonl line 3"),
    "no object": (_line("samples.jsonl", "7"), "samples.jsonl line 3"),
    "half": (_line("samples.jsonl", '{"id": "ID"'), "samples.jsonl line 3"),
    "keys": (_line("samples.jsonl", '{"id": "ID"}'), "samples.jsonl line 3"),
    "types": (_line("predictions.jsonl", '{"id": "ID", "top5": 3, "rank": {}}'), "predictions.jsonl line 3"),
    "huge": (
        _line("predictions.jsonl", f'{{"id": "ID", "rank": {HUGE}, "source_rank": 0, "top5": [[{HUGE}, 0]]}}'),
        "predictions.jsonl line 3",
    ),
    "value": (
        _line("samples.jsonl", f'{{"id": "ID", "sha256": "", "agrees": null, "values": {{"top1": [{HUGE}, 1]}}}}'),
        "samples.jsonl line 3",
    ),
    "another sample": (_line("samples.jsonl", '{"id": "x"}'), "line 3"),
    "surrogate": (
        _line("samples.jsonl", r'{"id": "ID", "sha256": "\ud800", "agrees": null, "target": 0}'),
        "samples.jsonl line 3",
    ),
    "recipe": (_replaced("recipe.toml", "schema = 3"), "recipe.toml"),
    "deep recipe": (_replaced("recipe.toml", f"x = {DEEP}"), "recipe.toml"),
    "result of lists in lists": (
        _result(lambda result: result["dataset"].update(fingerprint=json.loads("[" * 900 + "]" * 900))),
        "dataset.fingerprint",
    ),
    "result of lists": (_result(lambda result: result.update(checks=[[]])), "result.json"),
    "result of words": (
        _result(lambda result: result["metrics"]["top1"].update(value="x", n=[], unit={})),
        "top1",
    ),
    "manifest of numbers": (_bare("manifest.json", '{"a": 1}'), "manifest.json"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_folder_is_named_and_nothing_else_is_read(
    call: Call, folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, named = HOSTILE[kind]
    change(folder)
    opened: list[str] = []
    plain_open = os.open

    def told(path: Any, *rest: Any, **more: Any) -> int:
        opened.append(str(path))
        return plain_open(path, *rest, **more)

    monkeypatch.setattr(os, "open", told)
    answer = call("verify", folder)
    assert answer.code in (1, 2) and "Traceback" not in answer.err
    assert named in answer.out + answer.err
    assert not any("passwd" in path and path != "passwd" for path in opened)


def test_escapes_in_names_are_shown_as_text(call: Call, folder: Path) -> None:
    (folder / "\x1b[31mred").write_text("x")
    _edit_line(folder, "samples.jsonl", 1, lambda line: line.update(id="\x1b[2J"))
    _edit_line(folder, "predictions.jsonl", 1, lambda line: line.update(id="\x1b[2J"))
    _edit_line(folder, "samples.jsonl", 2, lambda line: line.update(id="\x1b[2J"))
    _edit_line(folder, "predictions.jsonl", 2, lambda line: line.update(id="\x1b[2J"))
    _forge(folder)
    answer = call("verify", folder)
    assert answer.code == 1 and "more than once" in answer.out
    assert "\x1b[31m" not in answer.out and "\x1b[2J" not in answer.out and "\\x1b" in answer.out
