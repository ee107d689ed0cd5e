"""A whole graph that is written otherwise says what it said: nothing that is compared differs."""

from __future__ import annotations

import onnx
import pytest
from every_operator import every_operator

from modelport.diagnose.distance import Distance
from modelport.diagnose.faults.healthy import HEALTHY, Healthy
from modelport.diagnose.trace.causes import culprit_of
from modelport.diagnose.trace.findings import Unit, UnitFound
from modelport.model.graph.passing import named_nodes

GRAPH = every_operator()
FAR = Distance(0.5, 1.0, 0.5)
# Another order of nodes, a difference as a sum, and a flattening are told as differences of a unit that holds them.
UNLIKE = {"reordered", "sub_as_add", "flattened"}


def kind(candidate: onnx.ModelProto, reference: onnx.ModelProto) -> str:
    """What is told of a unit that is the whole of both graphs."""
    mine, theirs = (tuple(named_nodes(model)) for model in (candidate, reference))
    outputs = candidate.graph.output[0].name, reference.graph.output[0].name
    unit = Unit(*outputs, mine, theirs, (("input", "input"),))
    return culprit_of(UnitFound(unit, "", "", "", FAR, FAR, 1e-6), reference, candidate, "fp32").kind


@pytest.mark.parametrize("healthy", [one for one in HEALTHY if one.kind not in UNLIKE], ids=lambda one: one.kind)
def test_it_is_the_same(healthy: Healthy) -> None:
    other = healthy.made(GRAPH)
    assert other is not None
    assert kind(other, GRAPH) == "spelling"
    assert kind(GRAPH, other) == "spelling"
