"""Healthy ports: the same network written otherwise, as exporters, simplifiers and converters do. None is a fault."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.rewriting import REWRITTEN

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class Healthy:
    """One way to write a graph otherwise. ``made`` returns a changed copy, None where there is nothing to change."""

    kind: str
    made: Callable[[onnx.ModelProto], onnx.ModelProto | None]


def _whole(change: Callable[[onnx.ModelProto], None]) -> Callable[[onnx.ModelProto], onnx.ModelProto]:
    def made(model: onnx.ModelProto) -> onnx.ModelProto:
        copied = copy.deepcopy(model)
        change(copied)
        return copied

    return made


def _rename(model: onnx.ModelProto) -> None:
    """Give every node and every tensor but the graph's inputs and outputs another name."""
    graph = model.graph
    kept = {"", *(value.name for value in (*graph.input, *graph.output))}
    names: dict[str, str] = {}

    def other(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"r{len(names)}")

    for place, node in enumerate(graph.node):
        node.name = f"renamed_{place}"
        for side in (node.input, node.output):
            changed = [other(name) for name in side]
            del side[:]
            side.extend(changed)
    for held in (*graph.initializer, *graph.value_info):
        held.name = other(held.name)


def _forget_names(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.name = ""
    del model.graph.value_info[:]


def _reorder(model: onnx.ModelProto) -> None:
    """Sort the nodes depth first from the last output; still each behind what it takes."""
    graph = model.graph
    makers = {name: place for place, node in enumerate(graph.node) for name in node.output}
    order: dict[int, None] = {}
    for wanted in reversed(range(len(graph.node))):
        stack = [wanted]
        while stack:
            place = stack[-1]
            if place in order:
                stack.pop()
                continue
            before = [makers[name] for name in graph.node[place].input if name in makers]
            missing = [other for other in before if other not in order]
            if missing:
                stack += missing
            else:
                order[place] = None
                stack.pop()
    nodes = [copy.deepcopy(graph.node[place]) for place in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _constants_to_nodes(model: onnx.ModelProto) -> None:
    from onnx import helper

    graph = model.graph
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in graph.initializer]
    nodes += [copy.deepcopy(node) for node in graph.node]
    del graph.initializer[:], graph.node[:]
    graph.node.extend(nodes)


def _note_shapes(model: onnx.ModelProto) -> None:
    import onnx

    told = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    del model.graph.value_info[:]
    model.graph.value_info.extend(told)


def _document(model: onnx.ModelProto) -> None:
    model.producer_name, model.doc_string = "another exporter", "written again"
    for node in model.graph.node:
        node.doc_string = "line 1"
    del model.metadata_props[:]


def _add_identities(model: onnx.ModelProto) -> None:
    draft = Draft(model)
    for node in list(model.graph.node)[::5]:
        draft.after(draft.nodes[node.name], "Identity")


def _store_as_lists(model: onnx.ModelProto) -> None:
    from onnx import TensorProto, numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) < 1 << 16:
            values = numpy_helper.to_array(tensor).ravel().tolist()
            tensor.ClearField("raw_data")
            tensor.float_data[:] = values


HEALTHY = (
    Healthy("renamed", _whole(_rename)),
    Healthy("nodes_without_names", _whole(_forget_names)),
    Healthy("reordered", _whole(_reorder)),
    Healthy("constants_as_nodes", _whole(_constants_to_nodes)),
    Healthy("shapes_noted", _whole(_note_shapes)),
    Healthy("documented", _whole(_document)),
    Healthy("identities_added", _whole(_add_identities)),
    Healthy("weights_as_lists", _whole(_store_as_lists)),
    *(Healthy(kind, made) for kind, made in REWRITTEN.items()),
)
