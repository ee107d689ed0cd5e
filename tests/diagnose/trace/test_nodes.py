"""Healthy graphs depart nowhere; a fault is found at its node, in plain and in renamed graphs; memory is bounded."""

from __future__ import annotations

import onnx
import pytest
from small_graphs import FAULTS, images, planted, renamed, small_graph

from modelport.diagnose.trace.findings import NodesFound
from modelport.diagnose.trace.nodes import examine


def names(model: onnx.ModelProto, other: onnx.ModelProto) -> dict[str, str]:
    """The nodes' names in ``model`` by those of its copy ``other`` under other names."""
    return {there.name: here.name for here, there in zip(model.graph.node, other.graph.node, strict=True)}


def told(found: NodesFound) -> list[tuple[str, float, float]]:
    return [(unit.node, unit.local.rel_l2, unit.expected) for unit in found.departed]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_at_its_node(kind: str) -> None:
    faulty, where = planted(kind)
    found = examine(small_graph(), faulty, images(), None, "fp32")
    assert [unit.node for unit in found.departed] == [where], told(found)
    assert not found.unpaired


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found_in_a_renamed_graph(kind: str) -> None:
    faulty, where = planted(kind)
    other = renamed(faulty)
    found = examine(small_graph(), other, images(), None, "fp32")
    old = names(faulty, other)
    # A node that is missing has the reference's name.
    assert [old.get(unit.node, unit.node) for unit in found.departed] == [where], told(found)


def test_the_same_graph_departs_nowhere() -> None:
    found = examine(small_graph(), renamed(small_graph()), images(), None, "fp32")
    assert not found.departed
    assert len(found.units) == len(small_graph().graph.node)
    assert all(unit.local.rel_l2 == 0 and unit.accumulated.rel_l2 == 0 for unit in found.units)
