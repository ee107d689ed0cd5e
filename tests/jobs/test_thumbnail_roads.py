"""``thumbnails/`` on the roads that write a result: which flips, held by the manifest, gone with the old result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import modelport as mp
from conftest import Call
from modelport.core.artifacts import digest_bytes
from modelport.core.progress import Silent
from modelport.jobs.verify import verify
from modelport.report.thumbnails import draw_thumbnails

PLACE = "thumbnails"


def _run(call: Call, recipe: Path, weights: Path, data: Path, out: Path, *words: object) -> Any:
    given = ("--weights", weights, "--data", data, "--out", out, "--engine", "null", "--precision", "bf16", "--force")
    return call("run", recipe, *given, "--json", *words).json


def _index(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / PLACE / "index.json").read_text())
    return found


@pytest.fixture
def other(null_weights: Path, tmp_path: Path) -> Path:
    """Weights whose bf16 model answers some samples otherwise: all classes are nearly alike."""
    values = dict(np.load(null_weights))
    (name,) = values
    alike = 0.002 * values[name] + values[name].mean(axis=1, keepdims=True)
    np.savez(tmp_path / "other.npz", **{name: alike})
    return tmp_path / "other.npz"


@pytest.mark.parametrize("words", [(), ("--until-decided",), ("--predict",), ("--until-decided", "--order", "margin")])
def test_flips_are_drawn_and_listed(
    call: Call, null_path: Path, other: Path, tiny_data: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    result = _run(call, null_path, other, tiny_data, out, *words)
    index, lines = _index(out), [json.loads(text) for text in (out / "samples.jsonl").read_text().splitlines()]
    # Where scores tie, the same answer counts as wrong.
    away = [one for one in lines if not one["agrees"] or one["correct"] != one["source_correct"]]
    flipped = {one["id"]: one["sha256"] for one in away}
    shown = {entry["id"]: entry["sha256"] for entry in index.values()}
    assert flipped and len(index) == len(shown) == min(48, len(flipped)) and shown.items() <= flipped.items()
    files = {f"{PLACE}/{name}" for name in (*index, "index.json")}
    assert {path.relative_to(out).as_posix() for path in (out / PLACE).iterdir()} == files
    assert files <= json.loads((out / "manifest.json").read_text()).keys()
    assert not any("thumbnail" in note for note in result["notes"])
    assert not words or result["n"] <= 310


def test_a_changed_one_is_noticed_and_a_new_run_leaves_none(
    call: Call, null_path: Path, other: Path, tiny_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _run(call, null_path, other, tiny_data, out)
    assert verify(out, Silent())["verdict"] == "pass"
    for name in ("0001.jpg", "index.json"):
        whole = (out / PLACE / name).read_bytes()
        (out / PLACE / name).write_bytes(whole + b" ")
        found = verify(out, Silent())
        assert found["verdict"] == "fail"
        assert [row["name"] for row in found["digests"] if not row["fits"]] == [f"{PLACE}/{name}"]
        (out / PLACE / name).write_bytes(whole)
    _run(call, null_path, other, tiny_data, out, "--no-thumbnails")
    assert not (out / PLACE).exists()
    assert not any(PLACE in name for name in json.loads((out / "manifest.json").read_text()))


def test_an_image_that_breaks_after_it_was_scored_is_a_note(
    call: Call, null_path: Path, other: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(tiny_data, data)
    whole = draw_thumbnails

    def broken(*given: Any) -> Any:
        for path in data.rglob("*"):
            if path.is_file():
                path.write_bytes(b"gone")
        return whole(*given)

    monkeypatch.setattr("modelport.jobs.run.draw_thumbnails", broken)
    result = _run(call, null_path, other, data, out)
    assert any("thumbnails were not drawn" in note for note in result["notes"]) and not (out / PLACE).exists()
    assert verify(out, Silent())["verdict"] == "pass"


def test_evaluate_shows_what_is_wrong_and_not_where_nobody_wants_it(
    call: Call, null_path: Path, tiny_data: Path, tmp_path: Path
) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    results.mkdir()
    wrong = set[str]()
    for number, text in enumerate((tiny_data / "val_label.txt").read_text().splitlines()):
        name, label = text.split()
        scores = np.random.default_rng(number).uniform(0, 1, (1, 10)).astype(np.float32)
        scores[0, (int(label) + (number % 30 == 0)) % 10] = 2
        wrong |= {name} if number % 30 == 0 else set()
        scores.tofile(results / f"{Path(name).stem}_0.bin")
    words = ("evaluate", null_path, "--results", results, "--data", tiny_data)
    call(*words, "--out", out)
    assert {Path(entry["id"]).stem for entry in _index(out).values()} == {Path(name).stem for name in wrong}
    call(*words, "--out", out, "--force", "--no-thumbnails")
    assert not (out / PLACE).exists()


def test_views_are_shown_as_the_one_image_that_they_are_of(cifar: Path, tmp_path: Path) -> None:
    recipe = mp.load_recipe("simclr")
    samples = mp.open_dataset(recipe, cifar)[:3]
    log = tmp_path / "samples.jsonl"
    told = {"correct": None, "source_correct": None, "agrees": False}
    lines = [{"id": one.id, "sha256": digest_bytes(one.read()), "draw": 0} | told for one in samples]
    log.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert draw_thumbnails(tmp_path, log, samples, recipe, Silent()) == []
    assert [entry["width"] for entry in _index(tmp_path).values()] == [32] * 3


def test_judge_leaves_no_old_ones(tiny_data: Path, null_path: Path, other: Path, call: Call, tmp_path: Path) -> None:
    out, recipe = tmp_path / "out", mp.load_recipe(str(null_path))
    _run(call, null_path, other, tiny_data, out)
    model = mp.build(mp.source(recipe, other), "null")
    mp.judge(recipe, mp.answer(model, mp.open_dataset(recipe, tiny_data)[:20]), out=out)
    assert not (out / PLACE).exists() and mp.verify(out)["unlisted"] == []
