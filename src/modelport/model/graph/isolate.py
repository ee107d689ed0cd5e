"""Pieces of a graph side by side in one model, none fed by another: each has inputs and an output of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from modelport.core.values import Array
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.window import model_of

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Piece:
    """Steps that make ``output`` of ``feeds``, by the graph's own names."""

    steps: Sequence[Step]  # in order
    feeds: Mapping[str, Array]
    output: str


class Edit(Protocol):
    """What changes single nodes; its constants are complete once it was asked of all."""

    @property
    def constants(self) -> Mapping[str, onnx.TensorProto]:
        """Constants that take the place of the graph's, or are added."""

    def __call__(self, node: Any, original: Any) -> list[Any]:
        """Return what stands in the place of ``node``, a copy of ``original`` with other names of tensors."""


def isolated(
    flow: Flow,
    pieces: Sequence[Piece],
    edit: Edit | None = None,
) -> tuple[onnx.ModelProto, dict[str, Array], list[str]]:
    """Return the model of the pieces, its inputs, and the name of each piece's output.

    Every tensor has the number of its piece before its name. What is computed of constants alone stands there once.
    ``edit`` says what stands in the place of each node.
    """
    constant = flow.behind_constants([step for piece in pieces for step in piece.steps])
    nodes = [(renamed(step.node, {}), step.node) for step in constant]
    feeds: dict[str, Array] = {}
    outputs = []
    for number, piece in enumerate(pieces):
        own = {*piece.feeds, *(name for step in piece.steps for name in step.gives)}
        names = {name: f"{number}/{name}" for name in own}
        nodes += [(renamed(step.node, names, f"{number}/"), step.node) for step in piece.steps]
        feeds |= {names[name]: array for name, array in piece.feeds.items()}
        outputs.append(names[piece.output])
    if edit is None:
        return model_of(flow, [node for node, _ in nodes], feeds, outputs), feeds, outputs
    edited = [node for renamed_node, original in nodes for node in edit(renamed_node, original)]
    return model_of(flow, edited, feeds, outputs, edit.constants), feeds, outputs


def renamed(node: Any, names: Mapping[str, str], prefix: str = "") -> Any:
    """Return a copy of a node, what its subgraphs take from outside included, with other names of tensors."""
    made = copy.deepcopy(node)
    made.name = prefix + made.name
    _rename(made, names)
    return made


def _rename(node: Any, names: Mapping[str, str]) -> None:
    for place, name in enumerate(node.input):
        node.input[place] = names.get(name, name)
    for place, name in enumerate(node.output):
        node.output[place] = names.get(name, name)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own.update(name for inner in graph.node for name in inner.output)
            outer = {name: new for name, new in names.items() if name not in own}
            for inner in graph.node:
                _rename(inner, outer)
            for value in graph.output:
                value.name = outer.get(value.name, value.name)
