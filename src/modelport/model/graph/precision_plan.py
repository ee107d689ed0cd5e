"""Precision plans: one neutral file {node or operator type → precision}, held against a graph."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError, UsageError, did_you_mean, unknown
from modelport.core.files import read_json, read_regular_text

if TYPE_CHECKING:
    import onnx

SCHEMA = "modelport.plan/1"
# What a node's tensors are.
TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# How an operator computes inside, whatever its tensors are.
IMPLEMENTATIONS = ("high_precision", "high_performance", "enable_float_32_execution")
# What a quantized layer computes in; it is told of one, and no tool takes it from a plan.
INT8 = "int8"
WORDS = (*TYPES, INT8, *IMPLEMENTATIONS)
# Operators that the device's compiler makes of several nodes, and a node that tells of them.
FUSED = {"Gelu": "Erf", "LayerNorm": "ReduceMean", "Swish": "Sigmoid"}
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
