"""Units of two graphs held against each other: each alone, fed the reference's tensors, and as the candidate runs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from modelport.core.errors import EngineError
from modelport.core.magnitude import root_mean_square
from modelport.core.progress import Progress
from modelport.core.values import Array
from modelport.diagnose.distance import NOWHERE, Distance, distance
from modelport.diagnose.trace.about import about
from modelport.diagnose.trace.bounds import MARGIN, NUDGE, ROOM, SLACK, Moves, Work, expected, work_of
from modelport.diagnose.trace.findings import Unit, UnitFound
from modelport.diagnose.trace.looking import Graph
from modelport.diagnose.trace.noise import NudgedConstants, nudged
from modelport.diagnose.trace.running import Bench, words_of
from modelport.diagnose.trace.units import cone
from modelport.model.graph.flow import Step
from modelport.model.graph.isolate import Edit, Piece, isolated
from modelport.model.graph.modules import module_of
from modelport.model.graph.quantization_noise import Noise, is_quantized
from modelport.model.graph.window import size_of


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
        wanted = frozenset(unit.output for unit in self.units)
        wanted_there = frozenset(name for unit in self.units for name in _needs(unit))
        have = {name: array for name, array in self.theirs.feeds.items() if name in wanted_there}
        left = Counter(name for unit in self.units for name in _needs(unit))
        places = defaultdict(list)
        for number, unit in enumerate(self.units):
            places[unit.output].append(number)
        found: list[UnitFound] = []
        with progress.bar("comparing nodes", len(self.units), "nodes") as bar:
            while len(found) < len(self.units):
                steps = mine.windows[mine.done]
                values = mine.advance(wanted)
                due = [number for step in steps for name in step.gives for number in places[name]]
                needs = {name for number in due for name in _needs(self.units[number])}
                while not theirs.ended and not needs <= set(have):
                    have |= theirs.advance(wanted_there)
                due_units = [self.units[number] for number in due]
                found += self._compared(due_units, have, values)
                left.subtract(name for number in due for name in _needs(self.units[number]))
                have = {name: array for name, array in have.items() if left[name] > 0}
                bar.advance(len(due))
        return found

    def _compared(self, due: Sequence[Unit], have: Mapping[str, Array], values: Mapping[str, Array]) -> list[UnitFound]:
        pieces = [self._piece(unit, have) for unit in due]
        found = []
        for batch in _batches(pieces, self._size, self.limit):
            got, failed = self._run(batch, [pieces[number] for number in batch])
            self._note("cannot be made of the reference's tensors", pieces, failed)
            wants = {number: have[due[number].reference_output] for number in batch}
            alone = {number: distance(array, wants[number]) for number, array in got.items()}
            again = [number for number, far in alone.items() if 0 < far.rel_l2 < math.inf]
            eight = again if self.precision == "int8" else []
            quantized = [number for number in eight if is_quantized(self.mine.runs, pieces[number].steps)]
            plain = [number for number in again if number not in quantized]
            moves = self._sensitivities(plain, pieces, got) | self._quantization(quantized, pieces, wants)
            for number in batch:
                unit, want = due[number], wants[number]
                whole = distance(values[unit.output], want) if unit.output in values else NOWHERE
                measured = replace(moves.get(number, Moves()), size=root_mean_square(want))
                found.append(self._found(unit, pieces[number], alone.get(number, NOWHERE), whole, measured))
        return found

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

    def _run(
        self, numbers: Sequence[int], pieces: Sequence[Piece], edit: Edit | None = None
    ) -> tuple[dict[int, Array], dict[int, str]]:
        """Return each piece's result, and of a piece that fails by itself what the engine said."""
        if not pieces:
            return {}, {}
        try:
            model, feeds, outputs = isolated(self.mine.runs, pieces, edit)
            made = self.runtime.run(model, feeds)
            return {number: made[name] for number, name in zip(numbers, outputs, strict=True)}, {}
        except EngineError as error:
            if len(pieces) == 1:
                return {}, {numbers[0]: words_of(error)}
        middle = len(pieces) // 2
        made_first, failed_first = self._run(numbers[:middle], pieces[:middle], edit)
        made_last, failed_last = self._run(numbers[middle:], pieces[middle:], edit)
        return made_first | made_last, failed_first | failed_last

    def _note(self, what: str, pieces: Sequence[Piece], failed: Mapping[int, str]) -> None:
        self.notes += [f"'{pieces[number].output}' {what}: {words}" for number, words in failed.items()]

    def _sensitivities(
        self, numbers: Sequence[int], pieces: Sequence[Piece], plain: Mapping[int, Array]
    ) -> dict[int, Moves]:
        """Run the pieces with inputs and weights moved at random, and return how much more their results move."""
        moved = [Piece(p.steps, nudged(p.feeds, NUDGE), p.output) for p in (pieces[number] for number in numbers)]
        made, failed = self._run(numbers, moved, NudgedConstants(self.mine.runs, NUDGE))
        self._note(
            "cannot be made of tensors that are moved, and is taken to be as sensitive as they are", pieces, failed
        )
        changes = {number: distance(array, plain[number]).rel_l2 / NUDGE for number, array in made.items()}
        return {number: Moves(sensitivity=change) for number, change in changes.items() if math.isfinite(change)}

    def _quantization(
        self, numbers: Sequence[int], pieces: Sequence[Piece], wants: Mapping[int, Array]
    ) -> dict[int, Moves]:
        """Run the pieces in floats, with and without the noise and the edges of 8 bits: what do these change?"""
        chosen = [pieces[number] for number in numbers]
        (plain, failed), (noisy, failed_noisy) = (
            self._run(numbers, chosen, Noise(self.mine.runs, self.mine.kinds, share, room))
            for share, room in ((0.0, ROOM), (MARGIN["int8"] / SLACK, 0.0))
        )
        self._note("cannot be run in floats, and what its 8 bits explain is not known", pieces, failed | failed_noisy)
        found = {}
        for number in plain.keys() & noisy.keys():
            change = noisy[number].astype(np.float64) - plain[number]
            share = root_mean_square(change) / (root_mean_square(wants[number]) or 1.0)
            if math.isfinite(share):
                found[number] = Moves(quantization=share)
        return found

    def _found(self, unit: Unit, piece: Piece, alone: Distance, whole: Distance, moves: Moves) -> UnitFound:
        step, missing = about(self.mine.flow, self.theirs.flow, unit, self.precision == "fp32")
        other = self._their_steps(unit)
        module = module_of(step.node, self.theirs.model.graph) if missing else self._module(step, other)
        work = work_of(self.mine.runs, piece.steps, self.mine.kinds)
        theirs = work_of(self.theirs.runs, other, self.theirs.kinds)
        both = Work(work.roundings + theirs.roundings, max(work.length, theirs.length))
        return UnitFound(unit, step.op, step.name, module, alone, whole, expected(both, self.precision, moves))

    def _their_steps(self, unit: Unit) -> list[Step]:
        """Return the steps of the reference's part as they are run."""
        steps = self.theirs.flow.steps_named(unit.reference_nodes)
        inside = {name for step in steps for name in step.gives}
        stops = {name for step in steps for name in step.reads} - inside
        return cone(self.theirs.runs, unit.reference_output, stops)[0]

    def _module(self, step: Step, others: Sequence[Step]) -> str:
        """Return the module that a step came from: the reference tells, or its own graph."""
        alike = [other for other in others if other.op == step.op] or others
        told = (module_of(other.node, self.theirs.model.graph) for other in reversed(alike))
        return next((name for name in told if name), "") or module_of(step.node, self.mine.model.graph)


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
