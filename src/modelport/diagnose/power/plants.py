"""Which faults are planted, and where: kinds first, then sizes, drawn with a seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from modelport.diagnose.changes.base import Change
from modelport.diagnose.changes.table import changed_recipes
from modelport.diagnose.faults.base import GraphFault
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of

if TYPE_CHECKING:
    import onnx

# Of four faults of a port, three are in the graph (weights among them), and one in what goes in or comes out.
GRAPH_OF_FOUR = 3


@dataclass(frozen=True, slots=True)
class Plant:
    """A fault to be planted: of the graph at a node and in a size, or a change of preprocessing, inputs or outputs."""

    kind: str
    where: str
    size: float
    fault: GraphFault | None = None
    change: Change | None = None


def of_the_port(recipe: Recipe) -> list[Change]:
    """Return the changes that an engine can have where the source has them not: of what goes in or comes out.

    How labels and boxes are read is the same for both.
    """
    changes = changed_recipes(recipe, task_of(recipe))
    return [
        changed.change
        for changed in changes
        if changed.change.inputs or changed.change.outputs or changed.recipe.preprocess != recipe.preprocess
    ]


def chosen(
    graph: onnx.ModelProto, faults: Sequence[GraphFault], changes: Sequence[Change], count: int, seed: int
) -> list[Plant]:
    """Return ``count`` plants, fewer where there are no more: each kind once before any comes again, in another size.

    Kinds that have no place in this graph are left out. The same seed draws the same plants.
    """
    rng = np.random.default_rng(seed)
    inner, outer = _of_graph(graph, faults, rng), _of_changes(changes, rng)
    found: list[Plant] = []
    for turn in range(count * 2):
        first, second = (inner, outer) if turn % (GRAPH_OF_FOUR + 1) < GRAPH_OF_FOUR else (outer, inner)
        plant = next(first, None) or next(second, None)
        if plant is None or len(found) == count:
            break
        found.append(plant)
    return found


def _of_graph(graph: onnx.ModelProto, faults: Sequence[GraphFault], rng: np.random.Generator) -> Iterator[Plant]:
    """Yield plants kind by kind in a drawn order, at drawn nodes; then again with the next size, and so on."""
    places = {fault.kind: list(fault.places(graph)) for fault in faults}
    able = [faults[int(at)] for at in rng.permutation(len(faults)) if places[faults[int(at)].kind]]
    sizes = {fault.kind: [fault.sizes[int(at)] for at in rng.permutation(len(fault.sizes))] for fault in able}
    for turn in range(max(map(len, sizes.values()), default=0)):
        for fault in able:
            if turn < len(sizes[fault.kind]):
                where = places[fault.kind][int(rng.integers(len(places[fault.kind])))]
                yield Plant(fault.kind, where, sizes[fault.kind][turn], fault=fault)


def _of_changes(changes: Sequence[Change], rng: np.random.Generator) -> Iterator[Plant]:
    """Yield changes kind by kind in a drawn order; then again with the next value, and so on."""
    able = [changes[int(at)] for at in rng.permutation(len(changes))]
    kinds: dict[str, list[Change]] = {}
    for change in able:
        kinds.setdefault(change.kind, []).append(change)
    for turn in range(max(map(len, kinds.values()), default=0)):
        for kind, values in kinds.items():
            if turn < len(values):
                yield Plant(kind, values[turn].value, 1.0, change=values[turn])
