"""Two graphs compared node by node: which unit errs by itself, and which only hands on what others did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelport.core.errors import EngineError
from modelport.core.progress import SILENT, Progress
from modelport.core.values import Array
from modelport.diagnose.trace.comparing import Comparison
from modelport.diagnose.trace.findings import NodesFound, Unit, UnitFound
from modelport.diagnose.trace.looking import Graph
from modelport.diagnose.trace.pairing import pairing
from modelport.diagnose.trace.running import Bench, bench
from modelport.diagnose.trace.units import unit_of, units
from modelport.model.graph.window import MIB

if TYPE_CHECKING:
    import onnx

LIMIT = 64 * MIB
# Rounds in which pairs are doubted; each goes through both graphs twice: without the doubted pairs, and as it is then.
MOST_DOUBTS = 3


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
    candidate's names. ``precision`` is what the candidate computes in: fp32, fp16, bf16 or int8. ``limit``: bytes of
    the tensors that one window makes, and of those that units take and make that are run side by side; weights come on
    top. Raises EngineError where the reference cannot be run, GraphError for a graph at odds with itself.
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

        A pair that neither values nor names tell of for sure, at a unit that departs, may be none: it is let go where
        the units that would then hold its nodes do not depart. A fault departs in a larger unit as well.
        """
        told = pairing(self.mine.side, self.theirs.side, self.precision)
        known, ends = told.to_other, set(self.mine.flow.outputs)
        found = self._compared(known, units(self.mine.flow, self.theirs.flow, known), {})
        for _ in range(MOST_DOUBTS):
            off = [one.unit for one in found.values() if one.departs]
            near = {name for unit in off for name in (unit.output, *(read for read, _ in unit.inputs))}
            wrong = self._wrong(known, [name for name in known if name in near & told.guessed - ends], found)
            if not wrong:
                break
            known = {mine: theirs for mine, theirs in known.items() if mine not in wrong}
            found = self._compared(known, units(self.mine.flow, self.theirs.flow, known), found)
        return list(found.values())

    def _wrong(self, known: Mapping[str, str], doubted: Sequence[str], found: Mapping[str, UnitFound]) -> set[str]:
        """Return the doubted pairs without which nothing departs; each is tried by itself."""
        larger: dict[str, list[Unit]] = {}
        for name in doubted:
            left = {mine: theirs for mine, theirs in known.items() if mine != name}
            takers = [one.unit.output for one in found.values() if name in dict(one.unit.inputs)]
            larger[name] = [unit_of(self.mine.flow, self.theirs.flow, left, taker) for taker in takers]
        tried = self._run(known, [unit for alternatives in larger.values() for unit in alternatives])
        departs = {one.unit: one.departs for one in tried}
        return {name for name, tries in larger.items() if tries and not any(departs[unit] for unit in tries)}

    def _compared(
        self, known: Mapping[str, str], wanted: Sequence[Unit], done: Mapping[str, UnitFound]
    ) -> dict[str, UnitFound]:
        """Return what is found by the unit's output; units that are ``done`` as they are now are not run again."""
        new = [unit for unit in wanted if unit.output not in done or done[unit.output].unit != unit]
        found = {one.unit.output: one for one in self._run(known, new)}
        return {unit.output: found.get(unit.output) or done[unit.output] for unit in wanted}

    def _run(self, known: Mapping[str, str], wanted: Sequence[Unit]) -> list[UnitFound]:
        comparing = Comparison(self.runtime, self.mine, self.theirs, known, wanted, self.precision, self.limit)
        found = comparing.run(self.progress)
        self.notes += comparing.notes
        return found
