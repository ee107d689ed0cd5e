"""Labels in another numbering are found and named; healthy and poor models raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.values import Array, Check, RowId
from modelport.tasks.answered import Answered, Numbering
from modelport.verdict.alignment import aligned, permutation


def _answered(labels: Array, answers: Array) -> Answered:
    found = Answered()
    found.take([RowId(f"{row:08d}") for row in range(len(labels))], labels.tolist(), answers)
    return found


def _drawn(n: int, right: float, truth: Array, seed: int = 0, labels: int | None = None) -> Answered:
    """Answer labels of as many classes as ``truth`` has, which tells what each really is; else any class."""
    rng = np.random.default_rng(seed)
    given = rng.integers(0, labels or len(truth), n)
    return _answered(given, np.where(rng.random(n) < right, truth[given], rng.integers(0, len(truth), n)))


def _word(classes: int, engine: Answered, source: Answered | None) -> Check:
    return aligned(Numbering(classes, engine, source), {})


def _swapped(classes: int, *pairs: tuple[int, int]) -> Array:
    truth = np.arange(classes)
    for one, other in pairs:
        truth[one], truth[other] = other, one
    return truth


@pytest.mark.parametrize(
    ("n", "right", "classes", "labels"),
    [(300, 0.75, 10, 10), (500, 0.75, 1000, 1000), (3000, 0.75, 1000, 1000), (400, 0.6, 1000, 10), (300, 0.15, 10, 10)],
)
def test_healthy_and_poor_models_raise_no_alarm(n: int, right: float, classes: int, labels: int) -> None:
    words = [
        _word(classes, found, found).verdict
        for seed in range(20)
        for found in [_drawn(n, right, np.arange(classes), seed, labels)]
    ]
    assert set(words) == {"pass"}


@pytest.mark.parametrize("taken", [0.5, 0.9])
def test_a_model_that_takes_one_class_for_another_is_no_other_numbering(taken: float) -> None:
    labels = np.arange(2000) % 10
    draws = np.random.default_rng(0).random(2000)
    answers = np.where((labels == 3) & (draws < taken), 7, labels)
    found = _answered(labels, answers)
    assert _word(10, found, found).verdict == "pass"
    # Also where no label names that class.
    assert _word(10, *[_answered(labels[labels != 7], answers[labels != 7])] * 2).verdict == "pass"


def test_the_likeliest_pairs_are_named() -> None:
    found = _drawn(400, 0.8, _swapped(10, (3, 7)))
    check = aligned(Numbering(10, found, found), {3: "cat", 7: "dog\x1b[1m"})
    assert check.verdict == "inconclusive"
    assert "label 3 (cat) is answered as 7 (dog\\x1b[1m)" in check.why and "label 7" in check.why
    assert check.want > 3 * check.got


@pytest.mark.parametrize(("n", "classes", "labels"), [(310, 10, 10), (500, 1000, 1000), (500, 1000, 10)])
def test_any_order_of_all_classes_is_found(n: int, classes: int, labels: int) -> None:
    found = _drawn(n, 0.6, np.random.default_rng(1).permutation(classes), labels=labels)
    assert _word(classes, found, None).verdict == "inconclusive"


def test_labels_that_count_from_one_are_told_as_an_offset() -> None:
    found = _drawn(300, 0.5, (np.arange(10) - 1) % 10)
    check = _word(10, found, found)
    assert check.verdict == "inconclusive" and check.why.startswith("moved by 9")


def test_where_the_source_fits_the_labels_the_engine_is_at_fault() -> None:
    source, engine = _drawn(400, 0.8, np.arange(10)), _drawn(400, 0.8, _swapped(10, (3, 7), (1, 2)))
    check = _word(10, engine, source)
    assert check.verdict == "fail" and "engine's" in check.why


def test_a_permutation_is_of_circles_unless_it_moves_many() -> None:
    own = {(label, label): 9 for label in range(10, 20)}
    circle = {(1, 2): 4, (2, 1): 3}
    assert permutation({**own, **circle, (3, 4): 9}) == {1: 2, 2: 1}
    assert permutation({**own, (1, 2): 4, (2, 30): 3}) == {}
    assert permutation({(0, 7): 5, (1, 8): 4, (2, 2): 3}) == {0: 7, 1: 8}
    assert permutation({(0, 1): 9, (1, 1): 6, (2, 1): 1, (3, 3): 1}) == {}
    assert permutation({(0, 1): 9}) == permutation({}) == {}


def test_a_half_hangs_on_the_id_alone() -> None:
    labels = np.arange(200)
    ahead, back = _answered(labels, labels), Answered()
    back.take([RowId(f"{row:08d}") for row in labels[::-1]], labels[::-1].tolist(), labels[::-1])
    assert ahead.halves == back.halves and 70 < ahead.halves[0].total() < 130
