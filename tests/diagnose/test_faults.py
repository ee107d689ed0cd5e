"""Every kind of fault: planted, the graph is valid and runs, answers otherwise, and the original is as it was."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from every_operator import every_operator

from modelport.core.values import Array
from modelport.diagnose.faults.base import GraphFault
from modelport.diagnose.faults.table import GRAPH_FAULTS

GRAPH = every_operator()
INPUT = np.random.default_rng(1).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)


def answers(model: onnx.ModelProto) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(array) for array in session.run(None, {"input": INPUT})]


@cache
def sound() -> list[Array]:
    return answers(GRAPH)


def test_the_kinds_have_names_of_their_own_and_the_shares_of_the_study() -> None:
    """Three quarters of converters' faults lie in the conversion of nodes (Jajal and others, ISSTA 2024)."""
    kinds = [fault.kind for fault in GRAPH_FAULTS]
    assert len(set(kinds)) == len(kinds)
    families = Counter(fault.family for fault in GRAPH_FAULTS)
    assert set(families) == {"graph", "weights"}
    assert families["graph"] >= 60


@pytest.mark.parametrize("fault", GRAPH_FAULTS, ids=lambda fault: fault.kind)
def test_each_place_changes_the_answer_and_nothing_else(fault: GraphFault) -> None:
    before = GRAPH.SerializeToString(deterministic=True)
    places = fault.places(GRAPH)
    assert places
    for place in places:
        planted = fault.plant(GRAPH, place, fault.sizes[-1], np.random.default_rng(0))
        assert planted.where == place
        assert planted.where in planted.places
        assert planted.about
        onnx.checker.check_model(planted.graph, full_check=True)
        got = answers(planted.graph)
        same = [one.shape == two.shape for one, two in zip(got, sound(), strict=True)]
        assert same == [True] * len(got), (place, planted.about)
        assert not all(np.allclose(one, two, 0, 1e-6) for one, two in zip(got, sound(), strict=True)), planted.about
    again = [fault.plant(GRAPH, places[-1], fault.sizes[-1], np.random.default_rng(0)).graph for _ in range(2)]
    assert again[0].SerializeToString(deterministic=True) == again[1].SerializeToString(deterministic=True)
    assert GRAPH.SerializeToString(deterministic=True) == before
