"""The files in which ATC takes a precision plan, and the nodes of a graph by the names that ATC knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError
from modelport.model.graph.precision_plan import IMPLEMENTATIONS, TYPES, PrecisionPlan, ResolvedPlan

if TYPE_CHECKING:
    import onnx

# Where the device's own name of an operator is another than ONNX's.
DEVICE_TYPES = {"Conv": "Conv2D", "Softmax": "SoftmaxV2"}


def keep_dtype_text(plan: ResolvedPlan) -> str:
    """Return ATC's ``keep_dtype`` file: the fp32 nodes of a float32 graph, a line each; empty for none."""
    lines = [name for name, word in plan.tensors.items() if word == "fp32"]
    lines += [f"OpType::{device_type(kind)}" for kind, word in plan.unmade.items() if word == "fp32"]
    return _lines(lines)


def customize_dtypes_text(plan: ResolvedPlan, words: tuple[str, ...] = ("fp16", "bf16")) -> str:
    """Return ATC's ``customize_dtypes`` file for the nodes with one of these words; empty for none.

    Tensors that are no floats keep their type. Raises GraphError where the graph does not tell a type.
    """
    chosen = {name: TYPES[word] for name, word in plan.tensors.items() if word in words}
    for kind, word in plan.unmade.items():
        if word in words:
            raise GraphError(f"'{kind}' is made of several nodes in this graph", "name the nodes in the plan")
    if not chosen:
        return ""
    known = _tensor_types(plan.model)
    lines = []
    for node in plan.model.graph.node:
        if node.name in chosen:
            want = chosen[node.name]
            inputs, outputs = (",".join(_typed(known, names, want, node.name)) for names in (node.input, node.output))
            lines.append(f"{node.name}::InputDtype:{inputs},OutputDtype:{outputs}")
    return _lines(lines)


def op_precision_mode_text(plan: ResolvedPlan) -> str:
    """Return ATC's ``op_precision_mode`` file; empty where the plan says nothing of implementations."""
    types = [f"{device_type(kind)}={word}" for kind, word in plan.type_words.items() if word in IMPLEMENTATIONS]
    nodes = [f"{name}={word}" for name, word in plan.node_implementations.items()]
    parts = [_lines([title, *rows]) for title, rows in (("[ByOpType]", types), ("[ByNodeName]", nodes)) if rows]
    return "\n".join(parts)


def modify_mixlist_text(plan: ResolvedPlan) -> str:
    """Return ATC's ``modify_mixlist`` file, for mixed precision: fp32 types on the black list, others on the white."""
    black = [device_type(kind) for kind, word in plan.type_words.items() if word == "fp32"]
    white = [device_type(kind) for kind, word in plan.type_words.items() if word in ("fp16", "bf16")]
    if not black and not white:
        return ""
    lists = {"black-list": {"to-add": black, "to-remove": []}, "white-list": {"to-add": white, "to-remove": []}}
    return json.dumps(lists, indent=2) + "\n"


def nodes_only(plan: PrecisionPlan) -> PrecisionPlan:
    """Return the plan without what ``modify_mixlist`` takes over: the types' tensors."""
    return PrecisionPlan(plan.nodes, {kind: word for kind, word in plan.types.items() if word in IMPLEMENTATIONS})


def device_type(operator: str) -> str:
    """Return the device's name of an ONNX operator, as far as it is known to differ."""
    return DEVICE_TYPES.get(operator, operator)


def chain_nodes(model: onnx.ModelProto, operators: list[str]) -> list[str]:
    """Return the nodes of the last chain of these operators in the graph, each feeding the next; empty for none."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for last in reversed(model.graph.node):
        chain = [last] if last.op_type == operators[-1] else []
        for operator in reversed(operators[:-1]) if chain else ():
            before = (makers.get(name) for name in chain[-1].input)
            maker = next((node for node in before if node is not None and node.op_type == operator), None)
            if maker is None:
                break
            chain.append(maker)
        if len(chain) == len(operators):
            return [node.name for node in reversed(chain)]
    return []


def output_nodes(model: onnx.ModelProto) -> list[tuple[str, str, int]]:
    """Return for each output of the graph its name, the node that makes it and which of that node's outputs it is.

    Raises GraphError where no node makes it, or one without a name.
    """
    makers = {name: (node.name, index) for node in model.graph.node for index, name in enumerate(node.output)}
    found = []
    for value in model.graph.output:
        node, index = makers.get(value.name, ("", 0))
        if not node:
            raise GraphError(
                f"the output '{value.name}' comes from no node with a name", "export it again with modelport"
            )
        found.append((value.name, node, index))
    return found


def _tensor_types(model: onnx.ModelProto) -> dict[str, str]:
    """Return ``float``, or ONNX's own name of another type, by tensor name, as ONNX infers them."""
    import onnx

    def spelled(kind: int) -> str:
        name = str(onnx.helper.tensor_dtype_to_np_dtype(kind))
        return "float" if name in ("float32", "float16", "bfloat16", "float64") else name

    graph = onnx.shape_inference.infer_shapes(model).graph
    known = {tensor.name: spelled(tensor.data_type) for tensor in graph.initializer}
    values = (*graph.input, *graph.output, *graph.value_info)
    return known | {value.name: spelled(value.type.tensor_type.elem_type) for value in values}


def _typed(known: dict[str, str], names: Any, want: str, node: str) -> Iterator[str]:
    for name in names:
        if name and name not in known:
            raise GraphError(f"node '{node}': the type of '{name}' is not known", "export it again with modelport")
        if name:
            yield want if known[name] == "float" else known[name]


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
