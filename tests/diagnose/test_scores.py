"""What rows of scores are is told by their numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.diagnose.scores import Kind, kind_of, once_softmaxed


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    whole: Array = powers / powers.sum(axis=1, keepdims=True)
    return whole


def test_a_second_softmax_leaves_bounds() -> None:
    """The bounds that are told of it hold, and no other rows are taken for such."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 4, (50, 7))
    once, twice = softmax(scores), softmax(softmax(scores))
    assert twice.min() >= 1 / (6 + np.e) and twice.max() <= np.e / (6 + np.e)
    assert [kind_of(rows.astype(np.float32)) for rows in (scores, once, twice)] == list(Kind)
    assert kind_of(np.full((50, 7), 1 / 7)) is Kind.PROBABILITIES
    assert kind_of(softmax(0.1 * scores)) is Kind.PROBABILITIES
    assert kind_of(np.full((50, 7), np.nan)) is Kind.LOGITS


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_second_softmax_is_told_in_every_dtype(dtype: type, classes: int) -> None:
    rng = np.random.default_rng(classes)
    scores = rng.normal(0, 3, (200, classes))
    scores[np.arange(200), rng.integers(0, classes, 200)] += 8
    once = softmax(scores)
    again: Array = softmax(once).astype(dtype)
    assert kind_of(once.astype(dtype)) is Kind.PROBABILITIES and kind_of(again) is Kind.TWICE
    assert np.abs(once_softmaxed(again.astype(np.float64)) - once).max() <= 1e-3


@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("sure", [0.05, 0.1, 0.2, 0.3])
def test_an_undecided_model_is_not_taken_for_a_second_softmax(sure: float, classes: int) -> None:
    rng = np.random.default_rng(0)
    kinds = {kind_of(softmax(rng.normal(0, sure, (count, classes)))) for count in (32, 64, 256) for _ in range(20)}
    assert kinds == {Kind.PROBABILITIES}
