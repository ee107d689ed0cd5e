"""What a planted fault is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import onnx

Family = Literal["graph", "weights", "input", "preprocessing", "labels"]


@dataclass(frozen=True, slots=True)
class Planted:
    """A copy of a graph with one fault. ``where`` is the node that a trace should name.

    ``places`` are the names that tell the same place: that node, those that were put before or behind it, and those
    that take what it made where it was taken away, or where its outputs were exchanged.
    """

    graph: onnx.ModelProto
    where: str
    about: str  # what was done: "pads [1,1,1,1] became [0,0,2,2]"
    places: frozenset[str]


@dataclass(frozen=True, slots=True)
class GraphFault:
    """A kind of fault in an ONNX graph or in its weights, planted at a node and in a size."""

    kind: str
    family: Family
    sizes: Sequence[float]  # from barely to plainly visible; a fault without a size has (1.0,)
    places: Callable[[onnx.ModelProto], Sequence[str]]
    """The names of the nodes where it can be planted, in the graph's order."""
    plant: Callable[[onnx.ModelProto, str, float, np.random.Generator], Planted]
    """(graph, place, size, random numbers) → a changed copy; the graph given is left as it is."""


@dataclass(frozen=True, slots=True)
class FaultFound:
    """What became of one planted fault; a row of power.json."""

    kind: str
    where: str
    size: float
    noticed: bool
    drop: float | None = None  # of the deciding metric, in the tolerance's unit
    by: str = ""  # the check, or the error, that noticed it

    def to_json(self) -> dict[str, Any]:
        """Return it as power.json holds it."""
        told = {"kind": self.kind, "where": self.where, "size": self.size, "noticed": self.noticed}
        return told | {"drop": self.drop, "by": self.by}
