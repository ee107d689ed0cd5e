"""What ``preprocess`` writes: the bytes of ``run``, the names of the guides, and never half of it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from saved_outputs import written

pytest_plugins = "step_data"
Call = Callable[..., Any]


@pytest.mark.parametrize(("format", "batch"), [("bin", 1), ("npy", 1), ("bin", 4), ("npy", 4)])
def test_tensors_are_what_run_feeds_to_the_last_bit(
    call: Call, tiny_path: Path, tiny: Recipe, flat: Path, tmp_path: Path, format: str, batch: int
) -> None:
    out = tmp_path / "t"
    value = call(
        "preprocess", tiny_path, "--data", flat, "--out", out, "--format", format, "--batch-size", batch, "--json"
    ).json
    dataset = open_dataset(tiny, flat)
    fed = next(feed(tiny, dataset, len(dataset), seed=0))
    index = json.loads((out / "index.json").read_text())
    assert [entry["file"] for entry in index["files"]] != [] and len(index["files"]) == value["files"]
    read, ids = [], []
    for entry in index["files"]:
        path = out / entry["file"]
        rows = np.fromfile(path, np.float32) if format == "bin" else np.load(path)
        assert rows.dtype == np.float32
        read.append(rows.reshape(-1, 3, 32, 32))
        assert len(read[-1]) == len(entry["ids"])
        ids += entry["ids"]
    assert ids == [sample.id for sample in dataset] == list(fed.ids)
    assert np.concatenate(read).tobytes() == fed.inputs["actual_input_1"].tobytes()
    assert [digest for entry in index["files"] for digest in entry["sha256"]] == list(fed.digests)
    assert sorted(entry["file"] for entry in index["files"]) == written(out)
    assert any("the last file holds 3 rows, not 4" in note for note in value["notes"]) == (batch == 4)
    assert any("are to be written" in note or "free" in note for note in value["notes"])


def test_labels_lie_in_the_folder_and_beside_it(call: Call, tiny_path: Path, flat: Path, tmp_path: Path) -> None:
    call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t", "--json")
    wanted = {
        line.split()[0].partition(".")[0]: int(line.split()[1])
        for line in (flat / "val_label.txt").read_text().splitlines()
    }
    assert json.loads((tmp_path / "t" / "labels.json").read_text()) == wanted
    assert np.load(tmp_path / "labels.npy").tolist() == [wanted[name] for name in sorted(wanted)]


def test_uint8_files_are_the_pixels_that_normalise_to_the_floats(
    call: Call, tiny_path: Path, tiny: Recipe, flat: Path, tmp_path: Path
) -> None:
    call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t", "--input-type", "uint8", "--json")
    dataset = open_dataset(tiny, flat)
    fed = next(feed(tiny, dataset, len(dataset), seed=0)).inputs["actual_input_1"]
    mean, std = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for name, wanted in zip(written(tmp_path / "t"), fed, strict=True):
        pixels = np.fromfile(tmp_path / "t" / name, np.uint8).reshape(32, 32, 3)
        again = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
        np.testing.assert_allclose(again, wanted, rtol=0, atol=1e-6)


def test_uint8_of_the_detector_is_padded_with_the_rounded_mean_and_says_so(
    call: Call, coco: Path, tmp_path: Path
) -> None:
    value = call(
        "preprocess", "nas-fpn", "--data", coco, "--out", tmp_path / "t", "--input-type", "uint8", "--json"
    ).json
    assert any("124, 116, 104" in note and "+0.0056" in note for note in value["notes"])
    entry = json.loads((tmp_path / "t" / "index.json").read_text())["files"][0]
    place = entry["placements"][0]
    image = np.fromfile(tmp_path / "t" / entry["file"], np.uint8).reshape(640, 640, 3)
    inside = np.zeros((640, 640), bool)
    left, top = place["pad_left"], place["pad_top"]
    inside[top : 640 - top, left : 640 - left] = True
    assert left + top > 0 and (image[~inside] == (124, 116, 104)).all()
    recipe = load_recipe("nas-fpn")
    batch = next(feed(recipe, open_dataset(recipe, coco), 1, seed=0))
    mean, std = (np.array(v, np.float32) for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    again = ((image.astype(np.float32) - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(again, batch.inputs["input"][0], atol=0.0083)
    np.testing.assert_allclose(again[:, inside], batch.inputs["input"][0][:, inside], atol=1e-5)


def test_the_guides_names_and_bytes(
    call: Call, flat: Path, classed: Path, cifar: Path, coco: Path, tmp_path: Path
) -> None:
    stems = sorted(path.stem for path in (flat / "val").iterdir())
    call(
        "preprocess",
        "moco-v2",
        "--data",
        flat,
        "--limit",
        3,
        "--order",
        "data",
        "--out",
        tmp_path / "m/t",
        "--style",
        "guide",
        "--json",
    )
    assert written(tmp_path / "m/t") == [f"{stem}.bin" for stem in stems[:3]]
    assert (tmp_path / "m/t" / f"{stems[0]}.bin").stat().st_size == 4 * 3 * 224 * 224

    smlp = tmp_path / "s/t"
    value = call(
        "preprocess", "smlp-t", "--data", classed, "--out", smlp, "--style", "guide", "--batch-size", 2, "--json"
    ).json
    assert written(smlp) == ["batch-00000.bin", "batch-00001.bin", "batch-00002.bin"]
    sizes = [(smlp / name).stat().st_size for name in written(smlp)]
    assert sizes == [2 * 602112, 2 * 602112, 602112]
    assert np.load(tmp_path / "s/labels.npy").tolist() == [[0, 0], [0, 1], [1, -1]]
    assert any("drops such a batch: here it is kept" in note for note in value["notes"])

    value = call(
        "preprocess", "smlp-t", "--data", classed, "--out", tmp_path / "one/t", "--style", "guide", "--json"
    ).json
    assert any("wrong for 2 of these" in note for note in value["notes"])
    assert len(written(tmp_path / "one/t")) == 5 and np.load(tmp_path / "one/labels.npy").shape == (5, 1)

    sim = tmp_path / "c/t"
    value = call(
        "preprocess",
        "simclr",
        "--data",
        cifar,
        "--limit",
        4,
        "--order",
        "data",
        "--out",
        sim,
        "--style",
        "guide",
        "--json",
    ).json
    assert written(sim) == [f"Simclr_prep_{number}.bin" for number in range(8)]
    assert value["variant"] == "published" and value["dtype"] == "int8"
    recipe = load_recipe("simclr").with_variant("published")
    fed = next(feed(recipe, open_dataset(recipe, cifar)[:4], 8, seed=0)).inputs["input"]
    for number in range(8):
        values = np.fromfile(sim / f"Simclr_prep_{number}.bin", np.int8).reshape(3, 32, 32)
        assert set(np.unique(values)) <= {0, 1} and (values == fed[number]).all()

    nas = tmp_path / "n/t"
    call("preprocess", "nas-fpn", "--data", coco, "--out", nas, "--style", "guide", "--json")
    images = sorted((coco / "val2017").iterdir())
    assert written(nas) == [f"{image.stem}.bin" for image in images]
    sizes_of = {row["file_name"]: (row["width"], row["height"]) for row in _images(coco)}
    info = [f"{number} {image} %d %d" % sizes_of[image.name] for number, image in enumerate(images)]
    assert (nas / "coco2017_jpg.info").read_text().splitlines() == info


def test_views_as_pixels_or_floats_under_the_guides_names(call: Call, cifar: Path, tmp_path: Path) -> None:
    words = ("preprocess", "simclr", "--data", cifar, "--limit", 3, "--order", "data", "--seed", 5, "--json")
    recipe = load_recipe("simclr")
    fed = next(feed(recipe, open_dataset(recipe, cifar)[:3], 6, seed=5)).inputs["input"]
    value = call(*words, "--out", tmp_path / "u/t", "--input-type", "uint8").json
    assert (value["dtype"], value["layout"], value["variant"]) == ("uint8", "NHWC", None)
    assert any("rounded" in note for note in value["notes"])
    for number in range(6):
        name = f"test_batch%2F{number // 2:05d}%23{number % 2}.bin"
        pixels = np.fromfile(tmp_path / "u/t" / name, np.uint8).reshape(32, 32, 3)
        assert (pixels == np.rint(fed[number].transpose(1, 2, 0) * np.float32(255))).all()
    value = call(*words, "--out", tmp_path / "f/t", "--style", "guide", "--input-type", "float32").json
    assert (value["dtype"], value["variant"]) == ("float32", None)
    files = [tmp_path / "f/t" / f"Simclr_prep_{number}.bin" for number in range(6)]
    assert b"".join(file.read_bytes() for file in files) == fed.tobytes()
    call(*words, "--out", tmp_path / "x/t", "--input-type", "uint8", "--variant", "published").refused("casts")


def _images(coco: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((coco / "annotations" / "instances_val2017.json").read_text())["images"]
    return rows


def test_names_of_class_folders_survive_the_first_dot(
    call: Call, tiny_path: Path, classed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "t"
    call("preprocess", tiny_path, "--data", classed, "--out", out, "--json")
    stems = [name.partition(".")[0] for name in written(out)]
    assert len(set(stems)) == 5 and "0%2Fb%2Ec" in stems
    guide = tmp_path / "g"
    call("preprocess", tiny_path, "--data", classed, "--out", guide, "--style", "guide", "--json")
    assert "b.c.bin" in written(guide)
    shutil.copy(classed / "val/0/a.jpeg", classed / "val/1/b.x.jpeg")
    try:
        answer = call("preprocess", tiny_path, "--data", classed, "--out", tmp_path / "h", "--style", "guide")
        answer.refused("1/b.x", "0/b.c", "'b'")
        assert not (tmp_path / "h").exists()
    finally:
        (classed / "val/1/b.x.jpeg").unlink()


def test_a_bad_image_fails_or_is_skipped_by_name(call: Call, tiny_path: Path, flat: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(flat, bad)
    victim = sorted((bad / "val").iterdir())[2]
    victim.write_bytes(b"no image")
    out = tmp_path / "out" / "t"
    call("preprocess", tiny_path, "--data", bad, "--out", out).refused(victim.name)
    assert not (out / "index.json").exists()
    good = sorted((bad / "val").iterdir())[0].stem
    (out / f"{good}.bin").write_bytes(b"left by a killed run")
    words = ("preprocess", tiny_path, "--data", bad, "--out", out, "--on-bad-image", "skip", "--json")
    call(*words).refused("tensor files and no index.json")
    value = call(*words, "--force").json
    assert value["skipped"] == [victim.stem] and value["n"] == 10
    assert f"{victim.stem}.bin" not in written(out) and len(written(out)) == 10
    assert victim.stem not in json.loads((out / "labels.json").read_text())
    assert len(np.load(tmp_path / "out" / "labels.npy")) == 10


def test_results_are_replaced_by_force_only_and_strangers_never(
    call: Call, tiny_path: Path, flat: Path, tmp_path: Path
) -> None:
    out = tmp_path / "t"
    words = ("preprocess", tiny_path, "--data", flat, "--out", out, "--json")
    assert call(*words).code == 0
    call(*words).refused("already holds a result", "--force")
    assert call(*words, "--force", "--limit", 3).json["files"] == 3
    assert len(written(out)) == 3  # the other eight would have been taken for inputs
    (out / "mine.npy").write_bytes(b"x")
    call(*words, "--force").refused("mine.npy", "not of this making")
    assert len(written(out)) == 4


def test_other_labels_beside_the_folder_are_not_replaced(
    call: Call, tiny_path: Path, flat: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "labels.npy", np.arange(3))
    call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t").refused("labels.npy", "--force")
    assert np.load(tmp_path / "labels.npy").tolist() == [0, 1, 2] and written(tmp_path / "t") == []


def test_a_disk_too_small_is_told_before_anything_is_written(
    call: Call, tiny_path: Path, flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = 11 * 3 * 32 * 32 * 4
    monkeypatch.setattr("modelport.data.files.tensor_files.free_bytes", lambda folder: need - 1)
    call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t").refused("11 files", "free")
    assert not (tmp_path / "t").exists()
    monkeypatch.setattr("modelport.data.files.tensor_files.free_bytes", lambda folder: need)
    assert call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t").code == 0


def test_a_disk_that_fills_up_leaves_whole_files_and_no_index(
    call: Call, tiny_path: Path, flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, counted = tmp_path / "t", Path.replace, iter(range(100))

    def full(self: Path, target: Any) -> Path:
        if self.name.endswith(".unfinished") and next(counted) >= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    call("preprocess", tiny_path, "--data", flat, "--out", out).refused("No space left")
    assert [path.stat().st_size for path in out.iterdir()] == [3 * 32 * 32 * 4] * 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-size", "0"), "--batch-size 0"),
        (("--format", "txt"), "bin, npy"),
        (("--input-type", "float16"), "float32, uint8"),
        (("--style", "gide"), "did you mean 'guide'"),
        (("--limit", "-1"), "--limit -1"),
        (("--style", "guide", "--batch-size", "2"), "one row to a file"),
    ],
)
def test_wrong_words_are_refused(
    call: Call, tiny_path: Path, flat: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    call("preprocess", tiny_path, "--data", flat, "--out", tmp_path / "t", *words).refused(said)
