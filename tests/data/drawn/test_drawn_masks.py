"""Drawn masks: the kind's layout, classes where their colours are, and equal files for equal seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelport.core.artifacts import digest_file
from modelport.core.errors import OutputError, UsageError
from modelport.data.drawn.masks import EDGE, NAMES, draw_masks
from modelport.data.sets.base import Wanted
from modelport.data.sets.masks import Masks

# What most of a thing's pixels look like: blue, red, purple, yellow; red, green and blue as shares of their sum.
TONES = {1: (0.2, 0.3, 0.5), 2: (0.75, 0.1, 0.15), 3: (0.4, 0.2, 0.4), 4: (0.5, 0.4, 0.1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "set"
    told = draw_masks(out, count=8, train=4)
    assert told["classes"] == 5 and told["names"] == list(NAMES)
    return out


def test_it_opens_as_its_kind(folder: Path) -> None:
    wanted = Wanted("mask", 5)
    val, train = Masks().open(folder, wanted, "val"), Masks().open(folder, wanted, "train")
    assert (len(val), len(train)) == (8, 4) and val.notes == train.notes == ()
    values = np.unique(np.concatenate([sample.target.read().ravel() for sample in val]))
    np.testing.assert_array_equal(values, [0, 1, 2, 3, 4, EDGE])


def test_classes_lie_where_their_colours_are(folder: Path) -> None:
    found: dict[int, list[np.ndarray]] = {kind: [] for kind in TONES}
    for sample in Masks().open(folder, Wanted("mask", 5), "val"):
        with Image.open(sample.path) as image:
            pixels = np.asarray(image.convert("RGB"), np.float64)
        truth = sample.target.read()
        for kind in TONES:
            found[kind] += list(pixels[truth == kind])
    for kind, tone in TONES.items():
        middle = np.median(found[kind], axis=0)
        np.testing.assert_allclose(middle / middle.sum(), tone, atol=0.12)


def test_equal_seeds_draw_equal_files(folder: Path, tmp_path: Path) -> None:
    draw_masks(tmp_path / "again", count=8, train=4)
    draw_masks(tmp_path / "other", count=8, train=4, seed=1)

    def digests(place: Path) -> list[str]:
        return [digest_file(path) for path in sorted(place.rglob("*")) if path.is_file()]

    assert digests(folder) == digests(tmp_path / "again")
    assert not set(digests(folder)) & set(digests(tmp_path / "other"))


def test_what_makes_no_set_is_refused(folder: Path, tmp_path: Path) -> None:
    for count, train, seed in ((0, 1, 0), (1, 0, 0), (5001, 1, 0), (1, 1, -1)):
        with pytest.raises(UsageError):
            draw_masks(tmp_path / "out", count=count, train=train, seed=seed)
    with pytest.raises(OutputError, match="no empty folder"):
        draw_masks(folder)
