"""What cannot carry a verdict, and that healthy answers raise no alarm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from modelport.core.values import Array
from modelport.tasks.base import Figures, Flips, Score
from modelport.tasks.classification.task import Classification
from modelport.verdict.soundness import Soundness, binomial_tail


def _verdicts(outputs: Array, source: Array | None, figures: Figures | None = None, precision: str = "fp32") -> Any:
    watch = Soundness(Classification)
    ids = [str(row) for row in range(len(outputs))]
    half = len(ids) // 2
    for part in (slice(0, half), slice(half, None)):
        watch.take(ids[part], {"y": outputs[part]}, None if source is None else {"y": source[part]})
    checks = watch.checks(figures or Figures({}, None), precision)
    return {check.name: check.verdict for check in checks}


@pytest.fixture
def logits() -> Array:
    drawn: Array = np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)
    return drawn


def test_healthy_answers_raise_no_alarm(logits: Array) -> None:
    assert set(_verdicts(logits, logits).values()) == {"pass"}
    assert set(_verdicts(logits, None).values()) == {"pass"}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_fails_where_the_source_is_finite_and_is_inconclusive_where_it_is_not(
    logits: Array, bad: float
) -> None:
    broken = logits.copy()
    broken[7, 3] = bad
    assert _verdicts(broken, logits)["finite"] == "fail"
    assert _verdicts(broken, broken)["finite"] == "inconclusive"
    assert _verdicts(broken, None)["finite"] == "inconclusive"


def test_constant_answers_and_one_class_never_pass(logits: Array) -> None:
    constant = np.tile(logits[:1], (40, 1))
    one_class = logits.copy()
    one_class[:, 4] += 100
    for dull in (constant, one_class):
        assert _verdicts(dull, logits)["answers_vary"] == "fail"
        assert _verdicts(dull, dull)["answers_vary"] == "inconclusive"
        assert _verdicts(dull, None)["answers_vary"] == "inconclusive"


def _at(top1: float, n: int, met: int, of: int) -> Figures:
    score = {"top1": Score(top1, "percent", n, 0.1)}
    flips = Flips()
    flips.add(met, of, {})
    return Figures(score, score, flips, chance={"top1": 10.0})


@pytest.mark.parametrize(("top1", "word"), [(0.0, "inconclusive"), (12.0, "inconclusive"), (40.0, "pass")])
def test_a_figure_that_guessing_gives_too_never_passes(logits: Array, top1: float, word: str) -> None:
    assert _verdicts(logits, logits, _at(top1, 310, 310, 310))["top1_above_chance"] == word


@pytest.mark.parametrize(
    ("met", "precision", "word"),
    [
        (192, "fp32", "inconclusive"),  # 48 %: another checkpoint
        (192, "int8", "inconclusive"),
        (396, "fp32", "pass"),
        (352, "int8", "pass"),  # 88 %: quantized after training
        (340, "fp32", "inconclusive"),
    ],
)
def test_agreement_is_judged_by_what_the_precision_explains(logits: Array, met: int, precision: str, word: str) -> None:
    assert _verdicts(logits, logits, _at(80, 400, met, 400), precision)["agreement_explained"] == word


def test_few_samples_do_not_alarm(logits: Array) -> None:
    assert _verdicts(logits, logits, _at(80, 20, 19, 20))["agreement_explained"] == "pass"


def test_the_tail_is_the_binomials() -> None:
    for hits, n, share in (
        (0, 10, 0.1),
        (3, 10, 0.1),
        (31, 310, 0.1),
        (60, 310, 0.1),
        (700, 50_000, 0.01),
        (5, 5, 1.0),
    ):
        assert binomial_tail(hits, n, share) == pytest.approx(binom.sf(hits - 1, n, share), rel=1e-6)
