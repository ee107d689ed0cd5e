"""What a trace finds: units of two graphs with their errors, culprits with their cause and repair, stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from modelport.diagnose.distance import Distance

SCHEMA = "modelport.trace/1"


@dataclass(frozen=True, slots=True)
class Unit:
    """The part of a graph between tensors that both graphs have: the smallest piece that can be compared.

    Mostly it is one node; more where one graph spells out what the other has in one operator, or adds casts and
    quantization around it.
    """

    output: str  # the candidate's tensor
    reference_output: str
    nodes: tuple[str, ...]  # of the candidate, in its order; names are made where the file has none (``name_nodes``)
    reference_nodes: tuple[str, ...]
    inputs: tuple[tuple[str, str], ...]  # (candidate's tensor, reference's tensor) that flow in; constants are not


@dataclass(frozen=True, slots=True)
class UnitFound:
    """One unit with its two errors, as relative L2 distances from the reference's tensor.

    ``local``: the unit alone, fed the reference's inputs. ``accumulated``: from the real inputs of the model.
    """

    unit: Unit
    op: str  # the operator of the node that the unit is about
    node: str  # that node's name; one of the reference's where the candidate lacks a node and has all the others
    module: str  # the PyTorch module that it came from, empty where the graph does not tell
    local: Distance
    accumulated: Distance
    expected: float  # the relative L2 error that the precision explains of the unit alone

    @property
    def departs(self) -> bool:
        """Whether its own error is more than its precision explains."""
        # NaN compares false: ask for what is good.
        return not self.local.rel_l2 <= self.expected

    @property
    def excess(self) -> float:
        """How many times what is explained its own error is."""
        return self.local.rel_l2 / self.expected if self.expected else math.inf


@dataclass(frozen=True, slots=True)
class Fix:
    """What would mend a culprit. ``sentence`` is for people; the rest is for ``trace --apply``."""

    kind: Literal["graft", "keep_in_float", "checkpoint", "opset", "engine", "none"]
    """graft: take the source's own nodes and weights in place of the unit's; keep_in_float: the node stays in
    float32; the others are said and not applied."""
    sentence: str
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Culprit:
    """One node whose own error is more than its precision explains, with the cause that was found."""

    found: UnitFound
    why: str
    fix: Fix
    kind: str = "unknown"  # the cause in a word: attribute, weights, operator, missing, added, constant, range, …

    def to_json(self) -> dict[str, Any]:
        """Return it as trace.json holds it."""
        return {
            "node": self.found.node,
            "op": self.found.op,
            "module": self.found.module,
            "local_error": _number(self.found.local.rel_l2),
            "accumulated_error": _number(self.found.accumulated.rel_l2),
            "expected_error": _number(self.found.expected),
            "kind": self.kind,
            "why": self.why,
            "fix": self.fix.sentence,
        }


@dataclass(frozen=True, slots=True)
class StageFound:
    """One stage of the port against the source, on the same samples."""

    name: str  # source, onnx, fp16, int8, uint8, or the engine's name
    metric: Mapping[str, Any]  # {"name", "value", "source", "n", "flips"}
    tensors: Distance
    expected: float  # the relative L2 error of the outputs that the precision explains
    verdict: Literal["pass", "fail", "inconclusive"]
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as trace.json holds it."""
        return {
            "name": self.name,
            "metric": dict(self.metric),
            "tensors": self.tensors.to_json(),
            "expected_error": _number(self.expected),
            "verdict": self.verdict,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class NodesFound:
    """What comparing two graphs node by node gave; ``units`` in the candidate's order."""

    units: Sequence[UnitFound]
    unpaired: Sequence[str] = ()  # nodes of the candidate that are in no unit
    notes: Sequence[str] = ()
    runs: int = 0  # engine runs that it took

    @property
    def departed(self) -> list[UnitFound]:
        """The units whose own error is more than explained, those that depart furthest from the bound first.

        Of several units about one node (one that was put in before two others, or that has two results) one is told.
        """
        found: dict[str, UnitFound] = {}
        for unit in sorted((unit for unit in self.units if unit.departs), key=lambda unit: -unit.excess):
            found.setdefault(unit.node, unit)
        return list(found.values())


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
