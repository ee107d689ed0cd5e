"""Images and labels in arrays: rows as they were saved, and one message for each thing that is wrong."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.errors import DataError, UsageError
from modelport.core.values import Array, LabelForm
from modelport.data.files import array_files
from modelport.data.prepare.decoding import read_array
from modelport.data.sets.array_labels import labels_of_array
from modelport.data.sets.arrays import ArrayRows, Arrays
from modelport.data.sets.base import Wanted
from modelport.data.sets.table import open_dataset, open_labelled
from modelport.recipes.load import parse_recipe

PIXELS = np.random.default_rng(4).integers(0, 256, (4, 6, 5, 3), np.uint8)
LABELS = np.array([3, 0, 1, 3])


def wanted(form: LabelForm = "class", classes: int | None = 4, **more: Any) -> Wanted:
    return Wanted(form, classes, **more)


def opened(folder: Path, images: Array = PIXELS, labels: Array = LABELS, want: Wanted | None = None) -> ArrayRows:
    np.savez(folder / "val.npz", images=images, labels=labels)
    return Arrays().open(folder, want or wanted(), "val")


def targets(found: ArrayRows) -> list[Any]:
    return [sample.target for sample in found]


def _files(folder: Path) -> ArrayRows:
    np.save(folder / "images.npy", PIXELS)
    np.save(folder / "labels.npy", LABELS)
    return Arrays().open(folder, wanted(), "val")


def _labelled(folder: Path) -> ArrayRows:
    np.save(folder / "x.npy", np.asfortranarray(PIXELS))
    np.save(folder / "y.npy", LABELS[:, None].astype(np.uint8))
    return Arrays().open_labelled(folder / "x.npy", folder / "y.npy", wanted())


def _keras(folder: Path) -> ArrayRows:
    np.savez_compressed(folder / "set.npz", x_train=PIXELS[:1], y_train=LABELS[:1], x_test=PIXELS, y_test=LABELS)
    assert len(Arrays().open(folder / "set.npz", wanted(), "train")) == 1
    return Arrays().open(folder / "set.npz", wanted(), "val")


def _named(folder: Path) -> ArrayRows:
    want = wanted(names=("cat", "dog", "cow", "hen"))
    return opened(folder, labels=np.array(["hen", "cat", "Dog", "hen"]), want=want)


@pytest.mark.parametrize("build", [opened, _files, _labelled, _keras, _named])
def test_rows_are_what_decode_array_reads(tmp_path: Path, build: Callable[[Path], ArrayRows]) -> None:
    found = build(tmp_path)
    assert targets(found) == [3, 0, 1, 3]
    assert [sample.id for sample in found[1:3]] == ["00001", "00002"] and found[1:][-1].id == "00003"
    for place, sample in enumerate(found):
        assert np.array_equal(read_array(sample.read(), 3, sample.id), PIXELS[place])


def test_sets_of_classes_and_numbers(tmp_path: Path) -> None:
    hot = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]])
    for dtype in (np.int64, np.bool_, np.float32):
        found = opened(tmp_path, labels=hot.astype(dtype), want=wanted("classes"))
        assert targets(found) == [(0, 3), (), (1,), (0, 1, 2, 3)]
        assert any("1 of 4 images have no class" in note for note in found.notes)
    found = opened(tmp_path, labels=np.array([1, 2.5, 3, 4]), want=wanted("numbers", None))
    assert targets(found) == [(1.0,), (2.5,), (3.0,), (4.0,)]
    found = opened(tmp_path, labels=np.ones((4, 2), np.float16), want=wanted("numbers", None))
    assert targets(found) == [(1.0, 1.0)] * 4 and "all 4 images have the label (1.0, 1.0)" in found.notes[0]


def test_identities_are_numbered_as_they_come(tmp_path: Path) -> None:
    want = wanted("identity", None)
    assert targets(opened(tmp_path, labels=np.array(["ann", "bo", "ann", "cy"]), want=want)) == [0, 1, 0, 2]
    assert targets(opened(tmp_path, labels=np.array([907, 3, 3, 907]), want=want)) == [0, 1, 1, 0]


def test_all_labels_the_same_is_said(tmp_path: Path) -> None:
    assert any("all 4 images have the label 2" in note for note in opened(tmp_path, labels=LABELS * 0 + 2).notes)


NAN = np.array([[0.0, 1.0], [np.nan, 1.0], [1.0, 1.0], [1.0, 1.0]])
WRONG: dict[str, tuple[Array, Array, Wanted, str]] = {
    "fewer labels": (PIXELS, LABELS[:3], wanted(), "labels: 3 labels for the 4 images of .*member images"),
    "no axis": (PIXELS, np.array(3), wanted(), "labels: no rows of labels for the 4 images"),
    "a label outside": (PIXELS, LABELS + 1, wanted(), "labels, row 0: label '4' is not an integer from 0 to 3"),
    "negative": (PIXELS, LABELS - 1, wanted(), "labels, row 1: label '-1' is not"),
    "labels with points": (PIXELS, LABELS * 1.0, wanted(), r"labels: labels are float64 \(4,\); one class"),
    "truth values": (PIXELS, LABELS > 1, wanted(), "labels: labels are bool"),
    "hot labels for a class": (PIXELS, np.eye(4, dtype=int), wanted(), r"labels are int64 \(4, 4\); one class"),
    "unknown name": (PIXELS, np.array(list("abcd")), wanted(names=tuple("abce")), "row 3: no class is named 'd'"),
    "numbers for a set": (PIXELS, LABELS, wanted("classes"), r"labels are int64 \(4,\), sets of classes are \(N, 4\)"),
    "a two in a set": (PIXELS, np.eye(4) * 2, wanted("classes"), "row 0: class 0 is 2.0, neither 0 nor 1"),
    "other width": (PIXELS, np.eye(4)[:, :3], wanted("classes"), r"sets of classes are \(N, 4\)"),
    "NaN in a set": (PIXELS, np.full((4, 4), np.nan), wanted("classes"), "row 0: class 0 is nan, neither"),
    "NaN": (PIXELS, NAN, wanted("numbers", None), r"labels, row 1: \[nan, 1.0\] is not finite"),
    "complex": (PIXELS, LABELS * 1j, wanted("numbers", None), "labels are complex128"),
    "three axes": (PIXELS, np.ones((4, 2, 2)), wanted("numbers", None), r"numbers are \(N,\) or \(N, K\)"),
    "normalised": (PIXELS / 255, LABELS, wanted(), "images are float64; the steps of a recipe begin with pixels"),
    "planes": (PIXELS.transpose(0, 3, 1, 2), LABELS, wanted(), r"plane by plane .*\n.*transpose\(0, 2, 3, 1\)"),
    "flat": (PIXELS.reshape(4, -1), LABELS, wanted(), r"images: images are \(4, 90\)"),
    "no images": (PIXELS[:0], LABELS[:0], wanted(), "images: the header tells uint8"),
    "records": (PIXELS, np.zeros(4, "i4,f4"), wanted(), "labels: holds records"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_arrays_that_are_wrong(tmp_path: Path, kind: str) -> None:
    images, labels, want, message = WRONG[kind]
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path, images, labels, want)
    assert f"{tmp_path / 'val.npz'}, member" in caught.value.found and caught.value.fix


def _pickled(folder: Path) -> None:
    np.savez(folder / "val.npz", images=PIXELS, labels=np.array([{}, 1, 2, 3], object), allow_pickle=True)


def _cut(folder: Path) -> None:
    _files(folder)
    content = (folder / "images.npy").read_bytes()
    (folder / "images.npy").write_bytes(content[:-1])


def _lying(folder: Path) -> None:
    """A header that tells a hundred gigabytes."""
    head = io.BytesIO()
    told = {"descr": "|u1", "fortran_order": False, "shape": (10**7, 100, 100, 1)}
    np.lib.format.write_array_header_1_0(head, told)
    (folder / "images.npy").write_bytes(head.getvalue() + bytes(100))
    np.save(folder / "labels.npy", LABELS)


def _no_archive(folder: Path) -> None:
    (folder / "val.npz").write_bytes(b"PK\x03\x04 and no more")


def _other_bytes(folder: Path) -> None:
    with zipfile.ZipFile(folder / "val.npz", "w") as archive:
        archive.writestr("images.npy", b"no array")
        archive.writestr("labels.npy", b"")


def _other_version(folder: Path) -> None:
    _files(folder)
    content = (folder / "labels.npy").read_bytes()
    (folder / "labels.npy").write_bytes(content[:6] + b"\x07\x00" + content[8:])


def _other_names(folder: Path) -> None:
    np.savez(folder / "val.npz", pictures=PIXELS, labels=LABELS)


def _two_names(folder: Path) -> None:
    np.savez(folder / "val.npz", x=PIXELS, images=PIXELS, labels=LABELS)


def _two_layouts(folder: Path) -> None:
    _files(folder)
    np.savez(folder / "val.npz", images=PIXELS, labels=LABELS)


def _damaged(folder: Path) -> None:
    opened(folder)
    content = bytearray((folder / "val.npz").read_bytes())
    content[300] ^= 255
    (folder / "val.npz").write_bytes(content)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (lambda folder: None, "holds no val.npz"),
    "pickled": (_pickled, "val.npz, member labels: holds Python objects"),
    "cut short": (_cut, "images.npy: the header tells uint8"),
    "a header that lies": (_lying, "images.npy: the header tells uint8 .* 100000000000 bytes, and 100 are there"),
    "no archive": (_no_archive, "val.npz: is no NPZ archive"),
    "other bytes": (_other_bytes, "val.npz, member images: cannot be read"),
    "another version": (_other_version, r"labels.npy: is no whole NPY file: NPY version \(7, 0\)"),
    "other names": (_other_names, r"val.npz: holds none of images, x, x_test \(pictures, labels\)"),
    "two names": (_two_names, "val.npz: holds more than one of images, x"),
    "two layouts": (_two_layouts, "holds both val.npz and images.npy"),
    "damaged": (_damaged, "val.npz, member images: cannot be read: Bad CRC-32"),
    "a pipe": (lambda folder: os.mkfifo(folder / "val.npz"), "val.npz: is a named pipe"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_wrong(tmp_path: Path, kind: str) -> None:
    build, message = FILES[kind]
    build(tmp_path)
    with pytest.raises(DataError, match=message):
        Arrays().open(tmp_path, wanted(), "val")


def test_a_member_is_bounded_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_files, "MAX_MEMBER_BYTES", 200)
    with pytest.raises(DataError, match=r"member images: .* more than the 200 that are held in memory"):
        opened(tmp_path)
    monkeypatch.setattr(array_files, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="2 members, more than 1"):
        opened(tmp_path)


def test_a_recipe_that_decodes_arrays(tmp_path: Path, tiny_path: Path) -> None:
    text = tiny_path.read_text(encoding="utf-8").replace('kind = "imagenet"', 'kind = "arrays"')
    recipe = parse_recipe(text, "x.toml")
    opened(tmp_path)
    assert targets(open_dataset(recipe, tmp_path)) == [3, 0, 1, 3]  # type: ignore[arg-type]
    _labelled(tmp_path)
    other = parse_recipe(tiny_path.read_text(encoding="utf-8"), "x.toml")
    assert len(open_labelled(other, tmp_path / "x.npy", tmp_path / "y.npy")) == 4
    with pytest.raises(DataError, match=r"y.npy holds an array of labels, and .* is no .npy file"):
        open_labelled(other, tmp_path, tmp_path / "y.npy")


def test_a_form_that_none_can_tell_is_refused() -> None:
    with pytest.raises(UsageError, match="labels of the form mask"):
        labels_of_array(LABELS, wanted("mask"), "y.npy")
