"""One of two graphs whose tensors are to be paired: what made each, what flows into it, and what it looks like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from modelport.diagnose.trace.sketch import Sketch
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.quantizable import HEAVY

# They hand a tensor on: what comes out is what went in, rounded at most.
TRANSPARENT = frozenset({"Identity", "Dropout", "Cast", "CastLike", "QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True)
class Side:
    """One graph with what a run of it gave."""

    flow: Flow
    sketches: Mapping[str, Sketch]
    unseen: frozenset[str]  # tensors that could not be made
    base: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """By tensor, the operator that made it and how many that hand on lie behind that."""
    barred: frozenset[str] = frozenset()  # what holds no numbers (text, sequences): it cannot be compared

    @staticmethod
    def of(flow: Flow, sketches: Mapping[str, Sketch], unseen: Iterable[str], barred: Iterable[str] = ()) -> Side:
        """Return the side of a graph. Of what was neither seen nor ``unseen`` (whole numbers) only names tell."""
        base: dict[str, tuple[str, int]] = {value.name: ("", 0) for value in flow.inputs}
        for step in flow.varying:
            first = next((name for name in step.reads if name in base), None)
            hands_on = step.op in TRANSPARENT and first is not None
            for name in step.gives:
                base[name] = (base[first][0], base[first][1] + 1) if hands_on and first else (step.op, 0)
        return Side(flow, sketches, frozenset(unseen), base, frozenset(barred))

    @property
    def tensors(self) -> list[str]:
        """What can be paired: the inputs, and what steps make, in order."""
        made = [name for step in self.flow.varying for name in step.gives]
        return [*(value.name for value in self.flow.inputs), *made]

    def place(self, name: str) -> int:
        """Return where in the order a tensor is made; −1 for an input."""
        step = self.flow.maker.get(name)
        return -1 if step is None else step.index

    def root(self, name: str, known: Mapping[str, str]) -> str:
        """Go up from a tensor over what hands on, to one that is paired or made by an operator."""
        while name not in known and (step := self.flow.maker.get(name)) is not None and step.op in TRANSPARENT:
            before = next((read for read in step.reads if read not in self.flow.fixed), None)
            if before is None:
                break
            name = before
        return name

    def normalised(self, step: Step) -> str | None:
        """Return what a batch norm makes of a result, None where there is none or it is not alone to take it."""
        takers = [taker for name in step.gives for taker in self.flow.takers.get(name, ())]
        if step.op not in HEAVY or len(takers) != 1 or takers[0].op != "BatchNormalization":
            return None
        return takers[0].gives[0]

    def sources(self, step: Step, known: Mapping[str, str]) -> list[str]:
        """Return the tensors that vary and flow into a step, each seen over what hands on."""
        return [self.root(name, known) for name in step.node.input if name and name not in self.flow.fixed]


def by_shape(side: Side, paired: Mapping[str, str]) -> dict[tuple[int, ...], list[str]]:
    """Return the tensors that are not paired, were seen and are not zero everywhere, by shape."""
    found = defaultdict(list)
    for name in (name for name in side.tensors if name not in paired):
        known = side.sketches.get(name)
        if known is not None and known.values.size and known.norm and np.isfinite(known.values).all():
            found[known.shape].append(name)
    return found


def candidates(
    mine: Mapping[str, Sketch], ours: Sequence[str], other: Mapping[str, Sketch], theirs: Sequence[str], near: float
) -> Iterator[tuple[str, str]]:
    """Yield the pairs of tensors of one shape that may be within ``near`` of each other."""
    if not ours or not theirs:
        return
    one, two = (np.stack([known[name].values for name in names]) for known, names in ((mine, ours), (other, theirs)))
    squares = (one**2).sum(1)[:, None] + (two**2).sum(1)[None, :] - 2 * one @ two.T
    norms = np.array([other[name].norm for name in theirs])
    # The difference of large squares is rounded in float64.
    allowed = (near * norms) ** 2 * one.shape[1] + 1e-12 * (two**2).sum(1)
    for row, column in zip(*np.nonzero(squares <= allowed[None, :]), strict=True):
        yield ours[row], theirs[column]
