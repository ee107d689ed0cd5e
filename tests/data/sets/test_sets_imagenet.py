"""Layouts of ImageNet-like sets, and what is said of folders that are none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelport.core.errors import DataError
from modelport.data.sets import imagenet
from modelport.data.sets.imagenet import open_imagenet


def make(folder: Path, *names: str) -> None:
    """Make empty files; a name that ends in ``/`` is a folder."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.touch()


def label(folder: Path, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "val_label.txt").write_text("\n".join(lines) + "\n")


def found(folder: Path) -> list[tuple[str, object, str]]:
    return [(sample.id, sample.target, sample.path.name) for sample in open_imagenet(folder, classes=10)]


@pytest.mark.parametrize("name", ["images", "val"])
def test_flat_folder_beside_the_label_file(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, "b.JPEG", "a.jpeg", "c.PNG")
    label(tmp_path, "c 0", "a.JPEG 7", "", "b.jpg 7")
    expected = [("a", 7, "a.jpeg"), ("b", 7, "b.JPEG"), ("c", 0, "c.PNG")]
    assert found(tmp_path) == expected
    assert found(tmp_path / name) == expected


def test_folder_that_holds_images_and_the_label_file(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a.jpg", ".hidden", "Thumbs.db", "README.md", "notes.json")
    label(tmp_path, "a 1", "b 2")
    assert found(tmp_path) == [("a", 1, "a.jpg"), ("b", 2, "b.jpg")]


def test_label_file_as_windows_writes_it(tmp_path: Path) -> None:
    make(tmp_path / "val", "a.jpg", "b.jpg")
    (tmp_path / "val_label.txt").write_bytes(b"\xef\xbb\xbfa.jpg\t1\r\nb.jpg 2\r\n")
    assert found(tmp_path) == [("a", 1, "a.jpg"), ("b", 2, "b.jpg")]


@pytest.mark.parametrize("inside", ["val", "."])
def test_as_many_class_folders_as_classes_are_labelled_by_plain_order_and_that_is_called_a_guess(
    tmp_path: Path, inside: str
) -> None:
    make(tmp_path / inside, "hen/x.JPEG", "cat/x.JPEG", "cat/a.webp", "Dog/x.JPEG", ".cache/", "list.csv")
    data = open_imagenet(tmp_path, classes=3)
    assert [(one.id, one.target) for one in data] == [("Dog/x", 0), ("cat/a", 1), ("cat/x", 1), ("hen/x", 2)]
    assert "GUESS" in data.notes[0] and "Dog = 0, cat = 1, hen = 2" in data.notes[0]


def test_all_folders_of_wordnet_are_in_the_published_order(tmp_path: Path) -> None:
    make(tmp_path / "val", "n02110185/x.JPEG", "n01440764/x.JPEG")
    data = open_imagenet(tmp_path, classes=2)
    assert [sample.target for sample in data] == [0, 1] and not data.notes


def test_training_split(tmp_path: Path) -> None:
    make(tmp_path, "train/0/a.jpg", "train/1/b.jpg", "val/0/c.jpg")
    train = open_imagenet(tmp_path, classes=2, split="train")
    assert [(sample.id, sample.target) for sample in train] == [("0/a", 0), ("1/b", 1)]
    assert [sample.id for sample in open_imagenet(tmp_path, classes=2)] == ["0/c"]


def test_it_is_a_sequence_that_says_what_it_is(tmp_path: Path) -> None:
    make(tmp_path / "val", "a.jpg", "b.jpg", "c.jpg")
    label(tmp_path, "a 1", "b 4", "c 1")
    data = open_imagenet(tmp_path, classes=5)
    assert (len(data), repr(data)) == (3, "ImageFiles(3 samples)")
    assert data[-1].id == "c"
    assert [sample.id for sample in data[:2]] == ["a", "b"]


def test_linked_images_count(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/a.jpg", "val/n0/")
    (tmp_path / "val/n0/a.jpg").symlink_to(tmp_path / "elsewhere/a.jpg")
    assert [sample.id for sample in open_imagenet(tmp_path, classes=1)] == ["n0/a"]


def flat(*lines: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        make(folder / "val", "a.jpg", "b.jpg")
        label(folder, *lines)

    return build


def tree(*names: str) -> Callable[[Path], None]:
    return lambda folder: make(folder, *names)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty folder": (tree("val/"), "val holds no images"),
    "nothing at all": (tree("notes.txt"), "holds no images"),
    "no label file": (tree("val/a.jpg"), "val holds images, and there is no val_label.txt in it or beside it"),
    "two image folders": (tree("val/a.jpg", "images/a.jpg"), "holds both images/ and val/"),
    "training only": (tree("train/n0/a.jpg"), "holds a training split only"),
    "one field": (flat("a 1", "b"), r"val_label.txt line 2: 1 fields in 'b'"),
    "three fields": (flat("my a.jpg 1"), r"val_label.txt line 1: 3 fields"),
    "label no number": (flat("a 1", "", "b two"), r"val_label.txt line 3: label 'two' is not an integer from 0 to 4"),
    "label negative": (flat("a -1"), r"line 1: label '-1' is not an integer"),
    "label too large": (flat("a 0", "b 5"), r"line 2: label '5' is not an integer from 0 to 4"),
    "label absurd": (flat("a " + "9" * 5000), r"line 1: label '9+' is not"),
    "label in other digits": (flat("a ١"), r"line 1: label '١' is not"),
    "labelled twice": (flat("a.jpg 1", "b 0", "a.JPEG 1"), r"line 3: a was labelled in line 1 already"),
    "no labels": (flat(""), "val_label.txt holds no labels"),
    "label without image": (flat("a 0", "b 0", "c 0"), r"val_label.txt labels c, and .*val holds no such image"),
    "image without label": (flat("a 0"), r"val holds b, and .*val_label.txt has no label"),
    "one stem": (tree("val/n0/a.jpg", "val/n0/a.png"), r"a\.(png|jpg) and a\.(png|jpg) have one name"),
    "empty class": (tree("val/n0/a.jpg", "val/n1/"), r"n1 holds no images"),
    "too many classes": (
        tree(*(f"val/n{k}/a.jpg" for k in range(6))),
        r"6 class folders \(n0, n1, n2 … \(6 in all\)\)",
    ),
    "images beside classes": (tree("val/n0/a.jpg", "val/b.jpg"), r"class folders and images beside them \(b.jpg\)"),
    "folder in a class": (tree("val/n0/a.jpg", "val/n0/more/b.jpg"), r"n0 holds folders \(more\)"),
    "strange file": (tree("val/n0/a.jpg", "val/n0/a.tar"), r"n0 holds a\.tar, which is no image"),
    "no suffix": (tree("val/n0/a.jpg", "val/n0/core"), r"n0 holds core, which is no image"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_set_is_refused_with_place_and_fix(tmp_path: Path, kind: str) -> None:
    build, message = BROKEN[kind]
    build(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        open_imagenet(tmp_path, classes=5)
    assert str(tmp_path) in caught.value.found
    assert caught.value.fix


def test_many_missing_are_counted_and_the_first_named(tmp_path: Path) -> None:
    make(tmp_path / "val", "a.jpg")
    label(tmp_path, "a 0", *(f"m{number:03} 0" for number in range(500)))
    with pytest.raises(DataError, match=r"labels m000, m001, m002 … \(500 in all\)"):
        open_imagenet(tmp_path, classes=1)


def test_no_such_folder_and_a_file(tmp_path: Path) -> None:
    make(tmp_path, "file.jpg")
    for path, message in ((tmp_path / "none", "does not exist"), (tmp_path / "file.jpg", "is a file")):
        with pytest.raises(DataError, match=message):
            open_imagenet(path, classes=1)
    with pytest.raises(DataError, match=r"cannot be read|does not exist"):
        open_imagenet(tmp_path / ("x" * 5000), classes=1)
    with pytest.raises(DataError, match="holds no train/"):
        open_imagenet(tmp_path, classes=1, split="train")


def test_a_label_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat("a 0", "b 0")(tmp_path)
    (tmp_path / "val_label.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="byte 0 is no utf-8"):
        open_imagenet(tmp_path, classes=1)
    monkeypatch.setattr(imagenet, "MAX_LABEL_BYTES", 2)
    with pytest.raises(DataError, match="more than the 2"):
        open_imagenet(tmp_path, classes=1)


def test_what_only_looks_like_a_file_is_named(tmp_path: Path) -> None:
    make(tmp_path, "val/n0/a.jpg")
    os.mkfifo(tmp_path / "val/n0/pipe.jpg")
    (tmp_path / "val/n0/broken.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"holds broken\.jpg, pipe\.jpg, which is no image"):
        open_imagenet(tmp_path, classes=1)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "val/ñ/é.jpg")
    assert [sample.id for sample in open_imagenet(tmp_path, classes=1)] == ["ñ/é"]
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/val/\xc3\xb1/\xff.jpg"))).touch()
    with pytest.raises(DataError, match="the name is not UTF-8"):
        open_imagenet(tmp_path, classes=1)


def test_folders_named_by_whole_numbers_are_those_labels(tmp_path: Path) -> None:
    for number in range(12):
        make(tmp_path / "val", f"{number}/x{number}.png")
    data = open_imagenet(tmp_path, classes=12)
    assert {sample.id: sample.target for sample in data} == {f"{n}/x{n}": n for n in range(12)}
    assert any("taken as the labels" in note for note in data.notes)


def test_zero_padded_folders_with_gaps_keep_their_numbers(tmp_path: Path) -> None:
    make(tmp_path / "val", "0003/a.png", "0010/b.png")
    assert [sample.target for sample in open_imagenet(tmp_path, classes=11)] == [3, 10]


@pytest.mark.parametrize(
    ("names", "found"),
    [(("1", "2", "3"), "numbered from 1 to 3"), (("0", "7"), "class folder 7"), (("1", "01"), "two class folders")],
)
def test_folder_numbers_that_are_no_classes_are_refused(tmp_path: Path, names: tuple[str, ...], found: str) -> None:
    make(tmp_path / "val", *(f"{name}/x.png" for name in names))
    with pytest.raises(DataError, match=found):
        open_imagenet(tmp_path, classes=3)


def test_one_label_for_all_images_is_noted(tmp_path: Path) -> None:
    flat("a 1", "b 1")(tmp_path)
    assert any("all 2 images have the label 1" in note for note in open_imagenet(tmp_path, classes=2).notes)


def test_a_pipe_as_label_file_is_refused_at_once(tmp_path: Path) -> None:
    flat("a 0")(tmp_path)
    (tmp_path / "val_label.txt").unlink()
    os.mkfifo(tmp_path / "val_label.txt")
    with pytest.raises(DataError, match="named pipe"):
        open_imagenet(tmp_path, classes=1)
