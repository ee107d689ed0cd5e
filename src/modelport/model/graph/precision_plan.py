"""Precision plans: one neutral file {node or operator type → precision}, and what each tool wants of it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError, UsageError, did_you_mean, unknown
from modelport.core.files import read_regular_text
from modelport.core.json_text import read_json

if TYPE_CHECKING:
    import onnx

SCHEMA = "modelport.plan/1"
# What a node's tensors are.
TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# How an operator computes inside, by ATC's words.
IMPLEMENTATIONS = ("high_precision", "high_performance", "enable_float_32_execution")
# What a quantized layer computes in; it is told of one, and no tool takes it from a plan.
INT8 = "int8"
WORDS = (*TYPES, INT8, *IMPLEMENTATIONS)
# Operators that the device's compiler makes of several nodes, and a node that tells of them.
FUSED = {"Gelu": "Erf", "LayerNorm": "ReduceMean", "Swish": "Sigmoid"}
# Where the device's own name of an operator is another than ONNX's.
DEVICE_TYPES = {"Conv": "Conv2D", "Softmax": "SoftmaxV2"}
MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PrecisionPlan:
    """Words of ``WORDS`` by node name and by ONNX operator type. A node's own word beats its type's."""

    nodes: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ResolvedPlan:
    """A plan whose names are those of a graph."""

    model: onnx.ModelProto
    tensors: dict[str, str]  # fp32, fp16 or bf16 by node name, in the graph's order
    node_implementations: dict[str, str]
    type_words: dict[str, str]  # as the plan has them, by operator type
    unmade: dict[str, str]  # words of types that the device's compiler makes of several nodes here


def read_plan(path: Path) -> PrecisionPlan:
    """Return the plan in a JSON or TOML file. Raises UsageError with the place and the fix."""
    if path.suffix != ".toml":
        return parse_plan(read_json(path, MAX_BYTES, UsageError), str(path))
    text = read_regular_text(path, MAX_BYTES, UsageError)
    try:
        return parse_plan(tomllib.loads(text), str(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no TOML: {str(error)[:200]}", "mend the file") from error


def parse_plan(content: Any, place: str) -> PrecisionPlan:
    """Return the plan that JSON values spell; ``place`` names the file in errors. Raises UsageError."""
    example = f'write {{"schema": "{SCHEMA}", "nodes": {{"NODE": "fp32"}}, "types": {{"Softmax": "fp32"}}}}'
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(f"{place}: no precision plan (schema {SCHEMA})", example)
    for key in content:
        if key not in ("schema", "nodes", "types"):
            raise UsageError(f"{place}: {key}: unknown key", unknown("keys", key, ("nodes", "types")))
    tables = {key: content.get(key, {}) for key in ("nodes", "types")}
    for key, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{place}: {key} is no table of names", example)
        for name, word in table.items():
            if not isinstance(word, str) or word not in WORDS:
                raise UsageError(f"{place}: {key}.{name}: '{word}'", unknown("precisions", str(word), WORDS))
    if not any(tables.values()):
        raise UsageError(f"{place}: names no node and no operator type", example)
    return PrecisionPlan(**tables)


def plan_text(plan: PrecisionPlan) -> str:
    """Return the plan as the JSON file that ``read_plan`` takes."""
    content = {"schema": SCHEMA, "nodes": dict(plan.nodes), "types": dict(plan.types)}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def resolve(plan: PrecisionPlan, model: onnx.ModelProto, place: str) -> ResolvedPlan:
    """Return the plan in the names of a graph.

    ``place`` names the plan in errors. Raises GraphError for a node or operator type that the graph has not.
    """
    found = {node.name: node for node in model.graph.node if node.name}
    kinds = {node.op_type for node in model.graph.node}
    for name in plan.nodes:
        if name not in found:
            near = did_you_mean(name, found)
            raise GraphError(f"{place}: the graph has no node '{name}'", f"{near}it has {len(found)} named nodes")
    unmade = {kind: word for kind, word in plan.types.items() if kind not in kinds}
    for kind in unmade:
        if FUSED.get(kind) not in kinds:
            raise GraphError(f"{place}: the graph has no operator '{kind}'", unknown("operators", kind, kinds))
    words = {node.name: plan.nodes.get(node.name, plan.types.get(node.op_type, "")) for node in found.values()}
    for node in model.graph.node:
        if not node.name and plan.types.get(node.op_type) in TYPES:
            raise GraphError(
                f"{place}: a node {node.op_type} of the graph has no name", "export it again with modelport"
            )
    return ResolvedPlan(
        model,
        {name: word for name, word in words.items() if word in TYPES},
        {name: word for name, word in plan.nodes.items() if word in IMPLEMENTATIONS},
        dict(plan.types),
        unmade,
    )


def block_list(plan: PrecisionPlan, model: onnx.ModelProto, place: str = "the plan") -> list[str]:
    """Return the names of the nodes that a conversion to float16 leaves in float32, in the graph's order.

    Raises GraphError for names that the graph has not, and for an fp32 operator that is several nodes here.
    """
    resolved = resolve(plan, model, place)
    for kind, word in resolved.unmade.items():
        if word == "fp32":
            raise GraphError(
                f"{place}: '{kind}' is made of several nodes in this graph",
                "name the nodes, or export at a newer opset",
            )
    return [name for name, word in resolved.tensors.items() if word == "fp32"]


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


def device_type(operator: str) -> str:
    """Return the device's name of an ONNX operator, as far as it is known to differ."""
    return DEVICE_TYPES.get(operator, operator)


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
