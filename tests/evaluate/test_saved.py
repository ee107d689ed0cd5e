"""Saved outputs in every layout, and one clear message for each that is not whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.data.sets.table import open_dataset
from modelport.recipes.schema import Recipe
from saved_outputs import save

pytest_plugins = "step_data"
Call = Callable[..., Any]


@pytest.fixture
def saved(tiny: Recipe, flat: Path, tmp_path: Path) -> Path:
    """Results of the eleven images."""
    rng = np.random.default_rng(9)
    for sample in open_dataset(tiny, flat):
        save(tmp_path / "r", sample.id, [rng.normal(size=(1, 10)).astype(np.float32)], "bin")
    return tmp_path / "r"


def test_results_are_found_in_every_layout(
    call: Call, tiny_path: Path, flat: Path, saved: Path, tmp_path: Path
) -> None:
    def top1(place: Path) -> Any:
        answer = call("evaluate", tiny_path, "--results", place, "--data", flat, "--json")
        assert answer.code == 3, answer
        return answer.json["metrics"]

    wanted = top1(saved)
    for name in ("sumary.json", "summary.json", "_summary.json", "r_summary.json"):
        (saved / name).write_text("{}")
    assert top1(saved) == wanted
    (saved / "precision.log").write_text("")
    notes = call("evaluate", tiny_path, "--results", saved, "--data", flat, "--json").json["notes"]
    assert [note for note in notes if "not looked at" in note] == [f"{saved}: not looked at: precision.log"]
    outer = tmp_path / "outer"
    shutil.copytree(saved, outer / "2024_05_01-10_20_30")
    facts = {"modelport": {"engine": "openvino", "precision": "fp32", "batch": 1}}
    (outer / "2024_05_01-10_20_30_summary.json").write_text(json.dumps(facts))
    (outer / "summary.json").write_text("{}")
    assert top1(outer) == wanted
    told = call("evaluate", tiny_path, "--results", outer, "--data", flat, "--json").json
    assert (told["engine"], told["precision"], told["batch"]) == ("openvino", "fp32", 1)
    devices = tmp_path / "devices" / "out"
    for number, path in enumerate(sorted(saved.glob("*.bin"))):
        folder = devices / f"device{number % 2}_{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name.upper().replace("ILSVRC2012_VAL", "ILSVRC2012_val"))
    (devices / "device0_0_summary.json").write_text("{}")
    assert top1(devices) == top1(devices.parent) == wanted
    shutil.copy(next((devices / "device0_0").iterdir()), devices / "device1_1")
    call("evaluate", tiny_path, "--results", devices, "--data", flat).refused("two results of one sample", "device1_1")


def test_what_is_missing_or_too_many_is_named(
    call: Call, tiny_path: Path, flat: Path, saved: Path, tmp_path: Path
) -> None:
    words = ("evaluate", tiny_path, "--results", saved, "--data", flat)
    first, second = sorted(saved.iterdir())[:2]
    kept = first.read_bytes()
    first.unlink()
    call(*words).refused("1 of 11 rows have no result", first.name.removesuffix("_0.bin"))
    first.write_bytes(kept)
    shutil.copy(first, saved / "stranger_0.bin")
    call(*words).refused("of no sample", "stranger_0.bin")
    (saved / "stranger_0.bin").rename(saved / second.name.replace("_0.bin", "_1.bin"))
    call(*words).refused("is output 1", "1 outputs")
    (saved / second.name.replace("_0.bin", "_1.bin")).unlink()
    (saved / "ILSVRC_0.txt").write_text("1.0 \n")
    call(*words).refused("2 formats", "ILSVRC_0.txt")
    call("evaluate", tiny_path, "--results", tmp_path / "none", "--data", flat).refused("does not exist")
    (tmp_path / "empty").mkdir()
    call("evaluate", tiny_path, "--results", tmp_path / "empty", "--data", flat).refused("holds no results")
    both = tmp_path / "both"
    for name in ("one", "two"):
        shutil.copytree(saved, both / name)
    call("evaluate", tiny_path, "--results", both, "--data", flat).refused("2 folders with results", "one, two")


def test_two_results_of_a_row_are_named(call: Call, tiny_path: Path, flat: Path, saved: Path) -> None:
    first, second = sorted(saved.iterdir())[:2]
    (saved / first.name.replace("_0.bin", "+1_0.bin")).write_bytes(first.read_bytes() + second.read_bytes())
    first.unlink()
    answer = call("evaluate", tiny_path, "--results", saved, "--data", flat)
    answer.refused("two results of", second.name, first.name.replace("_0.bin", "+1_0.bin"))
    second.unlink()
    assert call("evaluate", tiny_path, "--results", saved, "--data", flat).code == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("_0.bin", b"\0" * 39, "39 bytes are no whole number of rows"),
        ("_0.bin", b"", "0 bytes"),
        ("_0.bin", b"\0" * 80, "2 rows"),
        ("_0.npy", b"\x93NUMPY\x01\x00", "no whole NPY file"),
        ("_0.npy", b"\x93NUMPY\x01\x00\x06\x00{'a': (", "no whole NPY file"),
        ("_0.npy", b"PK\x03\x04-", "no whole NPY file"),
        ("_0.txt", b"1.0 2.0 x 4.0 5 6 7 8 9 10 \n", "no table of numbers"),
        ("_0.txt", b"1.000000 2.000000 3.000000 \n", "1 lines of 3 numbers"),
        ("_0.txt", b"1.000000 2.0 3.0 4.0 5.0 6.0 7.0 8.0 9.0 10.0", "cut off"),
        ("_0.txt", b"\xff\xfe", "no table of numbers"),
    ],
)
def test_a_file_that_is_not_whole_is_named(
    call: Call, tiny_path: Path, tiny: Recipe, flat: Path, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    format = name.rpartition(".")[2]
    for sample in open_dataset(tiny, flat):
        save(tmp_path / "r", sample.id, [np.zeros((1, 10), np.float32)], format)
    victim = sorted((tmp_path / "r").iterdir())[4]
    victim.write_bytes(content)
    call("evaluate", tiny_path, "--results", tmp_path / "r", "--data", flat).refused(victim.name, said)


def test_npy_of_another_dtype_or_shape_is_refused_and_half_precision_is_said(
    call: Call, tiny_path: Path, tiny: Recipe, flat: Path, tmp_path: Path
) -> None:
    def answer(array: Array) -> Any:
        for sample in open_dataset(tiny, flat):
            save(tmp_path / "r", sample.id, [array], "npy")
        return call("evaluate", tiny_path, "--results", tmp_path / "r", "--data", flat, "--json")

    answer(np.zeros((1, 10), np.float64)).refused("float64")
    answer(np.zeros((1, 11), np.float32)).refused("(1, 11)")
    answer(np.array([[{}]])).refused("no whole NPY file")
    half = answer(np.eye(10, dtype=np.float16)[:1])
    assert half.code == 3 and any("float16" in note for note in half.json["notes"])
    nan = answer(np.full((1, 10), np.nan, np.float32)).json
    (finite,) = (check for check in nan["checks"] if check["name"] == "finite")
    assert nan["metrics"]["top5"]["value"] == 0 and finite["verdict"] == "inconclusive" and finite["got"] == 11


def test_the_index_pairs_batches_around_a_skipped_image(
    call: Call, tiny_path: Path, flat: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(flat, bad)
    victim = sorted((bad / "val").iterdir())[2]
    victim.write_bytes(b"no image")
    tensors = tmp_path / "o" / "t"
    skipping = ("--data", bad, "--batch-size", 4, "--on-bad-image", "skip", "--json")
    assert call("preprocess", tiny_path, *skipping, "--out", tensors).json["files"] == 3
    index = json.loads((tensors / "index.json").read_text())
    labels = json.loads((tensors / "labels.json").read_text())
    for entry in index["files"]:
        right = np.eye(10, dtype=np.float32)[[labels[name] for name in entry["ids"]]]
        save(tmp_path / "r", entry["file"].partition(".")[0], [right], "bin")
    words = ("evaluate", tiny_path, "--results", tmp_path / "r", "--data", bad, "--json")
    call(*words).refused("--tensors")
    result = call(*words, "--tensors", tensors).json
    assert (result["metrics"]["top1"]["value"], result["n"], result["skipped"]) == (100.0, 10, 1)
    for key in ("ids", "sha256"):
        index["files"][0][key].reverse()
    (tensors / "index.json").write_text(json.dumps(index))
    rows = tensors / index["files"][0]["file"]
    rows.write_bytes(np.fromfile(rows, np.float32).reshape(4, -1)[::-1].tobytes())
    first = tmp_path / "r" / (index["files"][0]["file"].partition(".")[0] + "_0.bin")
    first.write_bytes(np.fromfile(first, np.float32).reshape(4, 10)[::-1].tobytes())
    again = call(*words, "--tensors", tensors).json
    assert (again["metrics"], again["dataset"]) == (result["metrics"], result["dataset"])
    shutil.copy(sorted((bad / "val").iterdir())[0], sorted((bad / "val").iterdir())[1])
    call(*words, "--tensors", tensors).refused("not those that the tensors were made from")
    (tensors / "index.json").write_text('{"schema": "modelport.tensors/1"}')
    call(*words, "--tensors", tensors).refused("is not as preprocess writes it")
