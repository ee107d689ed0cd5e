"""Answers given while runs were timed, held against those of a calm run: the speed of wrong answers is no speed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from modelport.core.values import Array, Check, Tensors
from modelport.engines.base import Runner
from modelport.engines.row_check import difference
from modelport.measure.timing import Clock

NAME = "timed_answers"
WHY_NOT = "answers given while timing are not those of a calm run"
# Answers that are held of one measurement, by all workers together; each worker holds one at least.
ANSWERS = 16
# Values of one output that are held: all of a classifier's, some of a mask's. Copying more would show in the clocks.
VALUES = 65_536
# Calm runs take this share of the measurement's time, but for the first.
SHARE = 0.1
# The same runner on the same input differs by no more than sums in another order (atomic additions, other threads), as
# a share of the largest output: some hundred units of rounding in float32, ten in the shorter formats, and in int8 a
# value that falls on the other side of a rounding, by one of 127 steps.
TOLERATED = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 4e-2, "int8": 1e-2}


@dataclass(frozen=True, slots=True)
class Held:
    """Which buffer a run was given, and a part of its answer: by output up to VALUES values, flat."""

    buffer: int
    part: dict[str, Array]


@dataclass(slots=True)
class Reservoir:
    """A few of one worker's runs, each of them as likely as any other, however many there will be.

    Vitter's algorithm R (ACM Trans. Math. Softw. 11 (1985) 37): of n runs about size · (1 + log(n / size)) are copied.
    """

    size: int
    rng: random.Random
    held: list[Held] = field(default_factory=list)
    seen: int = 0

    @staticmethod
    def of(answers: int, worker: int, workers: int, seed: int) -> Reservoir:
        """Return a worker's share of so many answers; of none where ``answers`` is 0."""
        size = max(1, answers // workers) if answers else 0
        return Reservoir(size, random.Random(f"{seed} {worker}"))

    def offer(self, buffer: int, outputs: Tensors) -> None:
        """Keep a copy of a part of this answer, or not. The arrays may be written again by a careless engine."""
        if not self.size:
            return
        place = self.seen if self.seen < self.size else self.rng.randrange(self.seen + 1)
        self.seen += 1
        if place >= self.size:
            return
        held = Held(buffer, part_of(outputs))
        if place < len(self.held):
            self.held[place] = held
        else:
            self.held.append(held)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the comparison found."""

    held: int  # those compared
    differ: int
    worst: float  # largest difference over the largest output; infinite where the finite values are not the same ones
    tolerated: float

    def to_json(self) -> dict[str, int | float | None]:
        """Return what the result of ``bench`` holds at a point; ``worst`` None where it is infinite."""
        worst = self.worst if self.worst < float("inf") else None
        return {"held": self.held, "differ": self.differ, "worst": worst, "tolerated": self.tolerated}

    @property
    def why(self) -> str:
        """What to say where any differs; nothing where none does."""
        found = f"{self.differ} of {self.held} held differ, by up to {self.worst:.3g} of the largest output"
        return f"{WHY_NOT}: {found}" if self.differ else ""


def against_calm(
    runner: Runner, buffers: Sequence[Tensors], held: Sequence[Held], seconds: float, clock: Clock
) -> Answers:
    """Run the inputs of what was held again, one at a time, and compare. Raises what the runner raises.

    ``seconds`` are those of the measurement: after SHARE of them no further input is run, and what was held of it is
    not counted.
    """
    tolerated = TOLERATED.get(runner.precision, TOLERATED["fp32"])
    differences, start = list[float](), clock()
    for buffer in dict.fromkeys(one.buffer for one in held):
        if differences and clock() - start > SHARE * seconds * 1e9:
            break
        calm = part_of(runner.run(buffers[buffer]))
        differences += [_largest(one.part, calm) for one in held if one.buffer == buffer]
    # NaN is no number that is small enough.
    differ = sum(not found <= tolerated for found in differences)
    return Answers(len(differences), differ, max(differences, default=0.0), tolerated)


def check_of(points: Iterable[Answers]) -> Check:
    """Return what all points of one result, one at least, say together."""
    found = list(points)
    worst = max(one.worst for one in found)
    whole = Answers(sum(one.held for one in found), sum(one.differ for one in found), worst, found[0].tolerated)
    why = whole.why or "the answers held while timing are those of a calm run"
    return Check(NAME, "fail" if whole.differ else "pass", whole.to_json()["worst"], whole.tolerated, why)


def part_of(outputs: Tensors) -> dict[str, Array]:
    """Return a copy of each output, flat: of one with more than VALUES values, evenly many up to that."""
    return {name: array.flat[:: -(-array.size // VALUES) or 1].copy() for name, array in outputs.items()}


def _largest(got: Tensors, calm: Tensors) -> float:
    """Return the largest difference of all outputs; infinite where they have not the same sizes."""
    if any(got[name].shape != calm[name].shape for name in calm):
        return float("inf")
    return max((difference(got[name], calm[name]) for name in calm if calm[name].size), default=0.0)
