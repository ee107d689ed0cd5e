"""The errors of the nodes along the depth of a graph, as trace.json holds them: a list of at most ``MOST``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelport.diagnose.trace.findings import UnitFound

# Nodes that trace.json holds: a chart shows no more, and a graph may have a hundred thousand.
MOST = 400
# Nodes before one that are told: a Concat may have thousands.
MOST_BEFORE = 8


@dataclass(frozen=True, slots=True)
class Node:
    """One node (or unit of a few) in the graph's order, with those of its errors that were measured."""

    place: int  # in the graph, from 0
    node: str
    op: str
    module: str
    before: tuple[str, ...]  # nodes whose tensors flow in
    errors: Mapping[str, float]
    """Relative L2 errors by name: ``local``, ``accumulated``, ``expected``."""

    def to_json(self) -> dict[str, Any]:
        """Return it as trace.json holds it: an error that is not finite is None, one that nobody measured missing."""
        told = {"place": self.place, "node": self.node, "op": self.op, "module": self.module}
        errors = {f"{name}_error": value if math.isfinite(value) else None for name, value in self.errors.items()}
        return told | {"before": list(self.before[:MOST_BEFORE])} | errors


def nodes_of(units: Sequence[UnitFound]) -> list[Node]:
    """Return units that were compared, in their order, as nodes."""
    makers = {one.unit.output: one.node for one in units}
    return [
        Node(
            place,
            one.node,
            one.op,
            one.module,
            tuple(dict.fromkeys(makers[name] for name, _ in one.unit.inputs if name in makers)),
            {"local": one.local.rel_l2, "accumulated": one.accumulated.rel_l2, "expected": one.expected},
        )
        for place, one in enumerate(units)
    ]


def told_along(nodes: Sequence[Node], culprits: frozenset[str]) -> list[Node]:
    """Return ``MOST`` of the nodes in their order: the culprits, their neighbours, then the largest local errors."""
    if len(nodes) <= MOST:
        return list(nodes)
    before = {name for one in nodes if one.node in culprits for name in one.before[:MOST_BEFORE]}

    def rank(one: Node) -> tuple[int, float]:
        near = one.node in before or not culprits.isdisjoint(one.before[:MOST_BEFORE])
        far = one.errors.get("local", 0.0)
        return 0 if one.node in culprits else 1 if near else 2, -far if far == far else -math.inf

    return sorted(sorted(nodes, key=rank)[:MOST], key=lambda one: one.place)
