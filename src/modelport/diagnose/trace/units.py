"""The units of two graphs: the nodes between tensors that both have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from modelport.diagnose.trace.findings import Unit
from modelport.model.graph.flow import Flow, Step


def cone(flow: Flow, output: str, stops: Iterable[str]) -> tuple[list[Step], list[str]]:
    """Return the steps that make ``output`` of ``stops`` and of the graph's inputs, in order, and which of these.

    Steps that compute of constants alone are left out.
    """
    borders = set(stops) - {output}
    found: dict[int, Step] = {}
    reads: dict[str, None] = {}
    ahead = [output]
    while ahead:
        name = ahead.pop()
        step = flow.maker.get(name)
        if step is None or name in borders:
            if name not in flow.fixed:
                reads[name] = None
        elif name not in flow.fixed and step.index not in found:
            found[step.index] = step
            ahead += step.reads
    return [found[index] for index in sorted(found)], list(reads)


def units(mine: Flow, other: Flow, known: Mapping[str, str]) -> list[Unit]:
    """Return the units between the pairs, in the candidate's order. A pair that is an input on both sides is none."""
    made = [name for step in mine.varying for name in step.gives if name in known]
    return [unit_of(mine, other, known, output) for output in made]


def unit_of(mine: Flow, other: Flow, known: Mapping[str, str], output: str) -> Unit:
    """Return the unit that makes ``output``, one of the candidate's tensors that are paired."""
    steps, reads = cone(mine, output, known)
    other_steps, _ = cone(other, known[output], known.values())
    inputs = tuple((name, known.get(name, "")) for name in reads)
    return Unit(output, known[output], _names(mine, steps), _names(other, other_steps), inputs)


def _names(flow: Flow, steps: Sequence[Step]) -> tuple[str, ...]:
    whole = {step.index: step for step in (*flow.behind_constants(steps), *steps)}
    return tuple(whole[index].name for index in sorted(whole))
