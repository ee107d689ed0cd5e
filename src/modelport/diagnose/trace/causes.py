"""Why a unit departs: what differs between the candidate's nodes and the reference's, or what its precision loses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.artifacts import digest_bytes
from modelport.core.text import plain
from modelport.core.values import Array, Tensors
from modelport.diagnose.trace.differences import SHOWN, Difference, Sides, differences
from modelport.diagnose.trace.findings import Culprit, Fix, UnitFound
from modelport.diagnose.trace.reading import Reading

if TYPE_CHECKING:
    import onnx

FEWEST = 4  # elements that tell a tensor by its values
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
    "engine": "nothing differs in the graph: the engine computes the node otherwise",
}


class Finder:
    """Tells the causes of the culprits of two graphs, which it reads once."""

    def __init__(
        self,
        reference: onnx.ModelProto,
        candidate: onnx.ModelProto,
        precision: str,
        *,
        tensors: Mapping[str, str] | None = None,
        absurd: Mapping[str, str] | None = None,
    ) -> None:
        self.theirs = Reading(reference)
        self.mine = Reading(candidate)
        self.precision = precision
        self.tensors = tensors or {}
        self.absurd = absurd or {}
        self._by_values: dict[str, str] | None = None

    def culprit(self, found: UnitFound, values: Tensors | None = None, got: Array | None = None) -> Culprit:
        """Return the culprit with its cause and its repair."""
        unit = found.unit
        sides = Sides(self.mine, self.theirs, {**self.tensors, **dict(unit.inputs)}, self.precision, self._another)
        mine = self.mine.operations(unit.nodes, lowered=sides.lowered)
        theirs = self.theirs.operations(unit.reference_nodes, lowered=sides.lowered)
        blamed = [name for one in theirs for name in one.constants.values() if name in self.absurd]
        if blamed:
            return self._checkpoint(found, blamed[0])
        hits = differences(sides, mine, theirs)
        if hits:
            return _of_difference(found, hits)
        return Culprit(found, "nothing differs in the graph", Fix("engine", ""), "engine")

    def _checkpoint(self, found: UnitFound, tensor: str) -> Culprit:
        why = f"the source's own weight '{plain(tensor, SHOWN)}' is at fault: {plain(self.absurd[tensor], 200)}"
        fix = Fix("checkpoint", "give another copy of the checkpoint; the export keeps what it holds")
        return Culprit(found, why, fix, "checkpoint")

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
    *,
    tensors: Mapping[str, str] | None = None,
    values: Tensors | None = None,
    got: Array | None = None,
    absurd: Mapping[str, str] | None = None,
) -> Culprit:
    """Return one unit that departs with its cause."""
    return Finder(reference, candidate, precision, tensors=tensors, absurd=absurd).culprit(found, values, got)


def _of_difference(found: UnitFound, hits: Sequence[Difference]) -> Culprit:
    first = hits[0]
    node = first.node or found.node
    lead = f"at '{plain(node, SHOWN)}': " if first.node and first.node != found.node else ""
    why = f"{lead}{first.sentence}"
    if len(hits) > 1:
        why += f"; and {hits[1].sentence}" + (f", and {len(hits) - 2} more" if len(hits) > 2 else "")
    kind = "opset" if first.kind == "opset" else "graft"
    fix = Fix("opset" if kind == "opset" else "graft", first.mend, found.unit.nodes)
    told = replace(found, node=node, op=first.op or found.op)
    return Culprit(told, why, fix, first.kind)


def _key(array: Array) -> str:
    return f"{array.size}:{digest_bytes(array.tobytes())}"
