"""Nodes of a graph by the names under which ATC is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelport.core.errors import GraphError

if TYPE_CHECKING:
    import onnx


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
