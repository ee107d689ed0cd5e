"""Some neighbouring nodes of a graph as a model of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from modelport.core.values import Array
from modelport.model.graph.flow import Flow, Kind, Step, captures, given

if TYPE_CHECKING:
    import onnx

MIB = 1024 * 1024
# What a tensor counts for whose size inference does not tell.
UNKNOWN = 4 * MIB


def windows(flow: Flow, kinds: Mapping[str, Kind], limit: int, most: int) -> list[list[Step]]:
    """Cut the steps that an input has a part in into pieces of neighbours.

    The tensors made in a piece have at most ``limit`` bytes, but for a single step that makes more, and a piece has at
    most ``most`` steps. What is no tensor (a sequence) does not live across a border, and of what inference knows no
    size of, ``UNKNOWN`` bytes count. Weights are not counted: ``limit`` does not bound the size of a piece's model.
    """
    pieces: list[list[Step]] = []
    last = {name: takers[-1].index for name, takers in flow.takers.items()}
    size, until = 0, -1  # until: the step that the last value reaches that is no tensor
    for step in flow.varying:
        own = sum(size_of(kinds.get(name)) for name in step.gives)
        full = bool(pieces) and (size + own > limit or len(pieces[-1]) >= most)
        if not pieces or (full and step.index > until):
            pieces.append([])
            size = 0
        pieces[-1].append(step)
        size += own
        for name in step.gives:
            if name in kinds and not kinds[name].is_tensor:
                until = max(until, last.get(name, -1))
    return pieces


def size_of(kind: Kind | None) -> int:
    """Return the bytes of a tensor as far as they are known."""
    known = None if kind is None else kind.size
    return UNKNOWN if known is None else known


def window_model(flow: Flow, steps: Sequence[Step], feeds: Mapping[str, Array], outputs: Iterable[str]) -> Any:
    """Return the model of some steps: ``feeds`` are its inputs, ``outputs`` the names of what it gives.

    What the steps read of constants, and what is computed of these alone, is inside.
    """
    nodes = [step.node for step in (*flow.behind_constants(steps), *steps)]
    return model_of(flow, nodes, feeds, outputs)


def model_of(
    flow: Flow,
    nodes: Sequence[Any],
    feeds: Mapping[str, Array],
    outputs: Iterable[str],
    constants: Mapping[str, onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    """Return a model of these nodes; ``constants`` take the place of the flow's own of the same names."""
    from onnx import helper

    read = {name for node in nodes for name in (*node.input, *captures(node))}
    own = {**flow.constants, **(constants or {})}
    graph = helper.make_graph(
        nodes,
        "window",
        [given(name, array) for name, array in feeds.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [own[name] for name in own if name in read],
    )
    return helper.make_model(graph, opset_imports=flow.opsets, ir_version=flow.ir_version)
