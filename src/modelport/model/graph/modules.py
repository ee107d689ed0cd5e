"""Which PyTorch module a node was made from, as exporters write it down."""

from __future__ import annotations

import ast
from typing import Any

from modelport.model.graph.quantizable import HEAVY

# What PyTorch's current exporter writes of each node: the names of the modules around it and its own, outermost first.
SCOPES = "pkg.torch.onnx.name_scopes"
MOST_TEXT = 4096


def module_of(node: Any, graph: Any) -> str:
    """Return the module's name (``layer1.0.conv1``), empty where the graph does not tell.

    ``node`` is a NodeProto, ``graph`` the GraphProto that its weights lie in. A convolution that was fused with the
    batch norm behind it stands under the norm's scope: of a layer the module is told that owns its weight.
    """
    return _owner(node, graph) or _from_scopes(node) or _from_name(node, graph)


def keep_scopes(node: Any) -> None:
    """Drop what an exporter says of a node but for the names of its modules: the rest tells of a machine's files."""
    kept = [(entry.key, entry.value) for entry in node.metadata_props if entry.key == SCOPES]
    del node.metadata_props[:]
    for key, value in kept:
        node.metadata_props.add(key=key, value=value)
    node.doc_string = ""


def _owner(node: Any, graph: Any) -> str:
    if node.op_type not in HEAVY:
        return ""
    named = [name for name in node.input if name.endswith(".weight")]
    constants = {tensor.name for tensor in graph.initializer} if named else set()
    return next((name.removesuffix(".weight") for name in named if name in constants), "")


def _from_scopes(node: Any) -> str:
    told = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "")
    if not told or len(told) > MOST_TEXT:
        return ""
    try:
        scopes = ast.literal_eval(told)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ""
    if not isinstance(scopes, list) or len(scopes) < 2 or not isinstance(scopes[-2], str):
        return ""
    return str(scopes[-2])


def _from_name(node: Any, graph: Any) -> str:
    """Read a name of the older exporter: ``/layer1/layer1.0/conv1/Conv``; ``relu_1`` is ``relu`` called again."""
    if not node.name.startswith("/"):
        return ""
    scopes = node.name.split("/")[1:-1]
    parts: list[str] = []
    for place, scope in enumerate(scopes):
        first, mark, count = scope.rpartition("_")
        before = "/".join(["", *scopes[:place], first, ""])
        if mark and first and count.isdigit() and any(other.name.startswith(before) for other in graph.node):
            scope = first
        # A part of a list or a sequence has the name of that before its own.
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts)
