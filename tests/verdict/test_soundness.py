"""What cannot carry a verdict, and that healthy answers raise no alarm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from modelport.core.values import Array, Check
from modelport.tasks.classification.task import Classification
from modelport.tasks.scoring import Figures, Flips, Score
from modelport.verdict.soundness import Soundness, on_ground


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


@pytest.mark.parametrize(("labels", "word"), [([3] * 40, "inconclusive"), ([3] * 39 + [4], "pass"), ([], None)])
def test_labels_that_are_all_the_same_are_told(logits: Array, labels: list[int], word: str | None) -> None:
    watch = Soundness(Classification)
    watch.take([str(row) for row in range(40)], {"y": logits}, {"y": logits}, labels)
    found = {check.name: check.verdict for check in watch.checks(Figures({}, None), "fp32")}
    assert found.get("labels_vary") == word


def _failed(name: str = "top1_vs_source") -> Check:
    return Check(name, "fail", 1.0, 2.0, "too low")


@pytest.mark.parametrize("name", ["answers_vary", "labels_vary", "labels_aligned", "calibration_varies"])
def test_a_drop_fails_nothing_where_the_figures_mean_nothing(name: str) -> None:
    sound = [Check("finite", "pass", 0, 0, ""), Check(name, "inconclusive", 0, 0, "")]
    (check,) = on_ground(sound, None, [_failed()])
    assert check.verdict == "inconclusive" and name in check.why
    # What is not the labels' or both models' fault stays.
    (check,) = on_ground([replace(sound[1], verdict="fail")], None, [_failed()])
    assert check.verdict == "fail"


@pytest.mark.parametrize(("source", "word"), [(11.0, "inconclusive"), (60.0, "fail")])
def test_an_engine_at_chance_fails_where_its_source_is_not(source: float, word: str) -> None:
    mine, theirs = ({"top1": Score(value, "percent", 300, 0.1)} for value in (10.0, source))
    figures = Figures(mine, theirs, chance={"top1": 10.0})
    sound = [check for check in Soundness(Classification).checks(figures, "fp32") if check.name == "top1_above_chance"]
    assert sound[0].verdict == "inconclusive"
    assert on_ground(sound, figures.source, [_failed()])[0].verdict == word
