"""Drawn sets are files as the published ones are, equal for equal seeds, with classes that can be told apart."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modelport.core.artifacts import digest_file
from modelport.core.errors import OutputError, UsageError
from modelport.data.drawn import cifar10 as drawn_cifar
from modelport.data.drawn.cifar10 import NAMES, draw_cifar10
from modelport.data.sets.cifar10 import open_cifar10

FILES = ["batches.meta", *(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "set"
    draw_cifar10(out, count=200, train=603)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in folder.rglob("*") if path.is_file()}


def test_python_reads_the_files_as_it_reads_the_published(folder: Path) -> None:
    inside = folder / "cifar-10-batches-py"
    assert sorted(path.name for path in inside.iterdir()) == FILES
    counts: list[int] = []
    for file in FILES[1:]:
        value = pickle.loads((inside / file).read_bytes(), encoding="bytes")  # noqa: S301 (written above)
        assert list(value) == [b"batch_label", b"labels", b"data", b"filenames"]
        assert value[b"data"].dtype == np.uint8
        assert value[b"data"].flags.c_contiguous
        assert value[b"data"].shape == (len(value[b"labels"]), 3072)
        assert {type(label) for label in value[b"labels"]} == {int}
        assert len(value[b"filenames"]) == len(value[b"labels"])
        first = 0 if file == "test_batch" else sum(counts)
        assert value[b"filenames"][0] == f"{NAMES[value[b'labels'][0]]}_s_{first:06d}.png".encode()
        counts.append(len(value[b"labels"]))
    assert counts == [121, 121, 121, 120, 120, 200]
    meta = pickle.loads((inside / "batches.meta").read_bytes(), encoding="bytes")  # noqa: S301
    assert meta == {b"num_cases_per_batch": 200, b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}


def test_the_pickles_name_what_the_published_name(folder: Path) -> None:
    content = (folder / "cifar-10-batches-py" / "test_batch").read_bytes()
    found = [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(content)]
    assert found[0] == ("PROTO", 2)
    assert [argument for name, argument in found if name == "GLOBAL"] == [
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
    ]
    assert not {name for name, _ in found if "UNICODE" in name}


def test_it_opens_as_what_it_imitates(folder: Path) -> None:
    val, train = open_cifar10(folder), open_cifar10(folder, split="train")
    assert (len(val), len(train)) == (200, 603)
    assert val.label_names == NAMES
    assert np.bincount(val.labels).tolist() == [20] * 10
    assert np.bincount(train.labels[:600]).tolist() == [60] * 10
    assert not val.notes + train.notes
    pictures = {sample.read() for split in (val, train) for sample in split}
    assert len(pictures) == 803


def hues(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the histogram of hues of each picture."""
    pictures = (Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).convert("HSV") for row in images)
    return np.array([np.histogram(np.asarray(picture)[:, :, 0], 24, (0, 256))[0] for picture in pictures]) / 1024


def test_classes_can_mostly_not_be_told_apart_by_colour_alone(folder: Path) -> None:
    val, train = open_cifar10(folder), open_cifar10(folder, split="train")
    distance = np.abs(hues(val.images)[:, None] - hues(train.images)[None]).sum(axis=2)
    assert 0.15 < np.mean(train.labels[distance.argmin(axis=1)] == val.labels) < 0.7


def test_equal_seeds_draw_equal_files_and_others_none(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        draw_cifar10(tmp_path / name, count=10, train=5, seed=seed)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    different = {name for name in one if one[name] != other[name]}
    assert different == {f"cifar-10-batches-py/{name}" for name in FILES[1:]}


def test_what_was_drawn_is_told(tmp_path: Path) -> None:
    calls: list[int] = []
    summary = draw_cifar10(tmp_path / "set", count=10, train=5, seed=5, progress=lambda: calls.append(1))
    assert summary == {"out": str(tmp_path / "set"), "val": 10, "train": 5, "classes": 10, "seed": 5}
    assert len(calls) == 15


def test_an_empty_folder_is_taken_a_full_one_is_not(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "set"
    out.mkdir(parents=True)
    draw_cifar10(out, count=10, train=5)
    before = digests(out)
    with pytest.raises(OutputError, match="exists and is no empty folder"):
        draw_cifar10(out, count=10, train=5, seed=1)
    assert digests(out) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    draw, drawn_so_far = drawn_cifar._draw, 0

    def interrupted(label: int, rng: np.random.Generator) -> Image.Image:
        nonlocal drawn_so_far
        drawn_so_far += 1
        if drawn_so_far == 12:
            raise error
        return draw(label, rng)

    monkeypatch.setattr(drawn_cifar, "_draw", interrupted)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OutputError):
        draw_cifar10(tmp_path / "set", count=10, train=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"count": 9}, {"count": 10_001}, {"train": 4}, {"train": 50_001}, {"seed": -1}])
def test_counts_that_make_no_set_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="\n  fix: "):
        draw_cifar10(tmp_path / "set", **wrong)
    assert list(tmp_path.iterdir()) == []
