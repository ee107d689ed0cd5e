"""The short form of ``benchmarks/planted_faults.py``: a fault of each kind and each healthy form, on a tiny graph."""

from __future__ import annotations

import numpy as np
import pytest
from every_operator import every_operator

from modelport.diagnose.faults.healthy import HEALTHY, Healthy
from modelport.diagnose.faults.table import GRAPH_FAULTS
from modelport.diagnose.trace.causes import culprits_of
from modelport.diagnose.trace.nodes import examine

GRAPH = every_operator()
FEEDS = {"input": np.random.default_rng(1).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)}


@pytest.mark.slow
def test_faults_of_each_kind_are_noticed_and_placed() -> None:
    unnoticed, misplaced = [], []
    for number, fault in enumerate(GRAPH_FAULTS):
        random = np.random.default_rng([0, number])
        places = fault.places(GRAPH)
        place, size = places[int(random.integers(len(places)))], fault.sizes[len(fault.sizes) // 2]
        planted = fault.plant(GRAPH, place, size, random)
        found = examine(GRAPH, planted.graph, FEEDS, None, "fp32")
        if not found.departed:
            unnoticed.append((fault.kind, place, planted.about))
            continue
        culprit = culprits_of(found, GRAPH, planted.graph, "fp32")[0]
        if culprit.found.node not in planted.places:
            misplaced.append((fault.kind, place, planted.about, culprit.found.node, culprit.why))
    assert len(unnoticed) <= 0.05 * len(GRAPH_FAULTS), unnoticed
    assert len(unnoticed) + len(misplaced) <= 0.1 * len(GRAPH_FAULTS), (unnoticed, misplaced)


@pytest.mark.slow
@pytest.mark.parametrize("healthy", HEALTHY, ids=lambda healthy: healthy.kind)
def test_nothing_is_said_of_a_healthy_port(healthy: Healthy) -> None:
    made = healthy.made(GRAPH)
    assert made is not None
    assert [unit.node for unit in examine(GRAPH, made, FEEDS, None, "fp32").departed] == []
