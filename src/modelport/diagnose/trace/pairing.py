"""Which tensor of one graph is which of another, whatever they are called and however operators are spelled."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from modelport.diagnose.trace.sides import TRANSPARENT, Side, by_shape, candidates
from modelport.diagnose.trace.sketch import apart
from modelport.diagnose.trace.units import cone
from modelport.diagnose.trace.weights import same_weights
from modelport.model.graph.flow import Step

# Their inputs may stand in any order.
COMMUTATIVE = frozenset({"Add", "Mul", "Max", "Min", "Sum", "Mean"})
# Values that are nearer than this, relative L2, are the same tensor's; by precision. A healthy port's whole error is
# mostly below it. What is not found so is found by names and structure.
NEAR = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1, "int8": 2e-1}
# Fewer elements are alike by chance.
FEWEST = 8
# Names tell where at least this share of the tensors that values have paired carry the same one.
NAMES_TELL = 0.6
# Values of this share of what is near are surely the same tensor's.
SURE = 0.1
# What another operator or name counts for among values that agree, in powers of ten of their distance.
OTHER_OPERATOR, OTHER_NAME = 0.7, 0.3


@dataclass(slots=True)
class Pairing:
    """Pairs found so far."""

    mine: Side  # the candidate's
    other: Side  # the reference's
    near: float
    to_other: dict[str, str] = field(default_factory=dict)
    to_mine: dict[str, str] = field(default_factory=dict)
    guessed: set[str] = field(default_factory=set)
    """The candidate's tensors that neither values nor names tell of for sure."""

    def pair(self, mine: str, other: str) -> bool:
        """Note a pair unless one of the two has another or holds no numbers; whether it is new."""
        if mine in self.to_other or other in self.to_mine or mine in self.mine.barred or other in self.other.barred:
            return False
        self.to_other[mine], self.to_mine[other] = other, mine
        return True

    def apart(self, mine: str, other: str) -> float | None:
        """Return the distance of two tensors, None where one of them was not seen."""
        got, want = self.mine.sketches.get(mine), self.other.sketches.get(other)
        return None if got is None or want is None else apart(got, want)

    def may(self, mine: str, other: str, *, strictly: bool = False) -> bool:
        """Whether two tensors are free and have as many axes, ``strictly`` of the same sizes, as far as that is known.

        Behind a fault tensors may have other sizes.
        """
        if mine in self.to_other or other in self.to_mine:
            return False
        got, want = self.mine.sketches.get(mine), self.other.sketches.get(other)
        if got is None or want is None:
            # Only what failed is unknown; the rest is no tensor of floats.
            return (got is not None or mine in self.mine.unseen) and (want is not None or other in self.other.unseen)
        return got.shape == want.shape if strictly else len(got.shape) == len(want.shape)

    def by_ends(self) -> None:
        """Pair inputs that were given the same values, and outputs by name, else by their place."""
        mine, other = (list(side.flow.inputs) for side in (self.mine, self.other))
        for one in mine:
            fits = [two for two in other if (far := self.apart(one.name, two.name)) is not None and far <= self.near]
            for two in sorted(fits, key=lambda value: value.name != one.name):
                if self.pair(one.name, two.name):
                    break
        ours, theirs = list(self.mine.flow.outputs), list(self.other.flow.outputs)
        for name in ours:
            if name in theirs:
                self.pair(name, name)
        left = [name for name in ours if name not in self.to_other]
        for one_name, two_name in zip(left, [name for name in theirs if name not in self.to_mine], strict=False):
            self.pair(one_name, two_name)

    def by_values(self, near: float) -> None:
        """Pair what agrees within ``near``: of several the nearest, the same name and operator first."""
        ours, theirs = by_shape(self.mine, self.to_other), by_shape(self.other, self.to_mine)
        found = []
        for shape, names in ours.items():
            others = theirs.get(shape, [])
            for one, two in candidates(self.mine.sketches, names, self.other.sketches, others, 2 * near):
                far = apart(self.mine.sketches[one], self.other.sketches[two])
                if far <= near and (one == two or math.prod(shape) >= FEWEST):
                    found.append((self._unlikely(one, two, far), one, two))
        for _, one, two in sorted(found):
            self.pair(one, two)
        self.drop_crossed()

    def _unlikely(self, mine: str, other: str, far: float) -> tuple[float, ...]:
        """Return what orders pairs that may be: the surest first."""
        (op, depth), (their_op, their_depth) = self.mine.base[mine], self.other.base[other]
        # What is nearer five times over is surer than what the same operator made.
        score = max(-3.0, math.log10(far / self.near)) if far else -3.0
        score += OTHER_OPERATOR * (op != their_op) + OTHER_NAME * (mine != other)
        share = self.mine.place(mine) / len(self.mine.flow.steps) - self.other.place(other) / len(self.other.flow.steps)
        return (score, abs(depth - their_depth), abs(share))

    def by_names(self) -> None:
        """Pair equal names of equal operators, where names tell."""
        paired = [(one, two) for one, two in self.to_other.items() if self.mine.base[one][0]]
        same = sum(one == two for one, two in paired)
        common = [name for name in self.mine.tensors if name in self.other.base]
        alike = sum(self.mine.base[name] == self.other.base[name] for name in common)
        told = same >= NAMES_TELL * len(paired) if len(paired) > 3 else alike >= NAMES_TELL * len(self.mine.tensors)
        if told:
            for name in common:
                op = self.mine.base[name][0]
                # An input of the same name may take something else: pixels.
                if op and (op == self.other.base[name][0] or self._folded(name)):
                    self.pair(name, name)

    def _folded(self, name: str) -> bool:
        """Whether a tensor is made by a layer here, and by the batch norm behind it there."""
        mine, other = self.mine.flow.maker.get(name), self.other.flow.maker.get(name)
        if mine is None or other is None or other.op != "BatchNormalization":
            return False
        return any(self.other.base[name][0] == mine.op for name in self.other.sources(other, {}))

    def by_weights(self) -> None:
        """Pair the results of layers that have the same weights."""
        for one, two in same_weights(
            self.mine.flow, self.other.flow, self._left(self.mine, self.to_other), self._left(self.other, self.to_mine)
        ):
            ours, theirs = self.mine.flow.maker[one], self.other.flow.maker[two]
            self._pair_results(ours, theirs, alike=True)

    def _left(self, side: Side, known: Mapping[str, str]) -> list[Step]:
        return [step for step in side.flow.varying if step.gives and step.gives[0] not in known]

    def by_structure(self) -> None:
        """Pair what is made alike of pairs, and what pairs are made of alike, until nothing more is found."""
        while (
            self._forward(alike=True)
            or self._backward(alike=True)
            # What reads a tensor tells more of one that another operator makes than what it is made of.
            or self._backward(alike=False)
            or self._forward(alike=False)
        ):
            pass

    def _forward(self, *, alike: bool) -> int:
        """Pair results of steps that read pairs alone, ``alike``: of one operator; return how many."""
        made = 0
        readers: dict[tuple[str, ...], list[Step]] = defaultdict(list)
        for step in self.other.flow.varying:
            if step.op not in TRANSPARENT:
                readers[tuple(sorted(self.other.sources(step, self.to_mine)))].append(step)
        for step in self.mine.flow.varying:
            if step.op in TRANSPARENT or all(name in self.to_other for name in step.gives):
                continue
            sources = self.mine.sources(step, self.to_other)
            if not sources or any(name not in self.to_other for name in sources):
                continue
            theirs = readers.get(tuple(sorted(self.to_other[name] for name in sources)), [])
            fits = [other for other in theirs if (step.op == other.op) >= alike]
            made += next(filter(None, (self._pair_results(step, other, alike) for other in fits)), 0)
        return made

    def _pair_results(self, mine: Step, other: Step, alike: bool) -> int:
        ours, theirs = self.mine.normalised(mine), self.other.normalised(other)
        if (ours is None) == (theirs is None):
            pairs = list(zip(mine.gives, other.gives, strict=False))
        else:
            # On one side the batch norm is folded into the layer.
            pairs = [(ours or mine.gives[0], theirs or other.gives[0])]
        return sum(self.may(one, two, strictly=not alike) and self.pair(one, two) for one, two in pairs)

    def _backward(self, *, alike: bool) -> int:
        """Pair what steps of one operator read whose results are a pair; return how many.

        ``alike``: where one operator made it on both sides.
        """
        made = 0
        for step in reversed(self.mine.flow.varying):
            partner = next((self.to_other[name] for name in step.gives if name in self.to_other), None)
            if partner is None or step.op in TRANSPARENT:
                continue
            other = self.other.flow.maker.get(self.other.root(partner, {}))
            if other is None or other.op != step.op:
                continue
            ours, theirs = self.mine.sources(step, self.to_other), self.other.sources(other, self.to_mine)
            if step.op in COMMUTATIVE:
                ours = [name for name in ours if name not in self.to_other]
                theirs = [name for name in theirs if name not in self.to_mine]
            if len(ours) != len(theirs):
                continue
            for one, two in zip(ours, theirs, strict=True):
                makers = self.mine.base[one][0], self.other.base[two][0]
                if (makers[0] == makers[1] or not alike) and self.may(one, two, strictly=not alike):
                    made += self.pair(one, two)
        return made

    def drop_crossed(self) -> None:
        """Let go of pairs that contradict each other: the one is made of the other here, and before it there.

        Of the two the one goes whose values are further apart.
        """
        ends = set(self.mine.flow.outputs)
        for name in list(self.to_other):
            if name not in self.to_other or self.mine.place(name) < 0:
                continue
            for read in cone(self.mine.flow, name, self.to_other)[1]:
                if read in self.to_other and self._after(read, name):
                    gone = max((read, name), key=lambda one: (one not in ends, self.far(one)))
                    del self.to_mine[self.to_other.pop(gone)]
                    if gone == name:
                        break

    def _after(self, read: str, name: str) -> bool:
        """Whether what is read here to make ``name`` is made after it, or as it, in the reference."""
        return self.other.place(self.to_other[read]) >= self.other.place(self.to_other[name])

    def far(self, name: str) -> float:
        """Return the distance of a paired tensor from its partner, infinite where one was not seen."""
        far = self.apart(name, self.to_other[name])
        return math.inf if far is None else far


def pairing(mine: Side, other: Side, precision: str) -> Pairing:
    """Return which tensor is which. ``precision`` says how near the values of a pair are."""
    found = Pairing(mine, other, NEAR[precision])
    found.by_ends()
    found.by_values(SURE * found.near)
    found.by_names()
    sure = {name for name, other in found.to_other.items() if name == other or found.far(name) <= SURE * found.near}
    found.by_values(found.near)
    found.by_weights()
    found.by_structure()
    found.drop_crossed()
    found.guessed = set(found.to_other) - sure
    return found
