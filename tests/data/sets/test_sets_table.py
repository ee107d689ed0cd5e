"""Labels in tables: what each form reads, and one message for each thing that is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelport.core.errors import DataError, RecipeError, UsageError
from modelport.core.values import LabelForm
from modelport.data.sets import table_rows
from modelport.data.sets.base import Wanted
from modelport.data.sets.images import ImageFiles
from modelport.data.sets.label_table import LabelTable
from modelport.data.sets.label_values import LabelValues
from modelport.data.sets.table import open_dataset, open_labelled
from modelport.recipes.load import parse_recipe
from modelport.recipes.tables import Columns

NAMES = ("tench, Tinca tinca", "goldfish", "great_white shark", "hen", "cock")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def wanted(form: LabelForm = "class", **more: Any) -> Wanted:
    return Wanted(form, 5 if form in ("class", "classes") else None, **more)


def opened(folder: Path, content: str | bytes, want: Wanted | None = None, name: str = "labels.csv") -> ImageFiles:
    data = content.encode() if isinstance(content, str) else content
    (folder / name).write_bytes(data)
    return LabelTable().open(folder, want or wanted(), "val")


def targets(found: ImageFiles) -> dict[str, Any]:
    return {sample.id: sample.target for sample in found}


def test_one_table_in_each_form_of_file(tmp_path: Path) -> None:
    """Quotes, spaces, a byte order mark, CRLF and empty lines are what they are in RFC 4180, and as Windows writes."""
    touch(tmp_path, "images/a b.jpg", "images/in/c.png", "images/d.webp")
    rows = [("a b.jpg", "3"), ("in/c.png", "0"), ("d", "tench, Tinca tinca")]
    want = wanted(names=NAMES)
    expected = {"a b": 3, "in/c": 0, "d": 0}
    csv = b'\xef\xbb\xbffile,Label\r\na b.jpg, 3\r\n\r\n"in/c.png",0\r\nimages/d,"tench, Tinca tinca"\r\n'
    tsv = "file\tlabel\n" + "".join(f"{path}\t{label}\n" for path, label in rows)
    lines = "".join(json.dumps({"file": path, "label": label, "more": 1}) + "\n" for path, label in rows)
    for name, content in {"labels.csv": csv, "val.tsv": tsv.encode(), "labels.jsonl": lines.encode()}.items():
        found = opened(tmp_path, content, want, name)
        assert targets(found) == expected, name
        assert found[0].path.is_file()
        assert "images from the column file, labels from" in found.notes[0]
        labelled = (
            LabelTable().open_labelled(tmp_path / "images", tmp_path / name, want) if "csv" not in name else found
        )
        assert targets(labelled) == expected, name
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("form", "cells", "expected"),
    [
        ("class", ["Hen", "great white shark", "4"], [3, 2, 4]),
        (
            "classes",
            ["3;hen2", "1|0", '"[4, ""hen""]"', '"tench, Tinca tinca"', ""],
            [(1, 3), (0, 1), (3, 4), (0,), ()],
        ),
        ("numbers", ["1.5", "-2e3", "7"], [(1.5,), (-2000.0,), (7.0,)]),
        ("numbers", ["1;2", "3|4", '"[5, 6.5]"'], [(1.0, 2.0), (3.0, 4.0), (5.0, 6.5)]),
        ("text", ["abc", '" two, words"', '"say ""no"""', ""], ["abc", " two, words", 'say "no"', ""]),
    ],
)
def test_a_label_in_each_form(tmp_path: Path, form: LabelForm, cells: list[str], expected: list[Any]) -> None:
    touch(tmp_path, *(f"{place}.jpg" for place in range(len(cells))))
    text = "path,label\n" + "".join(f"{place}.jpg,{cell}\n" for place, cell in enumerate(cells))
    more = {"names": NAMES, "class_map": {"hen2": "goldfish"}} if form in ("class", "classes") else {}
    found = opened(tmp_path, text, wanted(form, **more))
    assert [sample.target for sample in found] == expected
    assert any("texts are empty" in note for note in found.notes) == ("" in cells and form == "text")
    assert any("no class at all" in note for note in found.notes) == (form == "classes")
    assert any("another spelling: Hen is hen" in note for note in found.notes) == ("Hen" in cells)


def test_numbers_of_several_columns_that_the_recipe_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    want = wanted("numbers", columns=Columns(path="id", label=["y", "x"]))
    found = opened(tmp_path, "id,x,y\na.jpg,1,2\nb.jpg,3,4.5\n", want)
    assert targets(found) == {"a": (2.0, 1.0), "b": (4.5, 3.0)}
    lines = '{"id": "a.jpg", "x": 1, "y": 2}\n{"id": "b.jpg", "y": 4.5, "x": 3}\n'
    (tmp_path / "labels.csv").unlink()
    assert targets(opened(tmp_path, lines, want, "labels.ndjson")) == targets(found)


def test_json_lines_keep_their_types(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    lines = '{"path": "a.jpg", "labels": [4, "hen"]}\n\n{"path": "b.jpg", "labels": []}\n'
    found = opened(tmp_path, lines, wanted("classes", names=NAMES), "val.jsonl")
    assert targets(found) == {"a": (3, 4), "b": ()}


def test_further_columns_are_kept_as_facts(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    found = opened(tmp_path, "site,path,label,hour,\nnorth ,a.jpg,1,07,x\n,b.jpg,2,8,y\n")
    assert [sample.facts for sample in found] == [
        {"columns": {"site": "north ", "hour": "07"}},
        {"columns": {"hour": "8"}},
    ]
    (said,) = [note for note in found.notes if "images from" in note]
    assert "kept beside them: site, hour; 1 further columns are not read" in said
    (tmp_path / "labels.csv").unlink()
    cells = {
        "path": "a.jpg",
        "label": 1,
        "t": 1.5,
        "big": 10**40,
        "yes": True,
        "no": None,
        "list": [1],
        "h\x1b": "\ud800",
    }
    found = opened(tmp_path, json.dumps(cells) + "\n", name="labels.jsonl")
    told = {"t": 1.5, "big": str(10**40), "yes": True, "h\\x1b": "\\ud800"}
    assert found[0].facts == {"columns": told} and found[0].facts["columns"]["yes"] is True


def test_facts_are_bounded(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    names = [f"column {place} {'x' * 100}" for place in range(100)]
    found = opened(tmp_path, f"path,label,{','.join(names)}\na.jpg,1,{','.join(['y' * 1000] * 100)}\n")
    assert found[0].facts is not None
    columns = found[0].facts["columns"]
    assert len(columns) == 20 and max(map(len, [*columns, *columns.values()])) == 60
    assert "80 further columns are not read" in found.notes[0]
    assert opened(tmp_path, "path,label\na.jpg,1\n")[0].facts is None


def test_labels_of_a_part_are_said_and_the_rest_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "train/x.jpg")
    found = opened(tmp_path, "path,label\na.jpg,1\nc.jpg,0\n")
    assert list(targets(found)) == ["a", "c"]
    assert any("labels 2 of 3 images; the others are left out" in note for note in found.notes)


def test_files_that_differ_in_their_suffix_alone_keep_it(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png")
    found = opened(tmp_path, "path,label\na.jpg,1\na.png,0\n")
    assert list(targets(found)) == ["a.jpg", "a.png"] and "suffix alone" in found.notes[-1]


def test_odd_labels_are_said(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{place:02}.jpg" for place in range(15)))
    rows = [f"{place:02}.jpg," for place in range(15)]
    for label, note in ((lambda place: 1, "all 15 images have the label 1"), (lambda place: 1 + place % 4, "from 1?")):
        text = "path,label\n" + "".join(f"{row}{label(place)}\n" for place, row in enumerate(rows))
        assert any(note in said for said in opened(tmp_path, text).notes)
    text = "path,label\n" + "".join(f"{row}{place % 3}\n" for place, row in enumerate(rows))
    assert any(
        "2 of 5 classes have no image: 3 (hen), 4" in said for said in opened(tmp_path, text, wanted(names=NAMES)).notes
    )


def test_training_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.jpg", "val/b.jpg")
    (tmp_path / "train.csv").write_text("path,label\ntrain/a.jpg,1\n")
    (tmp_path / "val.csv").write_text("path,label\nval/b.jpg,2\n")
    assert targets(LabelTable().open(tmp_path, wanted(), "train")) == {"train/a": 1}
    assert targets(LabelTable().open(tmp_path, wanted(), "val")) == {"val/b": 2}


def reads(label: str | list[str]) -> Wanted:
    return wanted(columns=Columns(label=label))


NUMBERED = wanted(names=tuple("12345"))
Broken = tuple[str, str, Wanted]
H = "path,label\n"
BROKEN: dict[str, Broken] = {
    "empty": ("", "labels.csv is empty", wanted()),
    "header alone": (H, "labels.csv labels no image", wanted()),
    "no header": ("a.jpg,3\nb.jpg,1\n", "no column is named path, .*first line has a.jpg, 3", wanted()),
    "semicolons": ("path;label\na.jpg;1\n", "no column is named path", wanted()),
    "two path columns": ("path,file,label\na.jpg,a.jpg,1\n", "may be the path: path, file", wanted()),
    "two label columns": ("path,label,class\na.jpg,1,1\n", "may be the label: label, class", wanted()),
    "named column twice": ("path,y,y\na.jpg,1,2\n", "more than one column is named 'y'", reads("y")),
    "named column missing": (H + "a.jpg,1\n", "no column is named 'y'; .*path, label", reads("y")),
    "one column for both": (H + "a.jpg,1\n", "column 'path' is read twice", reads("path")),
    "too many fields": (H + "a.jpg,1\nb.jpg,2,3\n", "line 3: 3 fields, the header names 2 columns", wanted()),
    "too few fields": (H + "a.jpg\n", "line 2: 1 fields", wanted()),
    "open quote": (H + 'a.jpg,1\n"b.jpg,2\n', "line 3: unexpected end of data", wanted()),
    "text after a quote": (H + '"a"b.jpg,1\n', "line 2: ',' expected", wanted()),
    "field beyond measure": (H + "a.jpg," + "9" * 140_000, "line 2: field larger", wanted()),
    "missing image": (H + "a.jpg,1\nz.jpg,1\n", "line 3: .* holds no image 'z.jpg'", wanted()),
    "other suffix": (H + "a.png,1\n", "line 2: .* holds no image 'a.png'", wanted()),
    "backslashes": (H + "in\\c.jpg,1\n", "line 2: .*no image.*\n.*write / between", wanted()),
    "no path": (H + ",1\n", "line 2: names no image", wanted()),
    "a dot": (H + ".,1\n", "line 2: '.' is no file", wanted()),
    "absolute": (H + "/etc/a.jpg,1\n", "line 2: '/etc/a.jpg' leads out of the folder", wanted()),
    "upwards": (H + "in/../../a.jpg,1\n", "line 2: .* leads out", wanted()),
    "a drive": (H + "C:\\a.jpg,1\n", "line 2: .* leads out", wanted()),
    "twice": (H + "a.jpg,1\nb.jpg,1\na.jpg,1\n", "line 4: a.jpg was labelled in line 2 already", wanted()),
    "twice by another spelling": (H + "a.jpg,1\n./a,1\n", "line 3: a.jpg was labelled in line 2 already", wanted()),
    "label outside": (H + "a.jpg,5\n", "line 2: label '5' is not an integer from 0 to 4", wanted()),
    "label negative": (H + "a.jpg,-1\n", "line 2: label '-1' is not an integer", wanted()),
    "label of many digits": (H + "a.jpg," + "9" * 5000 + "\n", "line 2: label '9+' is not", wanted()),
    "label with a point": (H + "a.jpg,1.0\n", "line 2: label '1.0' is not an integer", wanted()),
    "no label": (H + "a.jpg,\n", "line 2: label '' is not an integer", wanted()),
    "unknown name": (H + "a.jpg,henn\n", "line 2: no class is named 'henn'\n.*did you mean 'hen'", wanted(names=NAMES)),
    "name and no names": (H + "a.jpg,hen\n", "label 'hen' is not an integer .*\n.*dataset.names or", wanted()),
    "name and number": (H + "a.jpg,1\n", "line 2: label 1 is the name of class 0 and the number", NUMBERED),
    "class twice": (H + "a.jpg,1;1\n", "line 2: class 1 stands twice", wanted("classes")),
    "empty entry": (H + "a.jpg,1;;2\n", "line 2: an entry of '1;;2' is empty", wanted("classes")),
    "broken list": (H + 'a.jpg,"[1, 2"\n', "line 2: is no JSON", wanted("classes")),
    "no number": (H + "a.jpg,x\n", "line 2: 'x' is no finite number", wanted("numbers")),
    "decimal comma": (H + 'a.jpg,"1,5"\n', "line 2: '1,5' is no finite number", wanted("numbers")),
    "underscore": (H + "a.jpg,1_0\n", "line 2: '1_0' is no finite number", wanted("numbers")),
    "nan": (H + "a.jpg,nan\n", "line 2: 'nan' is no finite number", wanted("numbers")),
    "beyond float64": (H + "a.jpg,1e999\n", "line 2: '1e999' is no finite number", wanted("numbers")),
    "other count": (H + "a.jpg,1;2\nb.jpg,1\n", "line 3: 1 numbers, the first image has 2", wanted("numbers")),
    "no numbers": (H + "a.jpg,\n", "line 2: 0 numbers", wanted("numbers")),
    "two columns for a class": ("path,x,y\na.jpg,1,2\n", "2 columns for one label", reads(["x", "y"])),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_wrong_is_told_with_file_line_and_fix(tmp_path: Path, kind: str) -> None:
    content, message, want = BROKEN[kind]
    touch(tmp_path, "a.jpg", "b.jpg", "in/c.jpg")
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, content, want)
    assert str(tmp_path / "labels.csv") in caught.value.found and caught.value.fix


@pytest.mark.parametrize(
    ("lines", "message", "form"),
    [
        ('{"path": "a.jpg", "label": 1}\n{"path": "b.jpg"}\n', "line 2: has no label", "class"),
        ('{"path": "a.jpg", "label": null}\n', "line 1: has no label", "class"),
        ('{"label": 1, "path": "a.jpg"}\n{"label": 1}\n', r"line 2: names no image \(None\)", "class"),
        ('{"path": "a.jpg", "label": true}\n', "line 1: True is no label", "class"),
        ('{"path": "a.jpg", "label": 1.0}\n', "line 1: 1.0 is no label", "class"),
        ('{"path": "a.jpg", "label": NaN}\n', "line 1: is no JSON", "numbers"),
        ('{"path": "a.jpg", "label": true}\n', "line 1: True is no finite", "numbers"),
        ('{"path": "a.jpg", "label": ' + "9" * 400 + "}\n", "is no finite number", "numbers"),
        ('{"path": "a.jpg", "label": 7}\n', "line 1: 7 is no text", "text"),
        ('{"path": "a.jpg", "label": "\\ud800"}\n', "line 1: .* holds half a character", "text"),
        ('{"path": ["a.jpg"], "label": 7}\n', "line 1: names no image", "class"),
        ('["a.jpg", 1]\n', "line 1: .* is no object", "class"),
        ("[" * 100_000 + "\n", "line 1: is no JSON: nested too deeply", "class"),
        ('{"path": "a.jpg", "label": 1\n', "line 1: is no JSON", "class"),
    ],
)
def test_json_lines_that_are_wrong(tmp_path: Path, lines: str, message: str, form: LabelForm) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=message):
        opened(tmp_path, lines, wanted(form), "labels.jsonl")


def _two_tables(folder: Path) -> None:
    (folder / "labels.csv").write_text(H)
    (folder / "val.tsv").write_text(H)


def _two_images(folder: Path) -> None:
    touch(folder, "images/a.jpg")
    (folder / "labels.csv").write_text(H + "a.jpg,1\n")


def _two_suffixes(folder: Path) -> None:
    touch(folder, "a.png")
    (folder / "labels.csv").write_text(H + "a,1\n")


def _other_encoding(folder: Path) -> None:
    (folder / "labels.csv").write_bytes((H + "a.jpg,1\n").encode("utf-16"))


PLACES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no table": (lambda folder: None, "holds no labels or val with one of the suffixes .csv"),
    "two tables": (_two_tables, "holds labels.csv, val.tsv"),
    "an image in both places": (_two_images, "line 2: 'a.jpg' may be a.jpg, images/a.jpg"),
    "a stem of two images": (_two_suffixes, "line 2: 'a' may be a.jpg, a.png"),
    "a pipe": (lambda folder: os.mkfifo(folder / "labels.csv"), "labels.csv: is a named pipe"),
    "UTF-16": (_other_encoding, "labels.csv: byte 0 is no utf-8"),
}


@pytest.mark.parametrize("kind", PLACES)
def test_folders_that_are_wrong(tmp_path: Path, kind: str) -> None:
    build, message = PLACES[kind]
    touch(tmp_path, "a.jpg")
    build(tmp_path)
    with pytest.raises(DataError, match=message):
        LabelTable().open(tmp_path, wanted(), "val")


def test_a_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.jpg")
    monkeypatch.setattr(table_rows, "MAX_TABLE_BYTES", 4)
    with pytest.raises(DataError, match="more than the 4"):
        opened(tmp_path, H + "a.jpg,1\n")


def test_a_recipe_names_columns_and_classes(tmp_path: Path, tiny_path: Path) -> None:
    text = tiny_path.read_text(encoding="utf-8")
    plain = parse_recipe(text, "x.toml")
    names = json.dumps([f"c{label}" for label in range(10)])
    table = '[dataset]\ncolumns = { path = "where" }\nclass_map = { none = 7, last = "c9" }\n' + f"names = {names}\n"
    recipe = parse_recipe(text.replace("[dataset]\n", table), "x.toml")
    touch(tmp_path, "im/a.jpg", "im/b.jpg", "im/c.jpg")
    (tmp_path / "found.tsv").write_text("where\tlabel\na\tC3\nb\tlast\nc\tnone\n")
    found = open_labelled(recipe, tmp_path / "im", tmp_path / "found.tsv")
    assert [sample.target for sample in found] == [3, 9, 7]
    # What a recipe does not tell is not in its digest.
    assert not {"columns", "class_map", "names"} & plain.to_json()["dataset"].keys()
    kind = parse_recipe(text.replace('kind = "imagenet"', 'kind = "table"'), "x.toml")
    (tmp_path / "labels.csv").write_text("file,label\nim/a,1\nim/b,2\n")
    assert len(open_dataset(kind, tmp_path)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('names = ["a", "b"]', "names has 2 names for 10 labels"),
        (f"names = {json.dumps(['a'] * 10)}", "two classes are named 'a'"),
        ("class_map = { a = 10 }", "'a' is mapped to 10; labels are 0 to 9"),
        ("class_map = { a = -1 }", "'a' is mapped to -1"),
        ('class_map = { a = "b" }', "'a' is mapped to 'b', which is not among names"),
        ("columns = { label = [] }", "columns.label"),
        ('columns = { paht = "x" }', "paht"),
    ],
)
def test_names_and_maps_that_are_wrong(tiny_path: Path, line: str, message: str) -> None:
    text = tiny_path.read_text(encoding="utf-8").replace("[dataset]\n", f"[dataset]\n{line}\n")
    with pytest.raises(RecipeError, match=message):
        parse_recipe(text, "x.toml")


def test_the_examples_of_the_page_are_read(tmp_path: Path, tiny_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    section = page.partition("## `table`")[2].partition("\n## ")[0]
    _, content, told = (block.strip("\n") for block in section.split("```")[1::2])
    (tmp_path / "labels.csv").write_text(content)
    touch(tmp_path, "images/cats/0001.jpg", "dogs/my dog.jpg")
    names = json.dumps(["tabby", "poodle, toy", *(f"c{label}" for label in range(8))])
    text = tiny_path.read_text(encoding="utf-8").replace('kind = "imagenet"', f'kind = "table"\nnames = {names}')
    recipe = parse_recipe(text.replace("[dataset]", told), "x.toml")
    assert targets(open_dataset(recipe, tmp_path)) == {"cats/0001": 0, "dogs/my dog": 1}  # type: ignore[arg-type]
    # The other example stands in the section of names.
    example = page.partition("## Names of classes")[2].split("```")[1]
    small = text.replace("classes = 10", "classes = 3").replace('"batch", 10]', '"batch", 3]')
    small = small.replace(f"names = {names}\n", "")
    assert parse_recipe(small.replace("[dataset]", example), "x.toml").dataset.class_map == {
        "tench": 0,
        "Carassius auratus": "goldfish",
    }


def test_a_form_that_none_can_tell_is_refused() -> None:
    with pytest.raises(UsageError, match="labels of the form mask"):
        LabelValues(wanted("mask"))
