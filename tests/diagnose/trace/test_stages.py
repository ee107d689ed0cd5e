"""A stage departs where an output is off by more than is explained, holds NaN, or answers otherwise too often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.core.artifacts import Artifact
from modelport.core.values import Array, RowId
from modelport.diagnose.asking import Answers
from modelport.diagnose.trace import stages as module
from modelport.diagnose.trace.explained import Explained
from modelport.diagnose.trace.findings import StageFound
from modelport.diagnose.trace.stages import Stages, Step
from modelport.engines.base import Build
from modelport.engines.null import NullEngine
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((32, 10)).astype(np.float32)


class Opened(Step):
    """A step that nothing is opened for."""

    @contextmanager
    def open(self) -> Iterator[Any]:
        yield None


@pytest.fixture
def held(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hold some outputs against the source's, at what is explained."""
    output = tiny.tensors.outputs[0].name

    def answers(scores: Array) -> Answers:
        ids = [RowId(f"s{row}") for row in range(len(scores))]
        return Answers(ids, list(range(10)) * 3 + [0, 1], {output: scores}, digests=[str(row) for row in ids])

    def run(scores: Array, precision: str = "fp32", explains: float = 1e-3) -> StageFound:
        found = Stages(tiny, task_of(tiny), [], 0, lambda _: Explained(explains), answers(SCORES))
        monkeypatch.setattr(module, "ask", lambda *_, **__: answers(scores))
        model = Artifact(Path("none.onnx"), "onnx", "")
        return found.stage(Opened("onnx", model, NullEngine(), Build(tiny, precision, 8), precision))

    return run


def test_what_is_explained_passes(held: Any) -> None:
    found = held(SCORES * np.float32(1.0005))
    assert (found.verdict, found.metric["flips"]) == ("pass", 0)
    assert found.tensors.rel_l2 == pytest.approx(0.0005, rel=1e-2)


def test_what_is_more_departs(held: Any) -> None:
    found = held(SCORES * np.float32(1.002))
    assert found.verdict == "fail" and "2 times as far" in found.why


def test_nan_departs_whatever_is_explained(held: Any) -> None:
    broken = SCORES.copy()
    broken[3, 2] = np.nan
    found = held(broken, explains=1e9)
    assert found.verdict == "fail" and "1 values are not finite" in found.why
    assert found.to_json()["tensors"]["rel_l2"] is None


def test_answers_that_no_precision_loses_depart_whatever_is_explained(held: Any) -> None:
    found = held(SCORES[:, ::-1].copy(), "int8", explains=1e9)
    assert found.verdict == "fail" and "int8 explains 70 % and more" in found.why
    assert found.metric["flips"] > 20


def test_another_shape_is_infinitely_far(held: Any) -> None:
    found = held(SCORES[:, :9].copy(), explains=1e9)
    assert found.verdict == "fail"
    assert "has the shape (32, 9), the source's (32, 10)" in found.why
    assert "not finite" not in found.why
