"""The source's answers come back as they were kept, to whoever asks with the same key and to nobody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.core.errors import OutputError
from modelport.jobs.answers import SourceAnswers, split_rows, stack_rows


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


def test_a_damaged_store_is_named(tmp_path: Path) -> None:
    with SourceAnswers("w", "r", 0):
        pass
    (store,) = (tmp_path / "answers").glob("*.sqlite")
    store.write_bytes(b"no database at all" * 100)
    with pytest.raises(OutputError, match=store.name):
        SourceAnswers("w", "r", 0)
