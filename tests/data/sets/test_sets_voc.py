"""Sets in Pascal VOC's layout: what the files say reaches the metric; what does not fit is named by file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modelport.core.errors import DataError
from modelport.core.values import DataSet
from modelport.data.sets import voc_file
from modelport.data.sets.base import Wanted
from modelport.data.sets.voc import Voc

WANTED = Wanted("boxes", 2)
ONE = (
    "<object><name>dog</name><difficult>0</difficult>"
    "<bndbox><xmin>1</xmin><ymin>11</ymin><xmax>200</xmax><ymax>60</ymax></bndbox></object>"
)
TWO = "<object><name>car</name><bndbox><ymin>5</ymin><xmin>21.5</xmin><xmax>40</xmax><ymax>9</ymax></bndbox></object>"


def text(*objects: str, size: tuple[int, int] = (200, 100), name: str = "a.png") -> str:
    inside = "\n".join(objects)
    return (
        f"<annotation>\n<filename>{name}</filename>\n"
        f"<size><width>{size[0]}</width><height>{size[1]}</height></size>\n{inside}\n</annotation>\n"
    )


def laid_out(folder: Path, first: str | None = None, beside: bool = False) -> Path:
    """Lay out two images of 200 × 100 pixels, ``a`` with a dog and a car and ``b`` with nothing."""
    images, files = (folder, folder) if beside else (folder / "JPEGImages", folder / "Annotations")
    for place in (images, files):
        place.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (200, 100)).save(images / f"{name}.png")
    (files / "a.xml").write_text(text(ONE, TWO) if first is None else first)
    (files / "b.xml").write_text(text(name="b.png"))
    return folder


def opened(folder: Path, wanted: Wanted = WANTED) -> DataSet:
    return Voc().open(folder, wanted, "val")


@pytest.mark.parametrize("beside", [False, True])
def test_pixels_are_counted_from_one_and_the_last_belongs_to_the_box(tmp_path: Path, beside: bool) -> None:
    data = opened(laid_out(tmp_path, beside=beside))
    assert [sample.id for sample in data] == ["a", "b"]
    assert data.categories == ((0, "car"), (1, "dog"))
    np.testing.assert_allclose(data[0].target.boxes, np.array([[0, 10, 200, 50], [20.5, 4, 19.5, 5]]))
    assert data[0].target.category_ids.tolist() == [1, 0]
    assert not data[0].target.iscrowd.any()
    assert len(data[1].target.boxes) == 0
    assert [note.partition(": ")[2] for note in data.notes] == [
        "GUESSED: the recipe names no classes, so these are the sorted names: car, dog"
    ]


def test_a_box_that_begins_at_zero_tells_how_pixels_are_counted(tmp_path: Path) -> None:
    data = opened(laid_out(tmp_path, text(ONE.replace("<xmin>1<", "<xmin>0<"), TWO)))
    np.testing.assert_allclose(data[0].target.boxes, np.array([[0, 11, 200, 49], [21.5, 5, 18.5, 4]]))
    assert any("pixels are counted from 0, not from 1" in note for note in data.notes)


def test_difficult_objects_are_neither_found_nor_missed(tmp_path: Path) -> None:
    data = opened(laid_out(tmp_path, text(ONE.replace("<difficult>0", "<difficult>1"), TWO)))
    assert data[0].target.iscrowd.tolist() == [True, False]
    assert any("1 objects are marked difficult" in note for note in data.notes)


def test_names_are_the_model_s(tmp_path: Path) -> None:
    data = opened(laid_out(tmp_path), Wanted("boxes", 3, ("dog", "cat", "Car")))
    assert data[0].target.category_ids.tolist() == [0, 2]
    assert data.categories == ((0, "dog"), (1, "cat"), (2, "Car"))
    assert any("car is Car" in note for note in data.notes)
    with pytest.raises(DataError, match=r"Annotations/a.xml line 5: no class of the model is named 'car'"):
        opened(laid_out(tmp_path), Wanted("boxes", 2, ("dog", "cat")))


def test_a_split_s_list_decides(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no val.txt, but nothing"):
        opened(folder)
    (lists / "val.txt").write_text("a  1\n\n")
    assert [sample.id for sample in opened(folder)] == ["a"]
    (lists / "val.txt").write_text("a\nz\n")
    with pytest.raises(DataError, match=r"holds no z\.xml, which the split lists"):
        opened(folder)
    (lists / "val.txt").write_text("a\na\n")
    with pytest.raises(DataError, match="lists a twice"):
        opened(folder)
    (lists / "val.txt").write_text("\n")
    with pytest.raises(DataError, match="lists no images"):
        opened(folder)
    with pytest.raises(DataError, match=r"holds no train.txt, but val.txt"):
        Voc().open(folder, WANTED, "train")


def box(**corners: Any) -> str:
    inside = "".join(
        f"<{key}>{value}</{key}>" for key, value in ({"xmin": 1, "ymin": 1, "xmax": 9, "ymax": 9} | corners).items()
    )
    return f"<object><name>dog</name>\n<bndbox>{inside}</bndbox></object>"


BOMB = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;">]>\n<annotation>&c;</annotation>'
WRONG = [
    ("<annotation>", "a.xml line 1: no valid XML: no element found"),
    ("", "a.xml line 1: no valid XML: no element found"),
    ("<annotation><b></annotation>", "a.xml line 1: no valid XML: mismatched tag"),
    ("<html></html>", "a.xml line 1: <html>, not <annotation>"),
    (BOMB, "a.xml line 2: a document type, which no annotation has"),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "a.xml line 1: a document type"),
    ("<annotation>&b;</annotation>", "a.xml line 1: no valid XML: undefined entity"),
    ('<?xml version="1.0" encoding="nothing"?><annotation/>', "a.xml.*no valid XML: unknown encoding"),
    ("<annotation>" + "<a>" * 50, "a.xml line 1: elements nested too deeply"),
    (text(box(xmin="x")), "a.xml line 5: xmin is 'x', no number of pixels"),
    (text(box(ymax="")), "a.xml line 5: ymax is '', no number"),
    (text(box(ymax="nan")), "a.xml line 5: ymax is 'nan', no number"),
    (text(box(xmax="1e400")), "a.xml line 5: xmax is '1e400', no number"),
    (text(box(xmin=10)), "a.xml line 5: xmax or ymax is less than xmin or ymin: 10 1 9 9"),
    (text(ONE.replace("<difficult>0", "<difficult>yes")), "a.xml line 4: difficult is yes, neither 0 nor 1"),
    (text("<object><name>dog</name></object>"), "a.xml line 4: an object without <bndbox>"),
    (text("<object><bndbox/></object>"), "a.xml line 4: an object without a name"),
    (text(ONE), r"objects have 1 names \(dog\), the model knows 2 classes"),
    (text(ONE, TWO, size=(400, 200)), r"Annotations/a.xml is 400 × 200 there, and .*a.png is 200 × 100: its boxes are"),
]


@pytest.mark.parametrize(("first", "found"), WRONG, ids=[found[:40] for _, found in WRONG])
def test_what_is_wrong_is_named(tmp_path: Path, first: str, found: str) -> None:
    with pytest.raises(DataError, match=found) as caught:
        opened(laid_out(tmp_path, first))
    assert caught.value.fix


def test_a_document_type_in_other_letters_is_seen(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    (folder / "Annotations" / "a.xml").write_bytes(BOMB.replace('"1.0"', '"1.0" encoding="utf-16"').encode("utf-16"))
    with pytest.raises(DataError, match="a document type"):
        opened(folder)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda folder: (folder / "JPEGImages/a.png").unlink(),
            "a.xml: there is no image a, and no a.png that it names",
        ),
        (lambda folder: (folder / "Annotations/b.xml").unlink(), None),
        (
            lambda folder: (folder / "Annotations/c.xml").write_text(text(name="a.png")),
            "two files are of the image a.png",
        ),
        (lambda folder: [one.unlink() for one in (folder / "Annotations").iterdir()], "holds no XML file"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, change: Callable[[Path], Any], found: str | None) -> None:
    folder = laid_out(tmp_path)
    change(folder)
    if found is None:
        assert any("1 of 2 images have no XML file and are left out: b.png" in note for note in opened(folder).notes)
        return
    with pytest.raises(DataError, match=found):
        opened(folder)


def test_labels_elsewhere_and_no_training_split_without_lists(tmp_path: Path) -> None:
    folder = laid_out(tmp_path)
    images, labels, kind = folder / "JPEGImages", folder / "Annotations", Voc()
    assert kind.are_labels(labels) and not kind.are_labels(images) and not kind.are_labels(labels / "a.xml")
    assert len(kind.open_labelled(images, labels, WANTED)) == 2
    with pytest.raises(DataError, match="has no training split"):
        kind.open(folder, WANTED, "train")
    with pytest.raises(DataError, match="does not exist"):
        opened(tmp_path / "none")


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voc_file, "MAX_XML_BYTES", 10)
    with pytest.raises(DataError, match="more than the 10"):
        opened(laid_out(tmp_path))
