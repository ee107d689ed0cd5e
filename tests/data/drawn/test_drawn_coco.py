"""Drawn sets: the published layout, boxes that hold what was drawn, and equal files for equal seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelport.core.artifacts import digest_file
from modelport.core.errors import OutputError, UsageError
from modelport.data.drawn import coco as drawn_coco
from modelport.data.drawn.coco import CATEGORIES, draw_coco
from modelport.data.drawn.coco_things import THINGS, draw_thing
from modelport.data.sets.coco import open_coco


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "set"
    draw_coco(out)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_it_opens_as_what_it_imitates(folder: Path) -> None:
    val, train = open_coco(folder), open_coco(folder, split="train")
    assert (len(val), len(train)) == (24, 24)
    assert val.notes == train.notes == ()
    assert val.categories == CATEGORIES == train.categories
    assert all(len(sample.id) == 12 and int(sample.id) == sample.target.image_id for sample in (*val, *train))
    assert not {sample.id for sample in val} & {sample.id for sample in train}
    assert sorted(path.name for path in folder.iterdir()) == ["annotations", "train2017", "val2017"]
    for sample in val:
        with Image.open(sample.path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")


def test_the_categories_are_cocos() -> None:
    assert len(CATEGORIES) == 80
    missing = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    assert [number for number, _ in CATEGORIES] == [number for number in range(1, 91) if number not in missing]
    known = {1: "person", 3: "car", 10: "traffic light", 13: "stop sign", 28: "umbrella", 31: "handbag", 38: "kite"}
    known |= {44: "bottle", 52: "banana", 64: "potted plant", 67: "dining table", 72: "tv", 85: "clock"}
    known |= {46: "wine glass", 70: "toilet", 84: "book", 90: "toothbrush"}
    assert known.items() <= dict(CATEGORIES).items()


def test_boxes_lie_in_the_image_apart_from_each_other_in_all_sizes(folder: Path) -> None:
    areas, kinds, sizes = [], set(), set()
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    declared = {row["id"]: (row["width"], row["height"]) for row in content["images"]}
    for sample in open_coco(folder):
        with Image.open(sample.path) as image:
            assert declared[sample.target.image_id] == image.size
            sizes.add(image.size)
            boxes = sample.target.boxes
            assert (boxes[:, :2] >= 0).all()
            assert (boxes[:, :2] + boxes[:, 2:] <= image.size).all()
        assert 1 <= len(boxes) <= 6
        for row, (x, y, wide, high) in enumerate(boxes):
            for left, top, other_wide, other_high in boxes[row + 1 :]:
                assert x + wide < left or left + other_wide < x or y + high < top or top + other_high < y
        assert (sample.target.areas <= boxes[:, 2] * boxes[:, 3]).all()
        areas += sample.target.areas.tolist()
        kinds |= set(sample.target.category_ids.tolist())
    limits = np.searchsorted([32**2, 96**2], areas)
    assert (np.bincount(limits, minlength=3) > 10).all()
    assert kinds == {thing.category for thing in THINGS}
    assert len(sizes) > 3


def test_a_box_holds_its_thing_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_coco, "develop", lambda image, rng: image)
    monkeypatch.setattr(drawn_coco, "scene", lambda hue, rng: Image.new("RGB", (48, 36), (120, 124, 120)))
    for place in range(8):
        image, things = drawn_coco._draw(place, np.random.default_rng(place))
        pixels = np.asarray(image, np.int64)
        # What differs by more than a shadow does (it darkens to 0.7 of the ground).
        seen = np.abs(pixels - [120, 124, 120]).max(axis=2) > 60
        for thing in things:
            left, top, wide, high = map(int, thing["bbox"])
            rows, columns = np.nonzero(seen[top - 1 : top + high + 1, left - 1 : left + wide + 1])
            got = [columns.min() - 1, rows.min() - 1, columns.max() - wide, rows.max() - high]
            # A tip may be too faint to be told from the ground.
            assert np.abs(got).max() <= 2, (thing, got)


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: dict(CATEGORIES)[thing.category])
def test_things_fill_their_box(thing: Any) -> None:
    for longer in (20, 60, 230):
        image = draw_thing(thing, longer, np.random.default_rng(longer))
        solid = np.asarray(image.getchannel("A")) >= 128
        assert solid[[0, -1]].any(axis=1).all()
        assert solid[:, [0, -1]].any(axis=0).all()
        assert longer * 0.8 <= max(image.size) <= longer
        assert solid.mean() > 0.3


def test_equal_seeds_draw_equal_files_and_others_none(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        draw_coco(tmp_path / name, count=3, train=2, seed=seed)
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert not set(one.values()) & set(other.values())
    assert len(set(one.values())) == len(one) == 3 + 2 + 2


def test_what_was_drawn_is_told(tmp_path: Path) -> None:
    calls: list[int] = []
    told = draw_coco(tmp_path / "set", count=2, train=3, seed=5, progress=lambda: calls.append(1))
    boxes = sum(len(sample.target.boxes) for sample in open_coco(tmp_path / "set"))
    assert (told["val"], told["train"], told["seed"], told["boxes"]) == (2, 3, 5, boxes)
    assert told["out"] == str(tmp_path / "set")
    assert len(calls) == 5
    json.dumps(told)


def test_an_empty_folder_is_taken_a_full_one_is_not(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "set"
    out.mkdir(parents=True)
    draw_coco(out, count=1, train=1)
    before = digests(out)
    with pytest.raises(OutputError, match="exists and is no empty folder"):
        draw_coco(out, count=1, train=1, seed=1)
    assert digests(out) == before
    file = out / "annotations" / "instances_val2017.json"
    with pytest.raises(OutputError, match="cannot be written"):
        draw_coco(file / "set", count=1, train=1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    calls: list[int] = []

    def interrupt() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise error

    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else OutputError):
        draw_coco(tmp_path / "set", count=2, train=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"count": 0}, {"count": 5001}, {"train": 0}, {"seed": -1}])
def test_counts_that_make_no_set_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="\n  fix: "):
        draw_coco(tmp_path / "set", **wrong)
    assert list(tmp_path.iterdir()) == []
