"""Healthy ports answer as the graph that they were made from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from every_operator import every_operator
from test_faults import answers

from modelport.diagnose.faults.healthy import HEALTHY, Healthy

GRAPH = every_operator()


@pytest.mark.parametrize("healthy", HEALTHY, ids=lambda healthy: healthy.kind)
def test_it_answers_alike_and_is_another_file(healthy: Healthy) -> None:
    before = GRAPH.SerializeToString(deterministic=True)
    made = healthy.made(GRAPH)
    assert made is not None
    assert GRAPH.SerializeToString(deterministic=True) == before != made.SerializeToString(deterministic=True)
    onnx.checker.check_model(made, full_check=True)
    for got, want in zip(answers(made), answers(GRAPH), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
