"""Ranks count every other class that scores at least as high; batches and merges change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.core.errors import DataError
from modelport.tasks.classification.topk import TopK, best, target_ranks

GOLDEN = Path(__file__).parents[2] / "golden"


def test_equals_the_reference_figures() -> None:
    arrays = np.load(GOLDEN / "topk.npz")
    metric = TopK("logits")
    metric.update({"logits": arrays["logits"]}, arrays["labels"].tolist())
    want = json.loads((GOLDEN / "metrics.json").read_text())["topk_1000"]
    assert {name: score.value for name, score in metric.compute().items()} == {
        name.lower(): pytest.approx(value, abs=1e-12) for name, value in want.items()
    }


@given(
    st.lists(
        st.lists(st.sampled_from([-1.0, 0.0, 0.5, np.inf, -np.inf]), min_size=4, max_size=4), min_size=1, max_size=9
    ),
    st.data(),
)
def test_rank_is_the_number_of_other_classes_at_least_as_high(rows: list[list[float]], data: st.DataObject) -> None:
    targets = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    ranks = target_ranks(np.array(rows, np.float32), np.array(targets))
    for row, target, rank in zip(rows, targets, ranks, strict=True):
        assert rank == sum(value >= row[target] for index, value in enumerate(row) if index != target)


@pytest.mark.parametrize("row", [[np.nan] * 4, [9.0, 0.0, np.nan, 0.0]])
def test_a_row_with_a_nan_is_wrong_at_every_k(row: list[float]) -> None:
    assert target_ranks(np.array([row]), np.array([0])) == [4]
    metric = TopK("out", k=4)
    metric.update({"out": np.array([row], np.float32)}, [0])
    assert [score.value for score in metric.compute().values()] == [0.0] * 4


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_batches_equal_one_long_update(n: int, cut: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(n, 6)).astype(np.float32), rng.integers(0, 6, n).tolist()
    whole, parts = TopK("o"), TopK("o")
    whole.update({"o": logits}, labels)
    parts.update({"o": logits[:cut]}, labels[:cut])
    parts.update({"o": logits[cut:]}, labels[cut:])
    assert parts.compute() == whole.compute()


def test_standard_error_is_the_binomial() -> None:
    metric = TopK("o", k=1)
    metric.update({"o": np.eye(4, dtype=np.float32)}, [0, 1, 2, 0])
    score = metric.compute()["top1"]
    assert (score.value, score.n, score.unit) == (75.0, 4, "percent")
    assert score.stderr == pytest.approx(100 * np.sqrt(0.75 * 0.25 / 4))


def test_nothing_is_never_zero() -> None:
    with pytest.raises(DataError, match="no sample"):
        TopK("o").compute()


def test_a_label_outside_the_output_is_refused() -> None:
    with pytest.raises(DataError, match="label_offset"):
        TopK("o").update({"o": np.zeros((1, 4), np.float32)}, [4])


def test_best_breaks_ties_by_class_and_puts_nan_last() -> None:
    assert best(np.array([1.0, 3.0, 3.0, np.nan]), 4) == [(1, 3.0), (2, 3.0), (0, 1.0), (3, None)]
