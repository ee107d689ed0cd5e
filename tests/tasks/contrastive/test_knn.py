"""The weighted vote equals its definition in plain loops, whatever the blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.tasks.contrastive import knn
from modelport.tasks.contrastive.knn import knn_top1


def rows(*values: Sequence[float]) -> Array:
    return np.array(values, np.float32)


def in_loops(bank: Array, labels: Array, query: Array, k: int, temperature: float) -> int:
    cosines = [float(row @ query / np.linalg.norm(row) / np.linalg.norm(query)) for row in bank.astype(np.float64)]
    nearest = sorted(range(len(bank)), key=lambda place: (-cosines[place], place))[:k]
    votes: dict[int, float] = {}
    for place in nearest:
        votes[int(labels[place])] = votes.get(int(labels[place]), 0.0) + math.exp(cosines[place] / temperature)
    return min(votes, key=lambda label: (-votes[label], label))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_it_is_what_the_definition_says(m: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank, queries = rng.normal(size=(m, 5)).astype(np.float32), rng.normal(size=(n, 5)).astype(np.float32)
    labels, asked = rng.integers(0, 3, m), rng.integers(0, 3, n)
    right = sum(in_loops(bank, labels, query, k, 0.1) == label for query, label in zip(queries, asked, strict=True))
    score = knn_top1(bank, labels, queries, asked, k=k, temperature=0.1)
    assert score.value == pytest.approx(100 * right / n)
    assert (score.n, score.unit) == (n, "percent")


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(size=(90, 8)), rng.normal(size=(70, 8))
    labels, asked = rng.integers(0, 10, 90), rng.integers(0, 10, 70)
    whole = knn_top1(bank, labels, queries, asked, k=7)
    for block in (1, 90, 200, 90 * 69):
        monkeypatch.setattr(knn, "BLOCK", block)
        assert knn_top1(bank, labels, queries, asked, k=7) == whole


def test_the_first_of_equally_near_rows_count_and_the_lowest_label_wins() -> None:
    bank = rows(*[[1, 2, 2]] * 6)
    query = rows([1, 2, 2])
    assert knn_top1(bank, np.array([3, 1, 1, 2, 2, 2]), query, np.array([1]), k=3).value == 100.0
    assert knn_top1(bank, np.array([3, 1, 1, 2, 2, 2]), query, np.array([3]), k=1).value == 100.0
    assert knn_top1(bank, np.array([3, 1, 2, 2, 1, 3]), query, np.array([1]), k=6).value == 100.0
    # One row is nearer, so that of the equally near ones one is left to count, not two.
    mixed, ask = rows([1, 1], [1, 1], [1, 1], [1, 0]), rows([1, 0])
    assert knn_top1(mixed, np.array([3, 3, 3, 2]), ask, np.array([2]), k=2, temperature=100.0).value == 100.0


def test_near_votes_weigh_more() -> None:
    bank, labels = rows([1, 0], [0, 1], [0, 1]), np.array([0, 1, 1])
    query = rows([1, 0.2])
    assert knn_top1(bank, labels, query, np.array([0]), temperature=0.07).value == 100.0
    assert knn_top1(bank, labels, query, np.array([1]), temperature=100.0).value == 100.0


def test_many_classes_far_away_do_not_overflow() -> None:
    bank = np.eye(4, dtype=np.float32)
    assert knn_top1(bank, np.arange(4), bank, np.arange(4), temperature=0.001).value == 100.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_rows_without_direction_are_wrong_and_nobodys_neighbour(bad: float) -> None:
    bank, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 2])
    queries = bank.copy()
    queries[0] = bad
    assert knn_top1(bank, labels, queries, labels).value == pytest.approx(200 / 3)
    spoilt = np.concatenate([np.full((5, 3), bad, np.float32), bank])
    assert knn_top1(spoilt, np.array([1] * 5 + [0, 1, 2]), bank, labels, k=8).value == 100.0
    assert knn_top1(spoilt[:5], np.array([0] * 5), bank, np.array([0] * 3)).value == 0.0


def test_labels_that_the_bank_lacks_are_wrong() -> None:
    bank = np.eye(2, dtype=np.float32)
    assert knn_top1(bank, np.array([0, 1]), bank, np.array([0, 7])).value == 50.0


def test_nothing_is_never_zero() -> None:
    some, none = np.eye(2, dtype=np.float32), np.zeros((0, 2), np.float32)
    with pytest.raises(DataError, match="no sample"):
        knn_top1(none, np.arange(0), some, np.arange(2))
    with pytest.raises(DataError, match="no sample"):
        knn_top1(some, np.arange(2), none, np.arange(0))
