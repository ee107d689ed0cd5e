"""Two graphs compared node by node: which unit errs by itself, and which only hands on what others did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelport.core.errors import EngineError
from modelport.core.progress import SILENT, Progress
from modelport.core.values import Array
from modelport.diagnose.trace.comparing import Comparison
from modelport.diagnose.trace.findings import NodesFound, UnitFound
from modelport.diagnose.trace.looking import Graph
from modelport.diagnose.trace.pairing import pairing, units
from modelport.diagnose.trace.running import Bench, bench
from modelport.model.graph.window import MIB

if TYPE_CHECKING:
    import onnx

LIMIT = 64 * MIB


def examine(
    reference: onnx.ModelProto,
    candidate: onnx.ModelProto,
    feeds: Mapping[str, Array],
    candidate_feeds: Mapping[str, Array] | None,
    precision: str,
    progress: Progress = SILENT,
    limit: int = LIMIT,
) -> NodesFound:
    """Compare two graphs unit by unit on the same samples, on the reference runtime.

    ``feeds`` are the reference's inputs; ``candidate_feeds`` the candidate's where they are others (pixels), in the
    candidate's names. ``precision`` is what the candidate computes in: fp32, fp16 or int8. ``limit``: bytes of the
    tensors that one window makes. Raises EngineError where the reference cannot be run, GraphError for a graph at odds
    with itself.
    """
    with bench() as runtime:
        theirs = Graph.of(reference, feeds)
        mine = Graph.of(candidate, feeds if candidate_feeds is None else candidate_feeds)
        with progress.bar("looking through both graphs", None, "windows") as bar:
            theirs.look(runtime, limit, bar)
            if theirs.failed:
                name, words = next(iter(theirs.failed.items()))
                raise EngineError(f"node '{name}' of the reference cannot be run: {words}", "give another reference")
            mine.look(runtime, limit, bar)
        comparing = Examined(runtime, mine, theirs, precision, limit, progress)
        found = comparing.run()
    inside = {name for unit in found for name in unit.unit.nodes}
    unpaired = [step.name for step in mine.flow.varying if step.name not in inside]
    notes = [f"node '{name}' cannot be run: {words}" for name, words in mine.failed.items()]
    return NodesFound(found, unpaired, tuple(dict.fromkeys([*notes, *comparing.notes])), runtime.runs)


@dataclass(slots=True)
class Examined:
    """Both graphs, looked through, and what comparing their units gives."""

    runtime: Bench
    mine: Graph
    theirs: Graph
    precision: str
    limit: int
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def run(self) -> list[UnitFound]:
        """Return what was found of each unit, in the candidate's order.

        A pair that was guessed of the structure alone, and whose unit departs, may be none: it is let go where the
        units that then hold its nodes depart no more. A fault departs in a larger unit as well.
        """
        told = pairing(self.mine.side, self.theirs.side, self.precision)
        known, ends = told.to_other, set(self.mine.flow.outputs)
        found = self._compare(known, {})
        doubted = [one.unit.output for one in found.values() if one.departs]
        doubted = [name for name in doubted if name in told.guessed and name not in ends]
        if not doubted:
            return list(found.values())
        larger = self._compare(_without(known, doubted), found)
        wrong = [name for name in doubted if not _departs_still(found[name], larger)]
        return list((self._compare(_without(known, wrong), found | larger) if wrong else found).values())

    def _compare(self, known: Mapping[str, str], done: Mapping[str, UnitFound]) -> dict[str, UnitFound]:
        """Return what is found by the unit's output; units that are ``done`` as they are now are not run again."""
        wanted = units(self.mine.flow, self.theirs.flow, known)
        new = [unit for unit in wanted if unit.output not in done or done[unit.output].unit != unit]
        comparing = Comparison(self.runtime, self.mine, self.theirs, known, new, self.precision, self.limit)
        found = {one.unit.output: one for one in comparing.run(self.progress)}
        self.notes += comparing.notes
        return {unit.output: found.get(unit.output) or done[unit.output] for unit in wanted}


def _without(known: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    left = set(names)
    return {mine: theirs for mine, theirs in known.items() if mine not in left}


def _departs_still(one: UnitFound, larger: Mapping[str, UnitFound]) -> bool:
    """Whether a unit departs that holds the nodes of a smaller one, or nothing holds them."""
    inner = set(one.unit.nodes)
    holding = [unit for unit in larger.values() if inner.intersection(unit.unit.nodes)]
    return not holding or any(unit.departs for unit in holding)
