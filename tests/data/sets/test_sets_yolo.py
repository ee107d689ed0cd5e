"""Sets in Ultralytics' layout: what the texts say reaches the metric; what does not fit is named by file and line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.core.errors import DataError
from modelport.core.values import DataSet
from modelport.data.sets import yolo_file
from modelport.data.sets.base import Wanted
from modelport.data.sets.yolo import Yolo

YAML = "path: ../datasets/things\ntrain: images/train\nval: images/val\nnames:\n  0: car\n  1: no\n"
WANTED = Wanted("boxes", 2)


def laid_out(
    folder: Path, texts: dict[str, str] | None = None, yaml: str | None = YAML, place: str = "images/val"
) -> Path:
    """Lay out three images of 200 × 100 pixels with texts of boxes, of which the third has none."""
    images, labels = folder / place, folder / place.replace("images", "labels")
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b", "c"):
        Image.new("RGB", (200, 100)).save(images / f"{name}.png")
    for name, text in ({"a": "0 0.5 0.5 0.2 0.4\n1 0.1 0.2 0.1 0.1\n", "b": ""} | (texts or {})).items():
        (labels / f"{name}.txt").write_text(text)
    if yaml is not None:
        (folder / "data.yaml").write_text(yaml)
    return folder


def opened(folder: Path, wanted: Wanted = WANTED) -> DataSet:
    return Yolo().open(folder, wanted, "val")


def test_shares_become_pixels_and_a_missing_text_is_no_object(tmp_path: Path) -> None:
    data = opened(laid_out(tmp_path))
    assert [sample.id for sample in data] == ["a", "b", "c"]
    assert data.categories == ((0, "car"), (1, "no"))
    np.testing.assert_allclose(data[0].target.boxes, [[80, 30, 40, 40], [10, 15, 20, 10]])
    np.testing.assert_allclose(data[0].target.areas, [1600, 200])
    assert data[0].target.category_ids.tolist() == [0, 1]
    assert [len(sample.target.boxes) for sample in data] == [2, 0, 0]
    assert [sample.target.image_id for sample in data] == [1, 2, 3]
    assert data.notes == (f"{tmp_path}/data.yaml: 1 of 3 images have no text and hold no object: c.png",)


@pytest.mark.parametrize(
    ("yaml", "place"),
    [
        (YAML, "images/val"),
        ("val: ../valid/images\nnames: [car, 'no']\n", "valid/images"),
        ("valid: valid/images\nnames: [car, no]\n", "valid/images"),
        ("path: .\nval: images\nnames: [car, no]\nnc: 2\n", "images"),
        ("path: sub\nval: images/val\nnames: [car, no]\n", "sub/images/val"),
        ("path: /nowhere/at/all\nval: images/val\nnames: [car, no]\ndownload: |\n  import os\n", "images/val"),
        ("names: [car, no]\n", "val/images"),
        ("names: [car, no]\n", "images/val2017"),
        ("names: [car, no]\n", "images"),
        ("val: lists/val.txt\nnames: [car, no]\n", "images/any"),
    ],
)
def test_layouts_of_the_common_exporters(tmp_path: Path, yaml: str, place: str) -> None:
    folder = laid_out(tmp_path, yaml=yaml, place=place)
    if "lists/" in yaml:
        (folder / "lists").mkdir()
        (folder / "lists" / "val.txt").write_text("".join(f"./{place}/{name}.png\n" for name in "abc"))
    data = opened(folder)
    assert [len(sample.target.boxes) for sample in data] == [2, 0, 0]
    assert [sample.id.rpartition("/")[2] for sample in data] == ["a", "b", "c"]
    assert data.categories == ((0, "car"), (1, "no"))


def test_without_names_a_number_is_the_model_s_class(tmp_path: Path) -> None:
    data = opened(laid_out(tmp_path, yaml=None), Wanted("boxes", 3))
    assert data.categories == ((0, "0"), (1, "1"), (2, "2"))


def test_names_are_the_model_s_in_another_order(tmp_path: Path) -> None:
    data = opened(laid_out(tmp_path), Wanted("boxes", 3, ("No", "bird", "car")))
    assert data[0].target.category_ids.tolist() == [2, 0]
    assert data.categories == ((0, "No"), (1, "bird"), (2, "car"))
    assert any("no is No" in note for note in data.notes)
    mapped = opened(laid_out(tmp_path), Wanted("boxes", 3, class_map={"car": 2, "no": 2}))
    assert mapped[0].target.category_ids.tolist() == [2, 2]


def test_polygons_keypoints_and_repeated_lines(tmp_path: Path) -> None:
    outline = "0 0.1 0.2 0.3 0.2 0.2 0.6\n"
    data = opened(laid_out(tmp_path, {"a": outline + "1 .5 .5 .1 .1\n" * 3}))
    np.testing.assert_allclose(data[0].target.boxes, [[20, 20, 40, 40], [90, 45, 20, 10]])
    assert any("2 lines repeat another of their file, counted once" in note for note in data.notes)
    assert any("1 outlines are taken as the boxes around them" in note for note in data.notes)
    posed = opened(laid_out(tmp_path, {"a": "0 .5 .5 .2 .4 .1 .1 1 .9 .9 1\n"}, YAML + "kpt_shape: [2, 3]\n"))
    np.testing.assert_allclose(posed[0].target.boxes, [[80, 30, 40, 40]])


GOOD = "0 0.5 0.5 0.2 0.4\n"
WRONG = [
    (GOOD + "0 0.5 0.5 0.2\n", r"labels/val/a.txt line 2: 4 fields in '0 0.5 0.5 0.2', neither a box"),
    ("0 0.5 0.5 0.2 0.4 0.9\n", "a.txt line 1: 6 fields"),
    ("\n\n2 0.5 0.5 0.2 0.4\n", "a.txt line 3: class 2 is not an integer from 0 to 1"),
    ("-1 0.5 0.5 0.2 0.4\n", "a.txt line 1: class -1 is not an integer"),
    ("car 0.5 0.5 0.2 0.4\n", "a.txt line 1: class car is not an integer"),
    ("0.5 0.5 0.5 0.2 0.4\n", "a.txt line 1: class 0.5 is not an integer"),
    ("0 0.5 0.5 0.2 1.01\n", "a.txt line 1: 1.01 is no share of the image"),
    ("0 -0.01 0.5 0.2 0.4\n", "a.txt line 1: -0.01 is no share"),
    ("0 100 50 40 40\n", "a.txt line 1: 100 is no share of the image"),
    ("0 nan 0.5 0.2 0.4\n", "a.txt line 1: nan is no share"),
    ("0 inf 0.5 0.2 0.4\n", "a.txt line 1: inf is no share"),
    ("0 0,5 0.5 0.2 0.4\n", "a.txt line 1: 0,5 is no share"),
    ("0 x\x1b[31m 0.5 0.2 0.4\n", r"a.txt line 1: x\\x1b\[31m is no share"),
    (
        "0 0.2 0.2 0.6 0.6\n0 0.7 0.7 0.9 0.9\n",
        "data.yaml: 2 of 2 boxes leave their image, and none does if read as corners",
    ),
]


@pytest.mark.parametrize(("text", "found"), WRONG, ids=[found[:40] for _, found in WRONG])
def test_a_wrong_line_is_named(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(DataError, match=found) as caught:
        opened(laid_out(tmp_path, {"a": text}))
    assert caught.value.fix


YAMLS = [
    ("names: [car]\n", "1 categories, the model knows 2 classes"),
    ("names: [car, no]\nnc: 3\n", "nc is 3, and there are 2 names"),
    ("names: {0: car, 2: no}\n", "names are not numbered from 0 to 1"),
    ("names: {a: car, b: no}\n", "names are not numbered from 0 to 1"),
    ("names: {0: car, 00: no}\n", "names are not numbered from 0 to 1"),
    ("names: 7\n", "names is no list of names"),
    ("names: [car, [no]]\n", "names is no list of names"),
    ("names: [car, ' ']\n", "names is no list of names"),
    ("names: [car, car]\n", "two classes are named car"),
    ("- car\n", "is no table of keys"),
    ("names: [car\nval: x: y\n", r"data.yaml line 2: no valid YAML"),
    ("names: !!python/object/apply:os.system [ls]\n", "names is no list of names|categories"),
    ("{a: " * 3000, "no valid YAML"),
    ("val: ../../etc\nnames: [car, no]\n", "val leads out of"),
    ("val: /etc\nnames: [car, no]\n", "val leads out of"),
    ("val: [a, b]\nnames: [car, no]\n", "val is no single folder"),
    ("val: images/other\nnames: [car, no]\n", "val is images/other, and .* holds no such folder"),
    ("val: data.yaml\nnames: [car, no]\n", "data.yaml line 1: .* holds no val: data.yaml"),
]


@pytest.mark.parametrize(("yaml", "found"), YAMLS, ids=[found[:40] for _, found in YAMLS])
def test_a_wrong_data_yaml_is_named(tmp_path: Path, yaml: str, found: str) -> None:
    with pytest.raises(DataError, match=found) as caught:
        opened(laid_out(tmp_path, yaml=yaml))
    assert "data.yaml" in caught.value.found and caught.value.fix


def test_a_list_of_images_does_not_lead_out(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "set", yaml="val: val.txt\nnames: [car, no]\n")
    Image.new("RGB", (9, 9)).save(tmp_path / "out.png")
    (folder / "val.txt").write_text("images/val/a.png\n../out.png\n")
    with pytest.raises(DataError, match=r"val.txt line 2: .* holds no \.\./out.png"):
        opened(folder)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda folder: (folder / "other.yaml").rename(folder / "data.yml"), None),
        (lambda folder: (folder / "third.yaml").write_text("names: [a]"), "holds other.yaml, third.yaml"),
        (lambda folder: Image.new("RGB", (9, 9)).save(folder / "images/val/a.jpg"), "two images are named a but"),
        (lambda folder: [file.unlink() for file in (folder / "labels/val").iterdir()], "none of 3 images has a text"),
        (lambda folder: [file.unlink() for file in (folder / "images/val").iterdir()], "there are no images"),
        (lambda folder: (folder / "images/val").rename(folder / "pictures"), "images/val, and .* holds no such folder"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, change: object, found: str | None) -> None:
    folder = laid_out(tmp_path)
    (folder / "data.yaml").rename(folder / "other.yaml")
    assert callable(change)
    change(folder)
    if found is None:
        assert len(opened(folder)) == 3
        return
    with pytest.raises(DataError, match=found):
        opened(folder)


def test_another_place_is_told_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path / "none")
    with pytest.raises(DataError, match="holds no images/val/ and no val/images/"):
        opened(tmp_path)
    with pytest.raises(DataError, match=r"train is images/train, and .* holds no such folder"):
        Yolo().open(laid_out(tmp_path), WANTED, "train")


def test_labels_elsewhere(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    images, labels = folder / "images" / "val", folder / "labels" / "val"
    kind = Yolo()
    assert kind.are_labels(labels) and not kind.are_labels(images) and not kind.are_labels(labels / "a.txt")
    data = kind.open_labelled(images, labels, Wanted("boxes", 5))
    assert [len(sample.target.boxes) for sample in data] == [2, 0, 0]
    (labels / "classes.txt").write_text("no\ncar\n")
    named = kind.open_labelled(images, labels, Wanted("boxes", 2, ("car", "no")))
    assert named[0].target.category_ids.tolist() == [1, 0]


def test_an_image_that_is_none_is_told_when_it_is_decoded(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    (folder / "images/val/a.png").write_bytes(b"no image")
    assert len(opened(folder)) == 3


def test_files_beyond_a_limit_and_pipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = laid_out(tmp_path)
    monkeypatch.setattr(yolo_file, "MAX_TEXT_BYTES", 10)
    with pytest.raises(DataError, match="more than the 10"):
        opened(folder)
    monkeypatch.setattr(yolo_file, "MAX_YAML_BYTES", 10)
    with pytest.raises(DataError, match="more than the 10"):
        opened(folder)
    (folder / "labels/val/a.txt").unlink()
    os.mkfifo(folder / "labels/val/a.txt")
    monkeypatch.undo()
    assert len(opened(folder)[0].target.boxes) == 0  # no file: as if it were not there, and counted in the note


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("01 .5-e\n\t#car\x00é"), max_size=40))
def test_any_text_is_boxes_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = laid_out(tmp_path_factory.mktemp("any"))
    (folder / "labels/val/a.txt").write_text(text, encoding="utf-8")
    try:
        data = opened(folder)
    except DataError:
        return
    assert np.isfinite(data[0].target.boxes).all()
    assert set(data[0].target.category_ids.tolist()) <= {0, 1}
