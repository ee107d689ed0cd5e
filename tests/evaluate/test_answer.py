"""Small batches are joined before they are scored, and nothing is lost, doubled or kept waiting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.core.values import Array, Batch, RowId
from modelport.evaluate import answer as scoring_pass
from modelport.evaluate.answer import SCORED_TOGETHER, _together


def _answers(sizes: list[int]) -> Iterator[tuple[Batch, dict[str, Array]]]:
    first = 0
    for size in sizes:
        numbers = range(first, first + size)
        ids = tuple(RowId(str(number)) for number in numbers)
        inputs = {"x": np.zeros((size, 9), np.float32)}
        yield Batch(ids, inputs, tuple(numbers), ids, ids), {"y": np.array(numbers, np.float32)[:, None]}
        first += size


@given(st.lists(st.integers(1, 70), max_size=40))
def test_rows_keep_their_order_and_their_company(sizes: list[int]) -> None:
    joined = list(_together(_answers(sizes)))
    wanted = list(map(str, range(sum(sizes))))
    for name in ("ids", "digests", "placements"):
        assert [value for batch, _ in joined for value in getattr(batch, name)] == wanted
    assert [int(value) for _, outputs in joined for value in outputs["y"][:, 0]] == list(range(sum(sizes)))
    assert all(len(batch.ids) == len(outputs["y"]) == len(batch.targets) for batch, outputs in joined)
    assert all(not batch.inputs for batch, _ in joined)


def test_small_batches_wait_for_each_other_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_pass, "PATIENCE", float("inf"))
    assert [len(batch.ids) for batch, _ in _together(_answers([4] * 20))] == [SCORED_TOGETHER] * 2 + [16]
    monkeypatch.setattr(scoring_pass, "LARGE_OUTPUTS", 8 * 4)
    assert [len(batch.ids) for batch, _ in _together(_answers([4] * 20))] == [8] * 10
    monkeypatch.setattr(scoring_pass, "PATIENCE", 0.0)
    assert [len(batch.ids) for batch, _ in _together(_answers([4] * 20))] == [4] * 20
