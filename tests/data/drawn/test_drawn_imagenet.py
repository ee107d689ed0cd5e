"""Drawn sets: the published layout, equal for equal seeds, and neither too easy nor hopeless."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from modelport.core.artifacts import digest_file
from modelport.core.errors import OutputError, UsageError
from modelport.data.drawn import imagenet as drawn
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.data.sets.imagenet import open_imagenet
from modelport.data.sets.images import ImageFiles


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "set"
    draw_imagenet(out, count=120, train_per_class=12)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_it_opens_as_what_it_imitates(folder: Path) -> None:
    val, train = open_imagenet(folder, classes=10), open_imagenet(folder, classes=10, split="train")
    assert [sample.id for sample in val] == [f"ILSVRC2012_val_{number:08d}" for number in range(1, 121)]
    assert (folder / "val_label.txt").read_text().startswith("ILSVRC2012_val_00000001.JPEG ")
    assert np.bincount([sample.target for sample in val]).tolist() == [12] * 10
    assert np.bincount([sample.target for sample in train]).tolist() == [12] * 10
    assert train[0].id == "n00000000/n00000000_1"
    assert sorted(path.name for path in folder.iterdir()) == ["train", "val", "val_label.txt"]


@pytest.mark.slow
def test_pictures_are_jpegs_as_different_as_photographs(folder: Path) -> None:
    sizes, modes = [], []
    for sample in open_imagenet(folder, classes=10):
        with Image.open(sample.path) as image:
            assert image.format == "JPEG"
            sizes.append(image.size)
            modes.append(image.mode)
    assert any(width > height for width, height in sizes)
    assert any(width < height for width, height in sizes)
    assert len(set(sizes)) > 60
    assert max(width * height for width, height in sizes) > 450 * 340
    assert 2 <= modes.count("L") <= 6
    assert set(modes) == {"L", "RGB"}


def test_equal_seeds_draw_equal_files_and_others_none(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        draw_imagenet(tmp_path / name, count=12, train_per_class=4, classes=2, seed=seed)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    assert len(set(one.values())) == len(one) == 12 + 8 + 1


def hues(samples: ImageFiles) -> NDArray[np.float64]:
    """Return the histogram of hues of each picture, weighted by saturation."""
    rows = []
    for sample in samples:
        with Image.open(sample.path) as image:
            hsv = np.asarray(image.convert("RGB").resize((32, 32)).convert("HSV"), np.float64)
        bins, _ = np.histogram(hsv[:, :, 0], bins=32, range=(0, 256), weights=hsv[:, :, 1] + 1)
        rows.append(bins / bins.sum())
    return np.array(rows)


def test_classes_can_mostly_not_wholly_be_told_apart(folder: Path) -> None:
    val, train = open_imagenet(folder, classes=10), open_imagenet(folder, classes=10, split="train")
    labels = np.array([sample.target for sample in train])
    distance = np.abs(hues(val)[:, None] - hues(train)[None]).sum(axis=2)
    accuracy = np.mean(labels[distance.argmin(axis=1)] == [sample.target for sample in val])
    assert 0.6 < accuracy < 1.0


def test_what_was_drawn_is_told(tmp_path: Path) -> None:
    calls: list[int] = []
    summary = draw_imagenet(
        tmp_path / "set", count=3, train_per_class=1, classes=3, seed=5, progress=lambda: calls.append(1)
    )
    assert summary == {"out": str(tmp_path / "set"), "val": 3, "train": 3, "classes": 3, "seed": 5}
    assert len(calls) == 6


def test_an_empty_folder_is_taken_a_full_one_is_not(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "set"
    out.mkdir(parents=True)
    draw_imagenet(out, count=2, train_per_class=1, classes=2)
    before = digests(out)
    with pytest.raises(OutputError, match="exists and is no empty folder"):
        draw_imagenet(out, count=2, train_per_class=1, classes=2, seed=1)
    assert digests(out) == before
    with pytest.raises(OutputError):
        draw_imagenet(out / "val_label.txt", count=2, train_per_class=1, classes=2)
    with pytest.raises(OutputError, match="cannot be written"):
        draw_imagenet(out / "val_label.txt" / "set", count=2, train_per_class=1, classes=2)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    draw, drawn_so_far = drawn._draw, 0

    def interrupted(label: int, classes: int, rng: np.random.Generator) -> Image.Image:
        nonlocal drawn_so_far
        drawn_so_far += 1
        if drawn_so_far == 4:
            raise error
        return draw(label, classes, rng)

    monkeypatch.setattr(drawn, "_draw", interrupted)
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OutputError):
        draw_imagenet(tmp_path / "set", count=6, train_per_class=1, classes=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong", [{"count": 3, "classes": 4}, {"classes": 1}, {"classes": 1001}, {"train_per_class": 0}, {"seed": -1}]
)
def test_counts_that_make_no_set_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="\n  fix: "):
        draw_imagenet(tmp_path / "set", **wrong)
    assert list(tmp_path.iterdir()) == []
