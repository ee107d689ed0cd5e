"""A model file answers its input, and each row of a batch by itself; its answers are as it declares them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from modelport.core.errors import EngineError
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.engines.checked import checked
from modelport.engines.row_check import check_rows


class Fake:
    """A runner of one function."""

    concurrency = 1
    precision = "fp32"
    signature = Signature(
        (TensorSpec("x", "float32", ("batch", 3, 4, 4)),), (TensorSpec("y", "float32", ("batch", 5)),)
    )

    def __init__(self, answer: Callable[[Array], Array]) -> None:
        self._answer = answer

    def run(self, inputs: Tensors) -> dict[str, Array]:
        return {"y": self._answer(inputs["x"])}


WEIGHTS = np.random.default_rng(1).normal(size=(48, 5)).astype(np.float32)


def _sound(x: Array) -> Array:
    y: Array = x.reshape(len(x), -1) @ WEIGHTS
    return y


def _first_only(x: Array) -> Array:
    y = _sound(x)
    y[1:] = 0
    return y


def _mixed(x: Array) -> Array:
    y: Array = _sound(x) - _sound(x).mean(axis=0)
    return y


def _shifted(x: Array) -> Array:
    return np.roll(_sound(x), 1, axis=0)


def _constant(x: Array) -> Array:
    return np.ones((len(x), 5), np.float32)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_sound_graph_passes_at_every_batch(batch: int) -> None:
    check = check_rows(Fake(_sound), batch)
    assert check is not None and check.verdict == "pass"


@pytest.mark.parametrize("answer", [_first_only, _mixed, _shifted, _constant])
def test_rows_that_hang_on_each_other_or_on_nothing_fail(answer: Callable[[Array], Array]) -> None:
    check = check_rows(Fake(answer), 4)
    assert check is not None and check.verdict == "fail"


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: _sound(x)[:1],  # a batch that leaves as one row
        lambda x: _sound(x).astype(np.float64),
        lambda x: _sound(x)[:, :4],
        lambda x: _sound(x).argmax(axis=1),
    ],
    ids=["rows lost", "dtype", "shape", "rank"],
)
def test_an_answer_that_is_not_as_declared_is_refused(answer: Callable[[Array], Array], tmp_path: Path) -> None:
    x = {"x": np.zeros((3, 3, 4, 4), np.float32)}
    model, alone = tmp_path / "m.onnx", lambda: nullcontext(Fake(answer))
    assert checked(Fake(_sound), model, True, alone).run(x)["y"].shape == (3, 5)
    with pytest.raises(EngineError, match=r"m\.onnx"):
        checked(Fake(answer), model, True, alone).run(x)
