"""How a kind of fault is made from what it does to one node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.diagnose.faults.base import Family, GraphFault, Planted
from modelport.diagnose.faults.draft import Draft, runs_through

if TYPE_CHECKING:
    import onnx

# Of a graph to look at: whether the fault would change something at this node.
Fits = Callable[[Draft, Any], bool]
# Changes a graph at a node, in a size; returns what was done, in words.
Edit = Callable[[Draft, Any, float, np.random.Generator], str]
ANY: tuple[str, ...] = ()


def fault(
    kind: str,
    operators: Sequence[str],
    edit: Edit,
    fits: Fits = lambda draft, node: True,
    *,
    sizes: Sequence[float] = (1.0,),
    family: Family = "graph",
    shapes: bool = False,
) -> GraphFault:
    """Return the kind of fault that ``edit`` plants at nodes of ``operators`` (``ANY``: of all) where it ``fits``.

    Nodes that no output hangs on, or whose first output is no float, are no places. ``shapes``: the fault may change
    shapes, so that a place is one where the graph still runs through.
    """

    def places(model: onnx.ModelProto) -> list[str]:
        draft = Draft.outlined(model)
        found = []
        for node in draft.graph.node:
            wanted = node.domain in ("", "ai.onnx") and (not operators or node.op_type in operators)
            if not wanted or node.name not in draft.live or not draft.floating(node.output[0]):
                continue
            if fits(draft, node) and (not shapes or still_runs(model, node.name)):
                found.append(node.name)
        return found

    def still_runs(model: onnx.ModelProto, place: str) -> bool:
        draft = Draft.outlined(model)
        edit(draft, draft.nodes[place], sizes[-1], np.random.default_rng(0))
        return runs_through(draft)

    def plant(model: onnx.ModelProto, place: str, size: float, random: np.random.Generator) -> Planted:
        draft = Draft.copied(model)
        known, node = set(draft.nodes), draft.nodes[place]
        made = list(node.output)
        takers = {taker.name for name in made for taker in draft.takers.get(name, [])}
        about = edit(draft, node, size, random)
        # What the file says of tensors in between may no longer hold.
        del draft.graph.value_info[:]
        left = {other.name: other for other in draft.graph.node}
        added = set(left) - known
        exchanged = place not in left or (len(made) > 1 and list(left[place].output) != made)
        return Planted(draft.model, place, about, frozenset({place} | added | (takers if exchanged else set())))

    return GraphFault(kind, family, tuple(sizes), places, plant)


def leave_out(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    """Take a node away; its first input goes on in its place."""
    operator = node.op_type
    draft.drop(node, node.input[0])
    return f"the {operator} is left out"
