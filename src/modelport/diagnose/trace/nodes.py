"""Two graphs compared node by node: which unit errs by itself, and which only hands on what others did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.errors import EngineError
from modelport.core.progress import SILENT, Bar, Progress
from modelport.core.values import Array
from modelport.diagnose.distance import Distance, distance
from modelport.diagnose.trace.bounds import NUDGE, Moves, Work, expected, work_of
from modelport.diagnose.trace.findings import NodesFound, Unit, UnitFound
from modelport.diagnose.trace.noise import NudgedConstants, nudged
from modelport.diagnose.trace.pairing import TRANSPARENT, Side, cone, pairs, units
from modelport.diagnose.trace.running import Bench, Walk, bench, floats, words_of
from modelport.diagnose.trace.sketch import Sketch, sketch
from modelport.model.graph.float16_twin import float32_twin, knows_float16
from modelport.model.graph.flow import Flow, Kind, Step
from modelport.model.graph.isolate import Edit, Piece, isolated
from modelport.model.graph.modules import module_of
from modelport.model.graph.quantizable import HEAVY
from modelport.model.graph.quantization_noise import Noise, is_quantized
from modelport.model.graph.window import MIB, size_of, windows

if TYPE_CHECKING:
    import onnx

LIMIT = 64 * MIB
MOST_STEPS = 64
FOLDED = frozenset({"BatchNormalization", "Add", "Sub", "Mul", "Div"})
NOWHERE = Distance(None, math.inf, math.inf)


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
        known = pairs(mine.side, theirs.side, precision)
        comparing = Comparison(runtime, mine, theirs, known, units(mine.flow, theirs.flow, known), precision, limit)
        found = comparing.run(progress)
    inside = {name for unit in comparing.units for name in unit.nodes}
    unpaired = [step.name for step in mine.flow.varying if step.name not in inside]
    notes = [f"node '{name}' cannot be run: {words}" for name, words in mine.failed.items()]
    return NodesFound(found, unpaired, tuple(dict.fromkeys([*notes, *comparing.notes])), runtime.runs)


@dataclass(slots=True)
class Graph:
    """One of the two graphs: as the file has it, and as it is run (float16 as float32 that is rounded)."""

    model: onnx.ModelProto
    flow: Flow
    runs: Flow
    feeds: Mapping[str, Array]
    kinds: Mapping[str, Kind]
    sketches: dict[str, Sketch] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)  # what the engine said, by node
    broken: dict[str, str] = field(default_factory=dict)  # by tensor, also those that hang on them

    @staticmethod
    def of(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Graph:
        """Return the graph, ready to be run on ``feeds``."""
        flow = Flow.of(model)
        twin = float32_twin(model) if knows_float16(model) else model
        runs = flow if twin is model else Flow.of(twin)
        names = {value.name for value in flow.inputs}
        cast = {name: _as_float32(array) if twin is not model else array for name, array in feeds.items()}
        own = {name: array for name, array in cast.items() if name in names}
        return Graph(model, flow, runs, own, runs.kinds(own))

    @property
    def side(self) -> Side:
        """What pairing takes, once the graph was looked through."""
        return Side.of(self.flow, self.sketches, self.broken)

    def walk(self, runtime: Bench, limit: int) -> Walk:
        """Return a walk through the graph from its inputs."""
        return Walk(self.runs, windows(self.runs, self.kinds, limit, MOST_STEPS), runtime, dict(self.feeds))

    def look(self, runtime: Bench, limit: int, bar: Bar) -> None:
        """Run the graph once and keep a sketch of every tensor."""
        ends = set(self.flow.outputs)
        made = {name for step in self.flow.varying for name in step.gives}
        wanted = frozenset(name for name in made if floats(self.kinds, name) or name in ends)
        self.sketches |= {name: sketch(array) for name, array in self.feeds.items()}
        walk = self.walk(runtime, limit)
        while not walk.ended:
            for name, array in walk.advance(wanted).items():
                if array.dtype.kind == "f" or name in ends:
                    self.sketches[name] = sketch(array)
            bar.advance()
        self.failed, self.broken = walk.failed, walk.broken


@dataclass(slots=True)
class Comparison:
    """Both graphs on their way in step, and each unit alone as soon as the reference's tensors for it are there."""

    runtime: Bench
    mine: Graph
    theirs: Graph
    known: Mapping[str, str]
    units: Sequence[Unit]
    precision: str
    limit: int
    notes: list[str] = field(default_factory=list)

    def run(self, progress: Progress) -> list[UnitFound]:
        """Return what was found of each unit, in the candidate's order."""
        mine, theirs = self.mine.walk(self.runtime, self.limit), self.theirs.walk(self.runtime, self.limit)
        wanted, wanted_there = frozenset(self.known), frozenset(self.known.values())
        have = {name: array for name, array in self.theirs.feeds.items() if name in wanted_there}
        last = {name: place for place, unit in enumerate(self.units) for name in _needs(unit)}
        place = {unit.output: number for number, unit in enumerate(self.units)}
        found: list[UnitFound] = []
        with progress.bar("comparing nodes", len(self.units), "nodes") as bar:
            while not mine.ended:
                steps = mine.windows[mine.done]
                values = mine.advance(wanted)
                due = [place[name] for step in steps for name in step.gives if name in place]
                needs = {name for number in due for name in _needs(self.units[number])}
                while not theirs.ended and not needs <= set(have):
                    have |= theirs.advance(wanted_there)
                due_units = [self.units[number] for number in due]
                found += self._compared(due_units, have, values)
                until = max(due, default=-1)
                have = {name: array for name, array in have.items() if last.get(name, -1) > until}
                bar.advance(len(due))
        return found

    def _compared(self, due: Sequence[Unit], have: Mapping[str, Array], values: Mapping[str, Array]) -> list[UnitFound]:
        pieces = [self._piece(unit, have) for unit in due]
        alone: dict[int, Array] = {}
        moves: dict[int, Moves] = {}
        for batch in _batches(pieces, self._size, self.limit):
            got = self._run(batch, [pieces[number] for number in batch])
            alone |= got
            wants = {number: have[due[number].reference_output] for number in got}
            again = [number for number in got if 0 < distance(got[number], wants[number]).rel_l2 < math.inf]
            quantized = [number for number in again if is_quantized(self.mine.runs, pieces[number].steps)]
            plain = [number for number in again if number not in quantized]
            moves |= self._sensitivities(plain, pieces, got)
            moves |= self._quantization(quantized, pieces, wants)
        return [
            self._found(unit, piece, have, values.get(unit.output), alone.get(number), moves.get(number, Moves()))
            for number, (unit, piece) in enumerate(zip(due, pieces, strict=True))
        ]

    def _piece(self, unit: Unit, have: Mapping[str, Array]) -> Piece:
        """Return the candidate's part of a unit, fed the reference's tensors."""
        stops = [name for name, _ in unit.inputs]
        steps, reads = cone(self.mine.runs, unit.output, stops)
        partner = dict(unit.inputs)
        fed = {name: have[partner[name]] if partner.get(name) else self.mine.feeds[name] for name in reads}
        return Piece(steps, {name: self._typed(name, array) for name, array in fed.items()}, unit.output)

    def _typed(self, name: str, array: Array) -> Array:
        from onnx import helper

        kind = self.mine.kinds.get(name)
        return array if kind is None or not kind.elem_type else array.astype(
            helper.tensor_dtype_to_np_dtype(kind.elem_type), copy=False
        )  # fmt: skip

    def _size(self, piece: Piece) -> int:
        made = sum(size_of(self.mine.kinds.get(name)) for step in piece.steps for name in step.gives)
        return made + sum(array.nbytes for array in piece.feeds.values())

    def _run(self, numbers: Sequence[int], pieces: Sequence[Piece]) -> dict[int, Array]:
        """Return each piece's result; a piece that fails has none, and what the engine said is noted."""
        try:
            return self._results(numbers, pieces)
        except EngineError as error:
            if len(pieces) > 1:
                middle = len(pieces) // 2
                first = self._run(numbers[:middle], pieces[:middle])
                return first | self._run(numbers[middle:], pieces[middle:])
            self.notes.append(f"'{pieces[0].output}' cannot be made of the reference's tensors: {words_of(error)}")
            return {}

    def _results(self, numbers: Sequence[int], pieces: Sequence[Piece], edit: Edit | None = None) -> dict[int, Array]:
        if not pieces:
            return {}
        model, feeds, outputs = isolated(self.mine.runs, pieces, edit)
        made = self.runtime.run(model, feeds)
        return {number: made[name] for number, name in zip(numbers, outputs, strict=True)}

    def _sensitivities(
        self, numbers: Sequence[int], pieces: Sequence[Piece], plain: Mapping[int, Array]
    ) -> dict[int, Moves]:
        """Run the pieces with inputs and weights moved at random, and return how much more their results move."""
        moved = [Piece(p.steps, nudged(p.feeds, NUDGE), p.output) for p in (pieces[number] for number in numbers)]
        try:
            made = self._results(numbers, moved, NudgedConstants(self.mine.runs, NUDGE))
        except EngineError:
            return {}  # each ran alone: an operator that minds the noise; taken to be neutral
        changes = {number: distance(array, plain[number]).rel_l2 / NUDGE for number, array in made.items()}
        return {number: Moves(sensitivity=change) for number, change in changes.items() if math.isfinite(change)}

    def _quantization(
        self, numbers: Sequence[int], pieces: Sequence[Piece], wants: Mapping[int, Array]
    ) -> dict[int, Moves]:
        """Run the pieces in floats, without and with half a step of noise, and return what the noise changes."""
        chosen = [pieces[number] for number in numbers]
        try:
            plain, noisy = (
                self._results(numbers, chosen, Noise(self.mine.runs, self.mine.kinds, share)) for share in (0.0, 1.0)
            )
        except EngineError:
            self.notes.append("some 8-bit operators cannot be run in floats: what their steps explain is not known")
            return {}
        found = {}
        for number, array in noisy.items():
            change = array.astype(np.float64) - plain[number]
            norm = float(np.linalg.norm(wants[number].astype(np.float64)))
            share = float(np.linalg.norm(change)) / (norm or 1.0)
            if math.isfinite(share):
                found[number] = Moves(quantization=share)
        return found

    def _found(
        self,
        unit: Unit,
        piece: Piece,
        have: Mapping[str, Array],
        whole: Array | None,
        alone: Array | None,
        moves: Moves,
    ) -> UnitFound:
        want = have[unit.reference_output]
        step, missing = about(self.mine.flow, self.theirs.flow, unit)
        other, _ = cone(self.theirs.runs, unit.reference_output, [name for _, name in unit.inputs])
        module = module_of(step.node, self.theirs.model.graph) if missing else self._module(step, other)
        work = work_of(self.mine.runs, piece.steps, self.mine.kinds)
        theirs = work_of(self.theirs.runs, other, self.theirs.kinds)
        both = Work(work.roundings + theirs.roundings, max(work.length, theirs.length))
        return UnitFound(
            unit,
            step.op,
            step.name,
            module,
            NOWHERE if alone is None else distance(alone, want),
            NOWHERE if whole is None else distance(whole, want),
            expected(both, self.precision, replace(moves, size=root_mean_square(want))),
        )

    def _module(self, step: Step, others: Sequence[Step]) -> str:
        """Return the module that a step came from: the reference tells, or its own graph."""
        alike = [other for other in others if other.op == step.op] or others
        told = (module_of(other.node, self.theirs.model.graph) for other in reversed(alike))
        return next((name for name in told if name), "") or module_of(step.node, self.mine.model.graph)


def about(mine: Flow, theirs: Flow, unit: Unit) -> tuple[Step, bool]:
    """Return the step that a unit is about, and whether it is one of the reference that the candidate has not.

    Where one side has an operator more and all the others alike, it is that; else the layer with the arithmetic; else
    the last one. What can be folded into a layer (a batch norm, a bias) is not missing beside one.
    """
    have, wanted = _plain_steps(mine, unit.nodes), _plain_steps(theirs, unit.reference_nodes)
    ops, their_ops = Counter(step.op for step in have), Counter(step.op for step in wanted)
    heavy = [step for step in have if step.op in HEAVY]
    added, missing = ops - their_ops, their_ops - ops
    if added and wanted and not missing:
        return next(step for step in reversed(have) if step.op in added), False
    if missing and not added and not (heavy and FOLDED.issuperset(missing)):
        return next(step for step in reversed(wanted) if step.op in missing), True
    if not have:
        return _steps(mine, unit.nodes)[-1], False
    return (heavy or [step for step in have if unit.output in step.gives] or have)[-1], False


def _steps(flow: Flow, names: Sequence[str]) -> list[Step]:
    wanted = set(names)
    return [step for step in flow.steps if step.name in wanted]


def _plain_steps(flow: Flow, names: Sequence[str]) -> list[Step]:
    """Return the steps of a unit that an input has a part in and that do more than to hand on."""
    return [
        step for step in _steps(flow, names) if step.op not in TRANSPARENT and not flow.fixed.issuperset(step.gives)
    ]


def _needs(unit: Unit) -> list[str]:
    return [unit.reference_output, *(name for _, name in unit.inputs if name)]


def _batches(pieces: Sequence[Piece], size: Callable[[Piece], int], limit: int) -> list[list[int]]:
    batches: list[list[int]] = []
    total = 0
    for number, piece in enumerate(pieces):
        own = size(piece)
        if not batches or total + own > limit:
            batches.append([])
            total = 0
        batches[-1].append(number)
        total += own
    return batches


def root_mean_square(array: Array) -> float:
    """Return the root mean square of a tensor; 0 for one without elements."""
    flat = array.astype(np.float64).ravel()
    return math.sqrt(float(flat @ flat) / flat.size) if flat.size else 0.0


def _as_float32(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array
