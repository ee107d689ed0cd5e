"""COCO-like sets: what the file says reaches the metric, and what does not fit together is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.core.errors import DataError
from modelport.core.values import Truth
from modelport.data.sets import coco_file
from modelport.data.sets.base import Wanted
from modelport.data.sets.coco import Coco, open_coco

Content = dict[str, Any]


def content() -> Content:
    return {
        "images": [
            {"id": 9, "file_name": "000000000009.jpg", "width": 640, "height": 480},
            {"id": 139, "file_name": "000000000139.jpg"},
            {"id": 25, "file_name": "000000000025.jpg"},
        ],
        "annotations": [
            {"id": 7, "image_id": 139, "category_id": 3, "bbox": [1, 2.5, 3, 4], "area": 11.5, "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 18, "bbox": [0, 0, 10, 10], "area": 64, "iscrowd": 1},
            {"id": 5, "image_id": 139, "category_id": 18, "bbox": [5, 6, 7, 8], "area": 50, "segmentation": [[1, 2]]},
        ],
        "categories": [{"id": 3, "name": "car", "supercategory": "vehicle"}, {"id": 18, "name": "dog"}],
    }


def laid_out(folder: Path, value: Any = None, split: str = "val", place: str = "annotations") -> Path:
    images = folder / f"{split}2017"
    images.mkdir(parents=True)
    for row in content()["images"]:
        (images / row["file_name"]).write_bytes(b"image")
    file = folder / place / f"instances_{split}2017.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(value if isinstance(value, str) else json.dumps(content() if value is None else value))
    return folder


@pytest.mark.parametrize("place", ["annotations", "."])
@pytest.mark.parametrize("split", ["val", "train"])
def test_samples_hold_what_the_file_says(tmp_path: Path, split: Any, place: str) -> None:
    data = open_coco(laid_out(tmp_path, split=split, place=place), classes=2, split=split)
    assert [sample.id for sample in data] == ["000000000009", "000000000025", "000000000139"]
    assert data.categories == ((3, "car"), (18, "dog"))
    assert (data.notes, len(data)) == ((), 3)
    assert data[0].path == tmp_path / f"{split}2017" / "000000000009.jpg"
    assert data[0].read() == b"image"
    assert [sample.id for sample in data[1:]] == ["000000000025", "000000000139"]
    truth = data[2].target
    assert isinstance(truth, Truth)
    assert truth.image_id == 139
    assert truth.boxes.tolist() == [[1, 2.5, 3, 4], [5, 6, 7, 8]]
    assert truth.category_ids.tolist() == [3, 18]
    assert truth.areas.tolist() == [11.5, 50]
    assert truth.iscrowd.tolist() == [False, False]
    assert data[0].target.iscrowd.tolist() == [True]
    assert data[1].target.boxes.shape == (0, 4)
    assert [array.dtype.name for array in (truth.boxes, truth.category_ids)] == ["float64", "int64"]
    with pytest.raises(ValueError, match="read-only"):
        truth.boxes[0] = 0


def test_a_class_index_is_the_place_among_the_ids(tmp_path: Path) -> None:
    value = content()
    value["categories"].reverse()
    data = open_coco(laid_out(tmp_path, value), classes=2)
    assert data.categories == ((3, "car"), (18, "dog"))
    assert "not listed by id" in data.notes[0]


@pytest.mark.parametrize("box", [[1, 2, 0, 4], [1, 2, 3, 0], [1, 2, -3, 4]])
def test_boxes_without_extent_are_noted_not_refused(tmp_path: Path, box: list[int]) -> None:
    value = content()
    value["annotations"][0]["bbox"] = box
    data = open_coco(laid_out(tmp_path, value), classes=2)
    assert data.notes == (
        f"{tmp_path}/annotations/instances_val2017.json: 1 boxes without width or height, which no detection meets",
    )
    assert data[2].target.boxes[0].tolist() == box


def changed(*path: Any) -> Callable[[Any], Content]:
    """Return what sets the entry at ``path`` of the file to a value."""

    def change(new: Any) -> Content:
        value = content()
        inner: Any = value
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = new
        return value

    return change


FIRST = ("annotations", 0)
WRONG = [
    (changed(*FIRST, "category_id")(4), "annotation 7: category_id 4 is no category"),
    (changed(*FIRST, "category_id")(3.0), "annotation 7: category_id 3.0 is no integer"),
    (changed(*FIRST, "category_id")([3]), r"annotation 7: category_id \[3\] is no integer"),
    (changed(*FIRST, "image_id")(140), "annotation 7: image_id 140 is no image"),
    (changed(*FIRST, "image_id")(None), r"annotation 7: image_id \(none\) is no image"),
    (changed(*FIRST, "bbox")([1, 2, 3]), r"annotation 7: bbox \[1, 2, 3\] is not four finite numbers"),
    (changed(*FIRST, "bbox")([1, 2, 3, float("nan")]), "annotation 7: bbox .* is not four finite numbers"),
    (changed(*FIRST, "bbox")([1, 2, 3, float("inf")]), "annotation 7: bbox .* is not four finite numbers"),
    (changed(*FIRST, "bbox")([1, 2, 3, "4"]), "annotation 7: bbox .* is not four finite numbers"),
    (changed(*FIRST, "bbox")([1, 2, 3, True]), "annotation 7: bbox .* is not four finite numbers"),
    (changed(*FIRST, "bbox")([1, 2, 3, 10**400]), "annotation 7: bbox .* is not four finite numbers"),
    (changed(*FIRST, "bbox")("1234"), "annotation 7: bbox '1234' is not four finite numbers"),
    (changed(*FIRST, "area")(-1), "annotation 7: area -1 is no number from 0 on"),
    (changed(*FIRST, "area")("1"), "annotation 7: area '1' is no number from 0 on"),
    (changed(*FIRST, "iscrowd")(2), "annotation 7: iscrowd 2 is neither 0 nor 1"),
    (changed(*FIRST, "id")("7"), "annotation at place 0: id '7' is no integer"),
    (changed("images", 0, "id")(25), "image 25 is listed twice"),
    (changed("images", 0, "id")(-9), "image at place 0: id -9 is no integer"),
    (changed("images", 0, "id")(2**63), "image at place 0: id 9223372036854775808 is no integer"),
    (changed("images", 0, "file_name")("000000000025.png"), "one name but for the suffix"),
    (changed("images", 0, "file_name")("../000000000009.jpg"), "image 9: file_name .* is no plain name"),
    (changed("images", 0, "file_name")("/etc/passwd"), "image 9: file_name '/etc/passwd' is no plain name"),
    (changed("images", 0, "file_name")("val2017\\9.jpg"), "image 9: file_name .* is no plain name"),
    (changed("images", 0, "file_name")(".."), "image 9: file_name '..' is no plain name"),
    (changed("images", 0, "file_name")("a\0.jpg"), "image 9: file_name .* is no plain name"),
    (changed("images", 0, "file_name")(""), "image 9: file_name '' is no plain name"),
    (changed("images", 0, "file_name")("a\n.jpg"), "image 9: file_name .* is no plain name"),
    (changed("images", 0, "file_name")("\udcff.jpg"), "image 9: file_name .* is no plain name"),
    (changed("images", 0, "file_name")(9), "image 9: file_name '9' is no plain name"),
    (
        changed("images", 0, "file_name")("000000000010.jpg"),
        r"lists 000000000010.jpg, and .*val2017 holds no such image",
    ),
    (changed("categories", 0, "id")(18), "category 18 is listed twice"),
    (changed("categories", 0, "name")(None), "category 3 has no name"),
    (changed("categories")([]), "0 categories, the model knows 2 classes"),
    (changed("categories")([{"id": n, "name": "c"} for n in range(3)]), "3 categories, the model knows 2 classes"),
    (changed("images")([]), "lists no images"),
    (changed("images")({}), "'images' is no list of objects"),
    (changed("annotations")([1]), "'annotations' is no list of objects"),
    ([], "is no JSON object"),
    ("{", "is no JSON: "),
    ("[" * 100_000, "is no JSON: nested too deeply"),
    (json.dumps(content()).replace("11.5", "1e400"), "annotation 7: area inf is no number"),
    ('{"images": ' + "9" * 5000 + "}", "is no JSON: "),
]


@pytest.mark.parametrize(("value", "found"), WRONG, ids=[found[:40] for _, found in WRONG])
def test_what_does_not_fit_names_the_file_and_the_way_out(tmp_path: Path, value: Any, found: str) -> None:
    with pytest.raises(DataError, match=found) as caught:
        open_coco(laid_out(tmp_path, value), classes=2)
    assert "instances_val2017.json" in caught.value.found
    assert caught.value.fix


@pytest.mark.parametrize("kind", ["images", "categories"])
def test_what_shares_a_number_but_differs_is_not_to_be_thrown_away(tmp_path: Path, kind: str) -> None:
    for same, fix in ((False, "of its own"), (True, "keep one of the two")):
        value = content()
        rows = value[kind]
        rows.append({**rows[0], **({} if same else {"note": "another"})})
        with pytest.raises(DataError, match="is listed twice") as caught:
            open_coco(laid_out(tmp_path / str(same), value), classes=2)
        assert fix in caught.value.fix


def test_annotations_may_share_a_number_but_not_be_the_same(tmp_path: Path) -> None:
    value = content()
    value["annotations"][2]["id"] = 7
    data = open_coco(laid_out(tmp_path / "a", value), classes=2)
    assert len(data[2].target.boxes) == 2
    assert "1 annotations have the id of another one; each is counted by itself" in data.notes[0]
    value["annotations"].append(dict(value["annotations"][0]))
    with pytest.raises(DataError, match="annotation 7 is listed twice"):
        open_coco(laid_out(tmp_path / "b", value), classes=2)


def test_an_image_without_an_entry_is_named_clutter_is_not(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    for name in (".hidden.jpg", "list.txt"):
        (folder / "val2017" / name).touch()
    assert len(open_coco(folder, classes=2)) == 3
    (folder / "val2017" / "extra.jpg").touch()
    with pytest.raises(DataError, match=r"val2017 holds extra.jpg, and .*json has no entry"):
        open_coco(folder, classes=2)


@pytest.mark.parametrize(
    ("lack", "found"),
    [
        ("nothing", "does not exist"),
        ("file", "is a file"),
        ("images", "holds no val2017/"),
        ("json", "holds no instances_val2017.json"),
        ("both", "keep the one"),
    ],
)
def test_another_layout_is_told_what_is_missing(tmp_path: Path, lack: str, found: str) -> None:
    folder = tmp_path / "set"
    if lack == "file":
        folder.touch()
    if lack == "images":
        folder.mkdir()
    if lack in ("json", "both"):
        laid_out(folder)
        file = folder / "annotations" / "instances_val2017.json"
        file.rename(folder / "other.json") if lack == "json" else (folder / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=found):
        open_coco(folder, classes=2)
    with pytest.raises(DataError, match=r"train2017|does not exist|is a file"):
        open_coco(folder, classes=2, split="train")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_file, "MAX_JSON_BYTES", 100)
    with pytest.raises(DataError, match="more than the 100"):
        open_coco(laid_out(tmp_path), classes=2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    (folder / "annotations" / "instances_val2017.json").chmod(0)
    with pytest.raises(DataError, match=r"instances_val2017.json cannot be read: Permission denied"):
        open_coco(folder, classes=2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PATHS = st.sampled_from(
    [(key, place, name) for key, rows in content().items() for place, row in enumerate(rows) for name in row]
    + [(key, place) for key, rows in content().items() for place in range(len(rows))]
    + [(key,) for key in content()]
)


@settings(max_examples=150, deadline=None)
@given(PATHS, JSON)
def test_any_value_anywhere_is_data_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[Any, ...], value: Any
) -> None:
    folder = laid_out(tmp_path_factory.mktemp("any"), changed(*path)(value))
    try:
        data = open_coco(folder, classes=2)
    except DataError:
        return
    for sample in data:
        sample.id.encode()
        assert np.isfinite(sample.target.boxes).all()
        assert set(sample.target.category_ids.tolist()) <= {number for number, _ in data.categories}


def pictured(folder: Path, value: Content, size: tuple[int, int] = (640, 480)) -> Path:
    """Lay out the data set with real images of one size, which the file declares as 640 × 480."""
    for row in value["images"]:
        row.update(width=640, height=480)
    laid_out(folder, value)
    for row in value["images"]:
        Image.new("RGB", size).save(folder / "val2017" / row["file_name"])
    return folder


def test_sizes_and_boxes_that_agree_raise_no_alarm(tmp_path: Path) -> None:
    assert open_coco(pictured(tmp_path, content()), classes=2).notes == ()


def test_a_size_beyond_measure_is_not_the_image_s(tmp_path: Path) -> None:
    folder = pictured(tmp_path, content())
    file = folder / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text().replace('"width": 640, "height": 480', f'"width": 320, "height": {10**400}'))
    assert len(open_coco(folder, classes=2)) == 3


@pytest.mark.parametrize("size", [(320, 240), (1280, 960)])
def test_boxes_for_images_before_they_were_resized_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="its boxes are for another size"):
        open_coco(pictured(tmp_path, content(), size), classes=2)


def test_a_rotated_image_that_its_boxes_leave_is_refused(tmp_path: Path) -> None:
    value = content()
    value["annotations"][1]["bbox"] = [500, 10, 100, 100]
    with pytest.raises(DataError, match="its boxes are for another size"):
        open_coco(pictured(tmp_path, value, (480, 640)), classes=2)


def test_a_wrong_declared_size_of_fitting_boxes_is_noted(tmp_path: Path) -> None:
    notes = open_coco(pictured(tmp_path, content(), (480, 640)), classes=2).notes
    assert any("of 3 images is not the image's" in note for note in notes)


@pytest.mark.parametrize(
    ("turn", "found"),
    [
        (lambda x, y, w, h: [x / 640, y / 480, w / 640, h / 480], "look like shares"),
        (lambda x, y, w, h: [x, y, x + w, y + h], "read as corners"),
    ],
)
def test_boxes_in_another_form_are_named(tmp_path: Path, turn: Callable[..., list[float]], found: str) -> None:
    value = content()
    for row in value["annotations"]:
        row["bbox"] = turn(400, 300, 200, 100)
    with pytest.raises(DataError, match=found):
        open_coco(pictured(tmp_path, value), classes=2)


@pytest.mark.parametrize("crowds", [False, True])
def test_nothing_to_measure_is_noted(tmp_path: Path, crowds: bool) -> None:
    value = content()
    value["annotations"] = [row | {"iscrowd": 1} for row in value["annotations"]] if crowds else []
    assert any("no figure can be measured" in note for note in open_coco(laid_out(tmp_path, value), classes=2).notes)


def test_annotations_that_are_a_pipe_are_refused_at_once(tmp_path: Path) -> None:
    file = laid_out(tmp_path) / "annotations" / "instances_val2017.json"
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(DataError, match="named pipe"):
        open_coco(tmp_path, classes=2)


def test_without_area_the_box_is_taken_and_without_iscrowd_none_is_one(tmp_path: Path) -> None:
    value = content()
    for row in value["annotations"]:
        row.pop("area")
        row.pop("iscrowd", None)
    data = open_coco(laid_out(tmp_path, value), classes=2)
    assert data[2].target.areas.tolist() == [12.0, 56.0]
    assert not data[0].target.iscrowd.any()
    assert any("3 annotations have no area" in note for note in data.notes)


def test_areas_of_zero_are_said(tmp_path: Path) -> None:
    data = open_coco(laid_out(tmp_path, changed(*FIRST, "area")(0)), classes=2)
    assert any("1 boxes have an area of 0 there" in note for note in data.notes)


def renamed(value: Content, folder: Path, name: Callable[[str], str]) -> Path:
    """Lay out the set in ``folder``/images with files renamed, and one file of annotations beside it."""
    for row in value["images"]:
        row["file_name"] = name(row["file_name"])
        file = folder / "images" / row["file_name"].removeprefix("images/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"image")
    (folder / "labels.json").write_text(json.dumps(value))
    return folder


@pytest.mark.parametrize(("name", "ids"), [("{}", ""), ("a/b/{}", "a/b/"), ("images/{}", ""), ("images/c/{}", "c/")])
def test_names_may_lead_down_from_the_folder_of_images(tmp_path: Path, name: str, ids: str) -> None:
    data = open_coco(renamed(content(), tmp_path, name.format), classes=2)
    assert [sample.id for sample in data] == [f"{ids}{number:012d}" for number in (9, 25, 139)]
    assert all(sample.path.is_file() for sample in data)


@pytest.mark.parametrize("name", ["../{}", "/{}", "a/../../{}", "a//{}", "./{}", "a\\{}", "a/./{}"])
def test_names_never_lead_out(tmp_path: Path, name: str) -> None:
    value = content()
    folder = renamed(content(), tmp_path, str)
    for row in value["images"]:
        row["file_name"] = name.format(row["file_name"])
    (folder / "labels.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="is no plain name of a file"):
        open_coco(folder, classes=2)


def test_one_file_under_two_names_is_refused(tmp_path: Path) -> None:
    value = content()
    value["images"][1]["file_name"] = "images/000000000009.jpg"
    folder = renamed(value, tmp_path, str)
    with pytest.raises(DataError, match=r"two images are the file 000000000009.jpg"):
        open_coco(folder, classes=2)


def roboflow(folder: Path, split: str) -> Path:
    place = folder / split
    place.mkdir(parents=True, exist_ok=True)
    for row in content()["images"]:
        (place / row["file_name"]).write_bytes(b"image")
    (place / "_annotations.coco.json").write_text(json.dumps(content()))
    return folder


def test_a_file_beside_the_images_is_a_layout(tmp_path: Path) -> None:
    assert len(open_coco(roboflow(tmp_path / "a", "valid"), classes=2)) == 3
    assert len(open_coco(tmp_path / "a" / "valid", classes=2)) == 3
    with pytest.raises(DataError, match="holds no train2017/"):
        open_coco(tmp_path / "a" / "valid", classes=2, split="train")
    assert len(open_coco(roboflow(tmp_path / "a", "train"), classes=2, split="train")) == 3


@pytest.mark.parametrize(
    ("files", "val", "train"),
    [
        (["labels.json"], "labels.json", "which of labels.json is the train"),
        (["val.json", "train.json"], "val.json", "train.json"),
        (
            ["annotations/instances_val.json", "x.json"],
            "annotations/instances_val.json",
            "which of instances_val.json, x.json is",
        ),
        (["x.json", "train.json"], "x.json", "train.json"),
        (["x.json", "y.json"], "which of x.json, y.json is the val", "which of"),
        ([], "there is no .json file", "there is no .json file"),
    ],
)
def test_the_file_beside_images_is_the_split_s_or_asked_for(
    tmp_path: Path, files: list[str], val: str, train: str
) -> None:
    folder = renamed(content(), tmp_path, str)
    (folder / "annotations").mkdir()
    made = (folder / "labels.json").read_text()
    (folder / "labels.json").unlink()
    for file in files:
        (folder / file).write_text(made.replace("car", file))
    for split, found in (("val", val), ("train", train)):
        if found in files:
            assert open_coco(folder, classes=2, split=split).categories[0] == (3, found)  # type: ignore[arg-type]
        else:
            with pytest.raises(DataError, match=found):
                open_coco(folder, classes=2, split=split)  # type: ignore[arg-type]


def test_labels_elsewhere_may_be_for_a_part_of_the_images(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "set")
    images, labels = folder / "val2017", folder / "annotations" / "instances_val2017.json"
    (images / "extra.jpg").touch()
    kind, wanted = Coco(), Wanted("boxes", 2)
    assert kind.are_labels(labels) and not kind.are_labels(images) and not kind.are_labels(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[1]")
    assert not kind.are_labels(tmp_path / "other.json")
    data = kind.open_labelled(images, labels, wanted)
    assert len(data) == 3
    assert any("1 of 4 images in" in note and "left out: extra.jpg" in note for note in data.notes)
    (images / "000000000009.jpg").unlink()
    with pytest.raises(DataError, match=r"lists 000000000009.jpg, and .* holds no such image"):
        kind.open_labelled(images, labels, wanted)
    with pytest.raises(DataError, match="is a file, not a folder"):
        kind.open_labelled(labels, labels, wanted)


def opened(folder: Path, value: Content, *names: str, **more: Any) -> Any:
    return Coco().open(laid_out(folder, value), Wanted("boxes", more.pop("classes", len(names)), names, **more), "val")


def test_the_model_s_names_say_which_class_a_category_is(tmp_path: Path) -> None:
    data = opened(tmp_path, content(), "bird", "Dog", "car", "kite")
    assert data.categories == ((0, "bird"), (18, "Dog"), (3, "car"), (1, "kite"))
    assert data[2].target.category_ids.tolist() == [3, 18]
    assert any("dog is Dog" in note for note in data.notes)


def test_two_categories_may_be_one_class_of_the_model(tmp_path: Path) -> None:
    data = opened(tmp_path, content(), "thing", "other", class_map={"car": "thing", "dog": 0})
    assert data.categories == ((3, "thing"), (0, "other"))
    assert data[2].target.category_ids.tolist() == [3, 3]


def test_a_category_that_the_model_does_not_name_is_refused_where_it_has_boxes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no class of the model is named 'dog'"):
        opened(tmp_path / "a", content(), "car", "cat")
    value = content()
    value["annotations"] = value["annotations"][:1]
    data = opened(tmp_path / "b", value, "car", "cat")
    assert any("none of the model's are left out: dog" in note for note in data.notes)


def test_a_root_of_all_categories_is_none_of_them(tmp_path: Path) -> None:
    value = content()
    for row in value["categories"]:
        row["supercategory"] = "things"
    value["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})
    data = open_coco(laid_out(tmp_path / "a", value), classes=2)
    assert data.categories == ((3, "car"), (18, "dog"))
    assert any("left out: things" in note for note in data.notes)
    with pytest.raises(DataError, match="3 categories, the model knows 5 classes"):
        open_coco(laid_out(tmp_path / "b", value), classes=5)
