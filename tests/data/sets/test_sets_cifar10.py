"""CIFAR-10's files are read in every layout people have them in, and nothing in them is ever run."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.core.errors import DataError
from modelport.data.drawn.cifar10 import _pickle
from modelport.data.sets import cifar_pickle
from modelport.data.sets.base import Wanted
from modelport.data.sets.cifar10 import Cifar10Kind, open_cifar10
from modelport.data.sets.cifar_pickle import load_cifar_pickle


def content(count: int = 4, seed: int = 0, **changes: Any) -> bytes:
    """Return a batch as Python 3 writes it at protocol 2."""
    rng = np.random.default_rng(seed)
    value: dict[Any, Any] = {
        b"batch_label": b"testing batch 1 of 1",
        b"labels": [index % 10 for index in range(count)],
        b"data": rng.integers(0, 256, (count, 3072), np.uint8),
    }
    value |= {key.encode(): item for key, item in changes.items()}
    return pickle.dumps({key: item for key, item in value.items() if item is not None}, protocol=2)


def fill(folder: Path, training: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Path:
    folder.mkdir(parents=True)
    (folder / "test_batch").write_bytes(content())
    for number in training:
        (folder / f"data_batch_{number}").write_bytes(content(3, seed=number))
    names = [b"airplane", b"automobile"]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return folder


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as stream:
        stream.add(folder, "cifar-10-batches-py")
    return archive


def as_folder(tmp: Path) -> Path:
    return fill(tmp / "set" / "cifar-10-batches-py").parent


def as_guide(tmp: Path) -> Path:
    return fill(tmp / "set" / "cifar-10-batch-py").parent


def as_itself(tmp: Path) -> Path:
    return fill(tmp / "anything")


def as_archive(tmp: Path) -> Path:
    return pack(fill(tmp / "anything"), tmp / "cifar-10-python.tar.gz")


def as_folder_of_archive(tmp: Path) -> Path:
    return as_archive(tmp).parent


LAYOUTS = [as_folder, as_guide, as_itself, as_archive, as_folder_of_archive]


@pytest.mark.parametrize("make", LAYOUTS)
def test_every_layout_gives_the_same_samples(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    place = make(tmp_path)
    val, train = open_cifar10(place), open_cifar10(place, split="train")
    want = pickle.loads(content())  # noqa: S301 (written above)
    assert [sample.id for sample in val] == [f"test_batch/{row:05d}" for row in range(4)]
    assert [sample.read() for sample in val] == [row.tobytes() for row in want[b"data"]]
    assert [sample.target for sample in val] == [0, 1, 2, 3]
    assert len(train) == 15
    assert train[7].id == "data_batch_3/00001"
    assert train[-1].id == "data_batch_5/00002"
    assert train[3:5] == (train[3], train[4])
    assert train[7].content == pickle.loads(content(3, seed=3))[b"data"][1].tobytes()  # noqa: S301
    assert val.label_names == ("airplane", "automobile")
    assert val.notes == train.notes == ()
    with pytest.raises(IndexError):
        train[15]


def test_the_guides_script_gives_the_batch_itself(tmp_path: Path) -> None:
    place = fill(tmp_path / "cifar-10-batches-py") / "test_batch"
    assert [sample.path for sample in open_cifar10(place)] == [place] * 4
    with pytest.raises(DataError, match="training split"):
        open_cifar10(place, split="train")


def test_missing_batches_are_noted(tmp_path: Path) -> None:
    train = open_cifar10(fill(tmp_path / "set", training=(2, 4)), split="train")
    assert [sample.id for sample in train][2:4] == ["data_batch_2/00002", "data_batch_4/00000"]
    assert "data_batch_1, data_batch_3, data_batch_5" in train.notes[0]


@pytest.mark.parametrize(
    ("prepare", "split", "found"),
    [
        (lambda tmp: tmp / "nothing", "val", "does not exist"),
        (lambda tmp: tmp, "val", "holds no cifar-10-batches-py"),
        (lambda tmp: fill(tmp / "set", training=()), "train", "holds no data_batch_1"),
        (lambda tmp: [as_folder(tmp), as_guide(tmp)][0], "val", "holds both"),
        (lambda tmp: fill(tmp / "set") / "batches.meta", "val", "no archive and no test_batch"),
    ],
)
def test_what_is_no_set_is_refused(tmp_path: Path, prepare: Callable[[Path], Path], split: Any, found: str) -> None:
    with pytest.raises(DataError, match=f"{found}.*\n  fix: "):
        open_cifar10(prepare(tmp_path), split=split)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"labels": [0, 1, 2]}, "4 images and 3 labels"),
        ({"labels": [0, 1, 2, 10]}, "label 10 of image 3"),
        ({"labels": [0, -1, 2, 3]}, "label -1 of image 1"),
        ({"labels": [0, True, 2, 3]}, "label True of image 1"),
        ({"labels": b"abcd"}, "bytes as labels"),
        ({"labels": None}, "has no 'labels'"),
        ({"data": None}, "has no 'data'"),
        ({"data": np.zeros((4, 3071), np.uint8)}, "data is 4x3071"),
        ({"data": np.zeros(4 * 3072, np.uint8)}, "data is 12288"),
        ({"data": b"x" * 12288}, "data is bytes"),
        ({"data": np.zeros((4, 3072), np.int8)}, "dtype 'i1'"),
        ({"data": np.zeros((4, 3072), np.float32)}, "dtype 'f4'"),
        ({"data": np.full((4, 3072), None)}, "dtype 'O8'"),
    ],
)
def test_a_batch_unlike_the_published_is_refused(tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    place = tmp_path / "test_batch"
    place.write_bytes(content(**changes))
    with pytest.raises(DataError, match=f"test_batch: .*{found}.*\n  fix: "):
        open_cifar10(place)


def test_a_batch_without_images_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "test_batch"
    place.write_bytes(_pickle({b"labels": [], b"data": np.zeros((0, 3072), np.uint8)}))
    with pytest.raises(DataError, match="test_batch: holds no images"):
        open_cifar10(place)


def test_both_orders_of_memory_and_both_kinds_of_keys_are_read() -> None:
    rows = np.arange(12, dtype=np.uint8).reshape(3, 4)
    value = {"data": np.asfortranarray(rows), b"other": rows, "labels": [1, 2, 3]}
    read = load_cifar_pickle(pickle.dumps(value, protocol=2), "x")
    np.testing.assert_array_equal(read["data"], rows)
    np.testing.assert_array_equal(read["other"], rows)
    assert read["labels"] == [1, 2, 3]


def test_numpy_1_names_are_read_too() -> None:
    written = content()
    assert b"cnumpy._core.multiarray\n" in written
    old = written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    np.testing.assert_array_equal(load_cifar_pickle(old, "x")["data"], load_cifar_pickle(written, "x")["data"])


class Calls:
    """What a pickle can make Python call."""

    def __init__(self, called: Any, *arguments: Any) -> None:
        self.call = called, arguments

    def __reduce__(self) -> tuple[Any, Any]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_is_called(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    hostile = pickle.dumps({b"data": Calls(Path.touch, Calls(Path, str(mark)))}, protocol=protocol)
    with pytest.raises(DataError, match=r"no file of CIFAR-10: .*\n  fix: "):
        load_cifar_pickle(hostile, "x")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "hostile"),
    [
        ("os.system", b"\x80\x02cos\nsystem\nU\x04true\x85R."),
        ("numpy.load", b"\x80\x02cnumpy\nload\nU\x01x\x85R."),
        ("builtins.eval", b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93."),
        ("numpy.core.multiarray.scalar", b"\x80\x02cnumpy.core.multiarray\nscalar\n."),
    ],
)
def test_a_refusal_names_what_was_asked_for(name: str, hostile: bytes) -> None:
    with pytest.raises(DataError, match=f"file.bin: .*asks for {name}"):
        load_cifar_pickle(hostile, "file.bin")


EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
U1 = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"


@pytest.mark.parametrize(
    "array",
    [
        EMPTY,
        EMPTY + b"(K\x01K\x03\x85" + U1 + b"\x89U\x02abtb",  # says three bytes, has two
        EMPTY + b"(K\x01J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86" + U1 + b"\x89U\x02abtb",  # negative sides
        EMPTY + b"(K\x01K\x02\x85" + U1 + b"\x89](K\x01K\x02etb",  # a list for bytes, as object arrays have
        EMPTY + b"(K\x01K\x02\x85N\x89U\x02abtb",  # no dtype
        EMPTY + b"(K\x01K\x02\x85" + U1 + b"}b\x89U\x02abtb",  # a dtype with a state of its own
        EMPTY + b"(K\x01K\x02\x85cnumpy\ndtype\nU\x01OK\x00K\x01\x87R\x89U\x02abtb",
        EMPTY + 2 * (b"(K\x01K\x02\x85" + U1 + b"\x89U\x02abtb"),  # filled twice
        EMPTY + b"}U\x01aK\x01sb",  # attributes
        b"cnumpy\nndarray\n)R",
        b"cnumpy\nndarray\nN}U\x01aK\x01s\x86b",
        b"cnumpy.core.multiarray\n_reconstruct\nN}U\x0c__defaults__)s\x86b",  # attributes of our own objects
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85U\x01b\x87R",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x04\x00\x00\x00zlib\x86R",
        b"c_codecs\nencode\n}U\x08__call__K\x01sb",
    ],
)
def test_hostile_arrays_are_refused(array: bytes) -> None:
    with pytest.raises(DataError, match=r"no file of CIFAR-10|damaged"):
        load_cifar_pickle(b"\x80\x02}U\x04data" + array + b"s.", "x")
    # What it did to the stand-ins is gone with it.
    assert load_cifar_pickle(content(), "x")["labels"] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\x80\x02",
        b"\x80\x02].",
        b"\x80\x02}",
        b"hello",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x02T\xff\xff\xff\x7f.",
    ],
)
def test_damage_is_an_error_of_the_data(hostile: bytes) -> None:
    with pytest.raises(DataError, match=r"x: .*\n  fix: "):
        load_cifar_pickle(hostile, "x")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_gets_past_as_another_error(data: st.DataObject) -> None:
    whole = bytearray(content(1))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        load_cifar_pickle(bytes(whole[: data.draw(st.integers(0, len(whole)))]), "x")


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "test_batch"
    place.write_bytes(content())
    monkeypatch.setattr("modelport.data.sets.cifar10.MAX_BYTES", 1000)
    with pytest.raises(DataError, match="more than the 1000"):
        open_cifar10(place)
    monkeypatch.setattr(cifar_pickle, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match="too many for a batch"):
        load_cifar_pickle(content(), "x")


def archive(place: Path, *members: tuple[str, bytes | str]) -> Path:
    """Write an archive; a member's text is where it links to."""
    with tarfile.open(place, "w:gz") as stream:
        for name, held in members:
            member = tarfile.TarInfo(name)
            if isinstance(held, str):
                member.type, member.linkname = tarfile.SYMTYPE, held
                stream.addfile(member)
            else:
                member.size = len(held)
                stream.addfile(member, io.BytesIO(held))
    return place


def test_an_archive_is_read_by_name_only(tmp_path: Path) -> None:
    place = archive(
        tmp_path / "a.tar.gz",
        ("../../outside", b"x"),
        ("elsewhere/test_batch", b"x"),
        ("cifar-10-batches-py/../test_batch", b"x"),
        ("/cifar-10-batches-py/test_batch", b"x"),
        ("./cifar-10-batches-py/test_batch", content()),
    )
    assert len(open_cifar10(place)) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_links_twins_and_damage_in_an_archive_are_refused(tmp_path: Path) -> None:
    name = "cifar-10-batches-py/test_batch"
    with pytest.raises(DataError, match="is a link"):
        open_cifar10(archive(tmp_path / "link.tar.gz", (name, "/etc/passwd")))
    with pytest.raises(DataError, match="there twice"):
        open_cifar10(archive(tmp_path / "twice.tar.gz", (name, content()), (name, content())))
    whole = archive(tmp_path / "whole.tar.gz", (name, content()))
    for number, cut in enumerate((0, 5, 100, len(whole.read_bytes()) // 2)):
        place = tmp_path / f"cut{number}.tar.gz"
        place.write_bytes(whole.read_bytes()[:cut])
        with pytest.raises(DataError, match=f"cut{number}.*\n  fix: "):
            open_cifar10(place)
    noise = tmp_path / "noise.tar.gz"
    noise.write_bytes(b"noise" * 1000)
    with pytest.raises(DataError, match="damaged archive"):
        open_cifar10(noise)
    with pytest.raises(DataError, match="holds no test_batch"):
        open_cifar10(archive(tmp_path / "empty.tar.gz", ("readme.html", b"x")))


DOUBLED = b")" + b"q\x00h\x00\x86" * 60  # t = (t, t), sixty deep


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"}" + DOUBLED + b"K\x01s", "a key that is a tuple"),
        (b"}U\x04data" + DOUBLED + b"s", "over and over"),
        (b"}(\x8a\x09" + (2**62).to_bytes(9, "little") + b"K\x01u", "huge integer"),
    ],
)
def test_what_would_be_hashed_or_shown_for_ever_is_refused(body: bytes, found: str) -> None:
    with pytest.raises(DataError, match=f"x: .*{found}"):
        load_cifar_pickle(b"\x80\x02" + body + b".", "x")


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    (folder / "test_batch").unlink()
    os.mkfifo(folder / "test_batch")
    with pytest.raises(DataError, match="a named pipe"):
        open_cifar10(folder)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
def test_an_archive_is_unpacked_as_far_as_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any) -> None:
    place = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(place, mode) as stream:
        stream.add(fill(tmp_path / "anything"), "cifar-10-batches-py")
    assert len(open_cifar10(place)) == 4
    monkeypatch.setattr("modelport.data.sets.cifar10.MAX_UNPACKED", 20_000)
    with pytest.raises(DataError, match="unpacks to more than 20000"):
        open_cifar10(place)


def test_the_sets_names_are_the_classes_and_held_against_the_recipes(tmp_path: Path) -> None:
    place = fill(tmp_path / "cifar")
    found = Cifar10Kind().open(place, Wanted("class", 10), "val")
    assert found.categories == ((0, "airplane"), (1, "automobile")) and not found.notes
    names = ("airplane", "truck", *map(str, range(8)))
    found = Cifar10Kind().open(place, Wanted("class", 10, names), "val")
    assert "label 1 is automobile, in the recipe truck" in found.notes[0]
    with pytest.raises(DataError, match="label 0 is airplane, in the recipe automobile: the same names"):
        Cifar10Kind().open(place, Wanted("class", 10, ("automobile", "airplane")), "val")
