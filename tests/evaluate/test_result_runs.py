"""Folders of results that are of two runs, or lack a batch, and a summary that counts batches: each is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from modelport.data.files.result_files import find_results
from modelport.data.sets.table import open_dataset
from modelport.evaluate.result_runs import batch_of, doubts_of_run, dropped_batch
from modelport.recipes.schema import Recipe
from saved_outputs import save

pytest_plugins = "step_data"
Call = Callable[..., Any]


def folder_of(place: Path, count: int, pause: float = 0.0) -> Path:
    """Write results, a second apart; the last two after a pause."""
    for number in range(count):
        save(place, f"img_{number}", [np.zeros((1, 4), np.float32)], "bin")
        moment = 1.7e9 + number + pause * (number >= count - 2)
        os.utime(place / f"img_{number}_0.bin", (moment, moment))
    return place


def summary(place: Path, **facts: Any) -> None:
    place.with_name(f"{place.name}_summary.json").write_text(json.dumps(facts))


def info(names: range, inputs: int = 1) -> dict[str, Any]:
    """Return what ais_bench tells of the files of each sample: one for each input of the model."""
    return {
        str(number): {
            "infiles": [f"in{place}/img_{number}.bin" for place in range(inputs)],
            "outfiles": [f"r/img_{number}_0.bin"],
        }
        for number in names
    }


@pytest.mark.parametrize("pause", [0.0, 5.0, 500.0])
def test_one_run_is_not_doubted(tmp_path: Path, pause: float) -> None:
    place = folder_of(tmp_path / "r", 6, pause)
    assert doubts_of_run(find_results(place)) == []
    summary(place, filesinfo=info(range(6)), throughput=250.0, NPU_compute_time={"mean": 4.0})
    assert doubts_of_run(find_results(place)) == []


@pytest.mark.parametrize(("told", "strange"), [(range(4), "2 of 6 files"), (range(1, 6), "1 of 6 files")])
def test_files_that_the_summary_does_not_tell_are_of_another_run(tmp_path: Path, told: range, strange: str) -> None:
    place = folder_of(tmp_path / "r", 6)
    summary(place, filesinfo=info(told))
    (said,) = doubts_of_run(find_results(place))
    assert strange in said and "two runs" in said


@pytest.mark.parametrize("pause", [3_600.0, 86_400.0])
def test_a_pause_that_no_run_makes_parts_two_runs(tmp_path: Path, pause: float) -> None:
    (said,) = doubts_of_run(find_results(folder_of(tmp_path / "r", 6, pause)))
    assert "4 files were written until" in said and "2 from" in said


def test_files_of_any_age_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems keep times beyond the year 9999."""
    results, seen = find_results(folder_of(tmp_path / "r", 6)), Path.stat
    late = SimpleNamespace(st_mtime=1e15)
    monkeypatch.setattr(Path, "stat", lambda path, **how: late if "img_5" in path.name else seen(path, **how))
    (said,) = doubts_of_run(results)
    assert "5 files were written until 2023-11-14T22:13 UTC, 1 from 31690708-" in said


@pytest.mark.parametrize(
    ("facts", "batch"),
    [
        ({"modelport": {"batch": 8}}, 8),
        ({"args": ["ais_bench", "--batchsize", "16"]}, 16),
        ({"filesinfo": info(range(11)), "args": ["--batchsize=1"], "NPU_compute_time": {"count": 3}}, 4),
    ],
)
def test_a_throughput_in_batches_is_told(tmp_path: Path, facts: dict[str, Any], batch: int) -> None:
    place = folder_of(tmp_path / "r", 2)
    assert batch_of(facts) == batch
    clock = facts.get("NPU_compute_time", {}) | {"mean": 8.0}
    summary(place, **facts | {"throughput": 125.1, "NPU_compute_time": clock})
    (said,) = doubts_of_run(find_results(place))
    assert "is batches/s" in said and f"{125 * batch} samples/s" in said
    summary(place, **facts | {"throughput": 125.0 * batch, "NPU_compute_time": clock})
    assert doubts_of_run(find_results(place)) == []


def test_a_sample_of_two_files_is_no_batch_of_two(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "r", 6)
    summary(place, filesinfo=info(range(6), inputs=2), throughput=250.0, NPU_compute_time={"mean": 4.0, "count": 6})
    assert doubts_of_run(find_results(place)) == []


HUGE = "1" + "0" * 400


@pytest.mark.parametrize(
    "facts",
    [
        "[]",
        '{"args": 3, "filesinfo": {"0": 1}}',
        '{"throughput": "x", "modelport": []}',
        f'{{"args": ["--batchsize", "{HUGE * 12}"], "throughput": 1.0, "NPU_compute_time": {{"mean": 1000.0}}}}',
        f'{{"modelport": {{"batch": {HUGE}}}, "throughput": {HUGE}, "NPU_compute_time": {{"mean": {HUGE}}}}}',
    ],
    ids=["list", "numbers", "words", "digits", "integers"],
)
def test_a_summary_of_another_kind_is_no_reason_for_anything(tmp_path: Path, facts: str) -> None:
    place = folder_of(tmp_path / "r", 2)
    place.with_name("r_summary.json").write_text(facts)
    assert doubts_of_run(find_results(place)) == []


def test_a_dropped_last_batch_is_named(call: Call, tiny_path: Path, tiny: Recipe, flat: Path, tmp_path: Path) -> None:
    samples = list(open_dataset(tiny, flat))
    for sample in samples[:8]:
        save(tmp_path / "r", sample.id, [np.zeros((1, 10), np.float32)], "bin")
    words = ("evaluate", tiny_path, "--results", tmp_path / "r", "--data", flat)
    call(*words).refused("3 of 11 rows", "the last ones in order")
    summary(tmp_path / "r", modelport={"batch": 4})
    call(*words).refused("the last of 11 in batches of 4: the short last batch was dropped")


def test_evaluate_says_what_is_doubted(call: Call, tiny_path: Path, tiny: Recipe, flat: Path, tmp_path: Path) -> None:
    for sample in open_dataset(tiny, flat):
        save(tmp_path / "r", sample.id, [np.zeros((1, 10), np.float32)], "bin")
    files = sorted(path.name for path in (tmp_path / "r").iterdir())
    told = {str(number): {"infiles": ["a"], "outfiles": [name]} for number, name in enumerate(files[:9])}
    warned = {"warnings": ["net.om is stale"]}
    clock = {"mean": 10.0, "count": 5}
    summary(tmp_path / "r", filesinfo=told, throughput=100.0, NPU_compute_time=clock, modelport=warned)
    words = ("evaluate", tiny_path, "--results", tmp_path / "r", "--data", flat, "--json")
    notes = " ".join(call(*words).json["notes"])
    assert "2 of 11 files are of another run" in notes and "is batches/s" in notes
    assert "the inference warned: net.om is stale" in notes


def test_rows_that_lack_in_the_middle_are_no_dropped_batch(tmp_path: Path) -> None:
    rows = [f"img_{number}" for number in range(12)]
    assert dropped_batch(rows[3:5], rows, tmp_path) == ""
    assert dropped_batch(rows, rows, tmp_path) == ""
    # Sorted as text img_9 is the last one.
    assert "the last ones" in dropped_batch(["img_9"], rows, tmp_path)
