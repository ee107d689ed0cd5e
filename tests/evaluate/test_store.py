"""The source's answers come back as they were kept, to whoever asks with the same key and to nobody else."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from modelport.core.errors import OutputError
from modelport.evaluate.store import SourceAnswers, split_rows, stack_rows


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
