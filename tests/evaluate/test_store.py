"""The source's answers come back as they were kept, to whoever asks with the same key and to nobody else."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelport.core.errors import DataError, OutputError
from modelport.core.values import RowId
from modelport.evaluate.held_rows import HeldRows, KeptRows
from modelport.evaluate.store import SourceAnswers, split_rows, stack_rows
from modelport.tasks.scoring import Rows


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path))


def test_rows_come_back_to_the_bit_in_a_later_run() -> None:
    outputs = {"y": np.array([[1.5, np.nan, -0.0]], np.float32), "labels": np.array([7])}
    with SourceAnswers("w", "r", 0) as answers:
        answers.put({"digest": split_rows(outputs, 1)[0]})
    with SourceAnswers("w", "r", 0) as answers:
        assert answers.holds("digest") and not answers.holds("other")
        row = answers.get("digest")
        assert answers.get("other") is None
    assert row is not None
    for name, array in stack_rows([row]).items():
        assert array.dtype == outputs[name].dtype
        np.testing.assert_array_equal(array, outputs[name])


@pytest.mark.parametrize("key", [("w2", "r", 0), ("w", "r2", 0), ("w", "r", 1)])
def test_another_model_recipe_or_seed_finds_nothing(key: tuple[str, str, int]) -> None:
    with SourceAnswers("w", "r", 0) as answers:
        answers.put({"digest": {"y": np.zeros(1)}})
    with SourceAnswers(*key) as answers:
        assert not answers.holds("digest")


def _store(tmp_path: Path) -> Path:
    (store,) = (tmp_path / "answers").glob("*.sqlite")
    return store


def _fill(count: int) -> None:
    with SourceAnswers("w", "r", 0) as answers:
        answers.put({str(number): {"y": np.arange(200.0) + number} for number in range(count)})


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE answers SET outputs = zeroblob(length(outputs)) WHERE sample = '1'",
        "UPDATE answers SET outputs = (SELECT outputs FROM answers WHERE sample = '2') WHERE sample = '1'",
        "UPDATE answers SET (outputs, sha256) = (SELECT outputs, sha256 FROM answers WHERE sample = '2') "
        "WHERE sample = '1'",
        "UPDATE answers SET sha256 = NULL WHERE sample = '1'",
    ],
)
def test_a_row_that_is_not_as_it_was_kept_is_a_miss_and_is_replaced(tmp_path: Path, change: str) -> None:
    _fill(3)
    with contextlib.closing(sqlite3.connect(_store(tmp_path))) as connection, connection:
        connection.execute(change)
    with SourceAnswers("w", "r", 0) as answers:
        assert not answers.holds("1") and answers.get("1") is None and answers.holds("0")
        assert "1 kept answers of the source did not verify" in answers.notes[0]
        answers.put({"1": {"y": np.ones(2)}})
        row = answers.get("1")
    assert row is not None
    np.testing.assert_array_equal(row["y"], np.ones(2))


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000, None])
def test_a_damaged_store_is_set_aside_and_begun_anew(tmp_path: Path, content: bytes | None) -> None:
    _fill(3)
    store = _store(tmp_path)
    if content is None:  # another program's table
        store.unlink()
        with contextlib.closing(sqlite3.connect(store)) as connection, connection:
            connection.execute("CREATE TABLE answers (sample TEXT)")
    else:
        store.write_bytes(content)
    with SourceAnswers("w", "r", 0) as answers:
        assert not answers.holds("1")
        answers.put({"1": {"y": np.ones(2)}})
        assert answers.holds("1") and "set aside" in answers.notes[0]
    assert store.with_suffix(".damaged").exists()
    with SourceAnswers("w", "r", 0) as answers:
        assert answers.holds("1") and not answers.notes


def test_bytes_flipped_anywhere_never_give_another_answer_and_never_fail(tmp_path: Path) -> None:
    _fill(40)
    store = _store(tmp_path)
    whole = store.read_bytes()
    rng = np.random.default_rng(0)
    for round_ in range(60):
        damaged = bytearray(whole[: len(whole) // 2] if round_ % 10 == 9 else whole)
        spots = range(round_, 100, 60) if round_ < 40 else rng.integers(0, len(damaged), 30)
        for spot in spots:
            damaged[spot] ^= int(rng.integers(1, 256))
        store.write_bytes(damaged)
        with SourceAnswers("w", "r", 0) as answers:
            for number in range(40):
                row = answers.get(str(number))
                assert row is None or np.array_equal(row["y"], np.arange(200.0) + number)
            answers.put({"0": {"y": np.ones(2)}})
            row = answers.get("0")
            assert row is not None and np.array_equal(row["y"], np.ones(2))


def test_a_place_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with SourceAnswers("w", "r", 0):
        pass
    store = _store(tmp_path)
    store.unlink()
    store.mkdir()
    with pytest.raises(OutputError, match=store.name):
        SourceAnswers("w", "r", 0)


def _pieces() -> Iterator[Rows]:
    """Two pieces of detections: outputs of two dtypes, one of them empty, and all that goes with them."""
    for first, count in ((0, 3), (3, 1)):
        ids = [RowId(f"image {number}", number % 2) for number in range(first, first + count)]
        outputs = {
            "boxes": np.random.default_rng(first).standard_normal((count, 5, 4)),
            "none": np.zeros((count, 0), "i8"),
        }
        yield Rows(
            ids,
            [object() for _ in ids],
            outputs,
            None,
            [("placed", row) for row in ids],
            [str(row)[::-1] for row in ids],
        )


def test_kept_rows_are_the_rows_that_were_held(tmp_path: Path) -> None:
    held, kept, pieces = HeldRows(), KeptRows(tmp_path / "new" / "run"), list(_pieces())
    assert list(held.take(pieces)) == pieces == list(kept.take(pieces))
    for _ in range(2):  # as often as one likes
        for got, want in zip(kept, held, strict=True):
            assert (got.ids, got.targets, got.placements, got.digests) == (
                want.ids,
                want.targets,
                want.placements,
                want.digests,
            )
            for name, array in want.outputs.items():
                assert got.outputs[name].dtype == array.dtype
                np.testing.assert_array_equal(got.outputs[name], array)
    with held.finding() as ours, kept.finding() as theirs:
        for find in (ours, theirs):
            found = find(RowId("image 2", 0), "0#2 egami")
            assert found is not None
            np.testing.assert_array_equal(found["boxes"], pieces[0].outputs["boxes"][2])
            # Another view of it, or other content under its name, was not answered.
            assert find(RowId("image 2", 1), "0#2 egami") is None and find(RowId("image 2", 0), "other") is None


@pytest.mark.parametrize(
    "change", ["DELETE FROM answers WHERE sample LIKE '%image 3%'", "UPDATE answers SET outputs = zeroblob(9)"]
)
def test_rows_that_were_changed_are_not_judged(change: str, tmp_path: Path) -> None:
    kept = KeptRows(tmp_path)
    list(kept.take(_pieces()))
    with contextlib.closing(sqlite3.connect(tmp_path / KeptRows.NAME)) as store, store:
        store.execute(change)
    with pytest.raises(DataError, match=r"answers.sqlite: kept answers are missing or damaged\n  fix: answer again"):
        list(kept)


def test_a_folder_keeps_the_answers_of_one_run(tmp_path: Path) -> None:
    list(KeptRows(tmp_path).take(_pieces()))
    with pytest.raises(OutputError, match=r"answers.sqlite: answers are kept there already\n  fix: name another"):
        KeptRows(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is a file, not a folder"):
        KeptRows(tmp_path / "file")
