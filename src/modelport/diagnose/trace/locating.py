"""The nodes of the stage that departs: both graphs compared unit by unit, or an engine bisected over cuts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.artifacts import Artifact
from modelport.core.progress import Progress
from modelport.core.values import Array, Tensors
from modelport.diagnose.distance import NOWHERE
from modelport.diagnose.trace.along import Node, nodes_of
from modelport.diagnose.trace.bisect import Bisection, OfFile, OnEngine
from modelport.diagnose.trace.causes import culprit_of, culprits_of, tensors_of
from modelport.diagnose.trace.findings import Culprit, Fix, Unit, UnitFound
from modelport.diagnose.trace.nodes import examine
from modelport.diagnose.trace.running import bench
from modelport.diagnose.trace.stages import Step
from modelport.engines.base import Runner
from modelport.model.graph.cut import fed, prefix
from modelport.model.graph.file import read_graph
from modelport.model.graph.flow import Flow
from modelport.model.graph.quantizable import HEAVY

if TYPE_CHECKING:
    import onnx

# Units of which the reference's tensors are looked at: they tell what a precision loses.
LOOKED_AT = 8
# Where each does what its precision explains, and all together are too much: how many are named, and from which share
# of the worst one's error.
COSTLY, COSTLY_SHARE = 3, 0.5


@dataclass(frozen=True, slots=True)
class Located:
    """What was found in a stage."""

    culprits: Sequence[Culprit]
    runs: int  # of the engine, of cuts and single nodes; or of the reference runtime, of windows and single units
    notes: Sequence[str] = ()
    units: Sequence[UnitFound] = ()  # that were compared; where an engine was bisected, the one at the border
    graph: Artifact | None = None  # that they are units of
    nodes: Sequence[Node] = ()  # in the graph's order, with those of their errors that were measured


def compared(
    reference: Artifact,
    step: Step,
    feeds: Tensors,
    own_feeds: Tensors,
    progress: Progress,
) -> Located:
    """Compare the stage's graph with the reference, both on the reference runtime.

    ``feeds`` are the reference's inputs, ``own_feeds`` the stage's. Raises EngineError or GraphError.
    """
    theirs, mine = read_graph(reference.path), read_graph(step.model.path)
    found = examine(theirs, mine, feeds, own_feeds if step.pixels else None, step.precision, progress)
    values = _tensors(theirs, found.departed[:LOOKED_AT], feeds)
    culprits = culprits_of(found, theirs, mine, step.precision, values)
    notes = list(found.notes)
    if not culprits:
        notes.append("no node alone departs by more than its precision explains: the departure is the sum of many")
        culprits = [_costliest(unit, step.precision) for unit in _by_cost(found.units, step.precision)]
    return Located(culprits, found.runs, notes, found.units, step.model, nodes_of(found.units))


def _by_cost(units: Sequence[UnitFound], precision: str) -> list[UnitFound]:
    """Return the units that lose most by a lower precision, though no more than it explains; none in float32."""
    known = [unit for unit in units if math.isfinite(unit.local.rel_l2)] if precision != "fp32" else []
    known.sort(key=lambda unit: -unit.local.rel_l2)
    return [unit for unit in known[:COSTLY] if unit.local.rel_l2 >= COSTLY_SHARE * known[0].local.rel_l2 > 0]


def _costliest(found: UnitFound, precision: str) -> Culprit:
    names = found.unit.reference_nodes
    why = f"{precision} costs it most: {found.local.rel_l2:.2g} by its own rounding, which the precision explains"
    told = ", ".join(f"'{name}'" for name in names)
    return Culprit(found, why, Fix("keep_in_float", f"keep {told} in float32 (a line of --plan)", names), "sensitive")


def bisected(step: Step, feeds: Tensors, work: Path) -> Located:
    """Bisect the engine's model over cuts of the graph that it was made from. Raises EngineError or GraphError.

    A compiled file that was given is first held against the same graph compiled anew: where only the file departs, it
    was made of another graph. Then, and where its 8 bits stand in no graph, the file itself is looked into.
    """
    assert step.graph is not None
    graph = read_graph(step.graph.path)
    with bench() as runtime:
        search = Bisection(graph, feeds, step.precision, OnEngine(step.engine, step.build, step.launch, work), runtime)
        if search.last < 0:
            return Located([], 0, ["no node of the graph hangs on its inputs"])
        quantized = step.model.kind != "onnx" and step.precision == "int8"
        if quantized or (step.given and not search.departs(search.last)):
            return _in_file(step, search, quantized)
        return _on_engine(step, search)


def _on_engine(step: Step, search: Bisection) -> Located:
    """Find the node by cuts, and examine it alone."""
    place = search.first()
    if not search.departs(place):
        said = "no cut of the graph departs on the samples that were looked at: the engine errs in the whole alone, or "
        return Located([], search.runs, [*dict.fromkeys(search.notes), f"{said}on other samples"])
    found = search.alone(place)
    if found.departs:
        culprit = culprit_of(found, search.graph, search.graph, step.precision)
    else:
        why = f"alone {step.engine.name} computes {found.op} right; joined with its neighbours it does not"
        fix = "run it without the engine's optimizations, and compare"
        culprit = Culprit(replace(found, local=found.accumulated), why, Fix("engine", fix), "engine")
    return Located([culprit], search.runs, tuple(dict.fromkeys(search.notes)), [found], step.graph, search.along(found))


def _in_file(step: Step, search: Bisection, quantized: bool) -> Located:
    """Find the node in the engine's own file; where that shows no tensors, say what is known of the whole."""
    if step.engine.open_with(step.model, step.build, step.launch, ()) is None:
        notes: Sequence[str] = (
            ["the engine's file shows no inner tensors, and its 8 bits stand in no other"] if quantized else []
        )
        return Located([] if quantized else [_stale(step, None)], search.runs, notes)

    def opened(outputs: Sequence[str]) -> AbstractContextManager[Runner]:
        runner = step.engine.open_with(step.model, step.build, step.launch, outputs)
        assert runner is not None
        return runner

    inside = Bisection(search.graph, search.feeds, search.precision, OfFile(opened), search.runtime)
    place = inside.first()
    if not inside.departs(place):
        notes = ("with inner tensors as outputs the file no longer departs: its nodes are joined otherwise then",)
        return Located([] if quantized else [_stale(step, None)], search.runs + inside.runs, notes)
    found = inside.within(place)
    culprit = _clipped(inside, place, found) if quantized else _stale(step, found)
    return Located(
        [culprit], search.runs + inside.runs, tuple(dict.fromkeys(inside.notes)), [found], step.graph, inside.along()
    )


def _clipped(search: Bisection, place: int, found: UnitFound) -> Culprit:
    """Return the culprit that a layer in 8 bits is: the one with the arithmetic at the border, or before it."""
    before = (one for one in reversed(search.flow.varying[: place + 1]) if one.op in HEAVY)
    name = next((one.name for one in before), found.node)
    why = f"in 8 bits it is {found.accumulated.rel_l2:.2g} off, where their steps explain {found.expected:.2g}"
    fix = Fix("keep_in_float", f"keep '{name}' in float32 (a line of --plan)", (name,))
    return Culprit(found, why, fix, "range")


def _stale(step: Step, found: UnitFound | None) -> Culprit:
    """Return the culprit that a compiled file as a whole is; ``found``: where it first departs, if that is known."""
    name = step.model.shown.name
    why = f"{step.engine.name} computes the graph right when it is compiled anew: the file was made of another graph"
    if found is None:
        found = UnitFound(Unit(name, name, (), (), ()), "file", name, "", NOWHERE, NOWHERE, 0.0)
    else:
        why += f", which first differs at {found.op} '{found.node}'"
    fix = f"compile it again: `modelport compile … --engine {step.engine.name} --out {name}`"
    return Culprit(found, why, Fix("engine", fix), "stale")


def _tensors(graph: onnx.ModelProto, units: Sequence[UnitFound], feeds: Tensors) -> Mapping[str, Array]:
    """Return the reference's tensors that tell what a lower precision loses of these units."""
    flow = Flow.of(graph)
    wanted = [name for name in dict.fromkeys(name for unit in units for name in tensors_of(unit)) if name in flow.maker]
    if not wanted:
        return {}
    cut = prefix(flow, len(flow.varying) - 1, feeds, wanted)
    with bench() as runtime:
        return runtime.run(cut, fed(cut, feeds))
