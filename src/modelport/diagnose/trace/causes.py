"""Why a unit departs: what differs between the candidate's nodes and the reference's, or what its precision loses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.artifacts import digest_bytes
from modelport.core.text import plain, some
from modelport.core.values import Array, Tensors
from modelport.diagnose.trace.difference import SHOWN, Difference, Sides
from modelport.diagnose.trace.differences import differences
from modelport.diagnose.trace.eight_bits import lost_in_eight_bits, quantized_from_zero, without_relu
from modelport.diagnose.trace.findings import Culprit, Fix, NodesFound, Unit, UnitFound
from modelport.diagnose.trace.half_bits import Loss, absurd, lost_in_half
from modelport.diagnose.trace.reading import Operation, Reading
from modelport.diagnose.trace.weights_cause import Became

if TYPE_CHECKING:
    import onnx

FEWEST = 4  # elements that tell a tensor by its values
# What becomes of a tensor's values where another checkpoint was taken, and how many tensors, and what share, say so.
OTHERS = frozenset({"checkpoint", "random", "shuffled"})
FEWEST_OTHERS, SHARE_OTHERS = 3, 0.5
# Causes that the nodes themselves are, not what they say.
WHOLE = frozenset({"missing", "added", "operator"})
HALVES = frozenset({"fp16", "bf16"})
# What a culprit's ``kind`` may be, for the docs.
KINDS = {
    "attribute": "an attribute is another: pads, strides, axis, epsilon, a mode …",
    "operator": "another operator stands there",
    "missing": "an operator of the source is missing",
    "added": "an operator that the source does not have",
    "inputs": "its inputs are exchanged, or come from other tensors",
    "constant": "a constant is another: a shape, a scale, steps, a divisor …",
    "norm": "a batch norm was folded with another epsilon, or lost",
    "opset": "the operator means something else in this opset",
    "weights": "its weights are not the source's; the sentence says what became of them",
    "other_weights": "most weights of the graph are others: the same network, another checkpoint",
    "checkpoint": "a weight of absurd size in the source itself",
    "range": "values beyond or below what float16 holds, or clipped in 8 bits",
    "sensitive": "exponents, variances or differences, which need more digits than the precision has",
    "spelling": "the same, written in other operators, which round otherwise",
    "engine": "nothing differs in the graph: the engine computes the node otherwise",
    "stale": "a compiled file was made of another graph",
}


class Finder:
    """Tells the causes of the culprits of two graphs, which it reads once.

    ``precision`` is the candidate's: fp32, fp16, bf16, int8. ``units`` are all that the comparison found: they tell
    which tensors of the two graphs are the same.
    """

    def __init__(
        self,
        reference: onnx.ModelProto,
        candidate: onnx.ModelProto,
        precision: str,
        units: Iterable[UnitFound] = (),
    ) -> None:
        self.theirs = Reading(reference)
        self.mine = Reading(candidate)
        self.precision = precision
        self._one_graph = reference is candidate
        self.tensors = paired_tensors(units)
        self._by_values: dict[str, str] | None = None
        self._found: dict[Unit, list[Difference]] = {}

    def culprit(self, found: UnitFound, values: Tensors | None = None) -> Culprit:
        """Return the culprit with its cause and its repair.

        ``values`` are the reference's tensors by their names, as far as they are at hand (``tensors_of`` tells which
        help).
        """
        return self._with_weight(found, values or {})[0]

    def culprits(self, units: Iterable[UnitFound], values: Tensors | None = None) -> list[Culprit]:
        """Return the culprits in the order given; where most weights are others, one culprit says so for all."""
        told = [self._with_weight(found, values or {}) for found in self._rejoined(list(units))]
        others = [(culprit, hit) for culprit, hit in told if hit is not None and hit.kind in OTHERS]
        if len(others) < max(FEWEST_OTHERS, SHARE_OTHERS * self._weighted()):
            return [culprit for culprit, _ in told]
        joint = _other_weights([culprit for culprit, _ in others], [hit for _, hit in others])
        return [joint, *(culprit for culprit, hit in told if hit is None or hit.kind not in OTHERS)]

    def _rejoined(self, units: Sequence[UnitFound]) -> list[UnitFound]:
        """Return the units, neighbours as one where less differs in both together than in each.

        Behind a fault values no longer tell which tensor is which: where one graph spells an operator in one node and
        the other in several, the border between two units may be taken in their middle. Where nothing differs in both
        together, they are left out.
        """
        left = {found.unit.output: found for found in units}
        for output in list(left):
            reads = left[output].unit.inputs if output in left else ()
            for one in (name for name, _ in reads if name in left and name != output):
                first, second = left[one], left[output]
                apart = [self._differences(each.unit) for each in (first, second)]
                if not all(apart) or not any(hit.kind in WHOLE for hits in apart for hit in hits):
                    continue
                joined = replace(max(first, second, key=_excess), unit=self._joined(first.unit, second.unit))
                together = self._differences(joined.unit)
                # Weights that are like none of the source's say that the two are no unit of it.
                alien = any(hit.became is not None and hit.became.kind in OTHERS for hit in together)
                if sum(hit.size for hit in together) < sum(hit.size for hits in apart for hit in hits) and not alien:
                    del left[one]
                    left[output] = joined
                    if not together:
                        del left[output]
                    break
        return list(left.values())

    def _joined(self, first: Unit, second: Unit) -> Unit:
        flowing = dict.fromkeys((*first.inputs, *(pair for pair in second.inputs if pair[0] != first.output)))
        return Unit(
            second.output,
            second.reference_output,
            _in_order(self.mine, {*first.nodes, *second.nodes}),
            _in_order(self.theirs, {*first.reference_nodes, *second.reference_nodes}),
            tuple(flowing),
        )

    def _differences(self, unit: Unit) -> list[Difference]:
        """Return what differs in a unit; it is looked at once."""
        if unit not in self._found:
            tensors = self.tensors | {one: two for one, two in unit.inputs if two}
            sides = Sides(self.mine, self.theirs, tensors, self.precision, self._another)
            mine, theirs = self.mine.operations(unit.nodes, lowered=sides.lowered), self._theirs(unit)
            if self.precision == "int8" and quantized_from_zero(self.mine, unit.nodes):
                theirs = without_relu(mine, theirs)
            self._found[unit] = differences(sides, mine, theirs)
        return self._found[unit]

    def _theirs(self, unit: Unit) -> list[Operation]:
        return self.theirs.operations(unit.reference_nodes, lowered=self.precision != "fp32")

    def _weighted(self) -> int:
        """Return how many nodes of the source have weights of their own."""
        nodes = self.theirs.nodes.values()
        return sum(any(self.theirs.is_weight(tensor) for tensor in node.input) for node in nodes)

    def _with_weight(self, found: UnitFound, values: Tensors) -> tuple[Culprit, Became | None]:
        unit = found.unit
        theirs = self._theirs(unit)
        if hits := self._differences(unit):
            return _of_difference(found, theirs, hits), hits[0].became
        for operation in theirs:
            if (flaw := absurd(operation)) is not None:
                return _of_checkpoint(found, *flaw), None
        if self.precision == "int8":
            known = self.tensors | {one: two for one, two in unit.inputs if two} | {unit.output: unit.reference_output}
            roots = {self.mine.root(one): self.theirs.root(two) for one, two in known.items()}
            return _of_loss(found, theirs, lost_in_eight_bits(self.mine, unit.nodes, theirs, roots, values)), None
        if self.precision in HALVES:
            return _of_loss(found, theirs, lost_in_half(theirs, values, self.precision)), None
        return (_of_engine if self._one_graph else _of_spelling)(found), None

    def _another(self, array: Array) -> str:
        if array.size < FEWEST or not np.ptp(array):
            return ""  # such values are found anywhere
        if self._by_values is None:
            self._by_values = {_key(value): name for name, value in self.theirs.constants()}
        return plain(self._by_values.get(_key(array), ""), SHOWN)


def culprit_of(
    found: UnitFound,
    reference: onnx.ModelProto,
    candidate: onnx.ModelProto,
    precision: str,
    values: Tensors | None = None,
) -> Culprit:
    """Return one unit that departs with its cause; the arguments as ``Finder``'s and ``Finder.culprit``'s."""
    return Finder(reference, candidate, precision).culprit(found, values)


def culprits_of(
    found: NodesFound,
    reference: onnx.ModelProto,
    candidate: onnx.ModelProto,
    precision: str,
    values: Tensors | None = None,
) -> list[Culprit]:
    """Return all units that depart with their causes, those that depart furthest from what is explained first."""
    return Finder(reference, candidate, precision, found.units).culprits(found.departed, values)


def paired_tensors(units: Iterable[UnitFound]) -> dict[str, str]:
    """Return the reference's tensor by the candidate's, as the units tell."""
    known: dict[str, str] = {}
    for found in units:
        known |= {mine: theirs for mine, theirs in found.unit.inputs if theirs}
        known[found.unit.output] = found.unit.reference_output
    return known


def tensors_of(found: UnitFound) -> tuple[str, ...]:
    """Return the reference's tensors whose values tell what a lower precision loses of a unit."""
    return (*(theirs for _, theirs in found.unit.inputs if theirs), found.unit.reference_output)


def _of_difference(found: UnitFound, theirs: Sequence[Operation], hits: Sequence[Difference]) -> Culprit:
    first = hits[0]
    node = first.node or found.node
    why = (f"at '{plain(node, SHOWN)}': " if first.node and first.node != found.node else "") + first.sentence
    if len(hits) > 1:
        why += f"; and {hits[1].sentence}" + (f", and {len(hits) - 2} more" if len(hits) > 2 else "")
    if first.kind == "opset":
        fix = Fix("opset", first.mend, found.unit.nodes)
    elif first.narrow:
        names = tuple(operation.name for operation in theirs)
        lead = f"{first.mend}, or " if first.mend else ""
        fix = Fix("keep_in_float", f"{lead}keep {_quoted(names)} in float32 (a line of --plan)", names)
    else:
        fix = Fix("graft", f"as the source has it: {first.mend}", found.unit.nodes)
    return Culprit(replace(found, node=node, op=first.op or found.op), why, fix, first.kind)


def _of_checkpoint(found: UnitFound, tensor: str, flaw: str) -> Culprit:
    why = f"the source's own weight '{plain(tensor, SHOWN)}' is at fault, not the export: {plain(flaw, 200)}"
    return Culprit(
        found, why, Fix("checkpoint", "take another copy of the checkpoint, or an earlier one"), "checkpoint"
    )


def _of_loss(found: UnitFound, theirs: Sequence[Operation], loss: Loss) -> Culprit:
    names = tuple(operation.name for operation in theirs)
    fix = Fix("keep_in_float", f"keep {_quoted(names)} in float32 (a line of --plan)", names)
    return Culprit(found, loss.sentence, fix if names else Fix("none", ""), loss.kind)


def _of_engine(found: UnitFound) -> Culprit:
    error = f"{found.local.rel_l2:.2g} off where rounding explains {found.expected:.2g}"
    why = f"nothing differs in the graph: the engine computes {plain(found.op, SHOWN)} otherwise, {error} (relative L2)"
    fix = "run it without the engine's optimizations, or on another version of the engine, and compare"
    return Culprit(found, why, Fix("engine", fix), "engine")


def _of_spelling(found: UnitFound) -> Culprit:
    error = f"{found.local.rel_l2:.2g} off where rounding explains {found.expected:.2g}"
    why = f"its nodes say what the source's say, written otherwise, and round otherwise: {error} (relative L2)"
    return Culprit(found, why, Fix("graft", "write it as the source does", found.unit.nodes), "spelling")


def _other_weights(culprits: Sequence[Culprit], hits: Sequence[Became]) -> Culprit:
    """Return one culprit for all whose weights are another checkpoint's."""
    first = culprits[0]
    correlations = [hit.correlation for hit in hits if hit.correlation is not None]
    span = f", correlated {min(correlations):.2f} to {max(correlations):.2f} with the source's" if correlations else ""
    why = f"other weights, same network: those of {len(culprits)} nodes are others{span}"
    nodes = tuple(name for culprit in culprits for name in culprit.found.unit.nodes)
    fix = Fix("graft", "export the source's checkpoint again: the file was made from another", nodes)
    return Culprit(first.found, why, fix, "other_weights")


def _excess(found: UnitFound) -> float:
    return found.excess


def _in_order(reading: Reading, names: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in reading.nodes if name in names)


def _quoted(names: Sequence[str]) -> str:
    return some((f"'{plain(name, SHOWN)}'" for name in names), 3)


def _key(array: Array) -> str:
    return f"{array.size}:{digest_bytes(array.tobytes())}"
