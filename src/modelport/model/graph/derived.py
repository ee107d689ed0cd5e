"""What a network computes of its tensors alone, before any input: an exporter writes the result in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelport.core.values import Array
from modelport.model.quiet import quiet_torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Derived:
    """``values`` by the tensors that each is computed from; ``unused`` are tensors that no answer hangs on."""

    values: Mapping[str, tuple[Array, ...]]
    unused: frozenset[str]


NOTHING = Derived({}, frozenset())


def derived_of(module: nn.Module, example: Tensor) -> Derived:
    """Follow the network's own operators, as torch.export traces them, and evaluate in PyTorch what needs no input.

    Standardised weights and looked-up position tables are of this kind. Nothing is told of a network that cannot be
    traced.
    """
    import torch

    try:
        with quiet_torch():
            program = torch.export.export(module, (example,)).module(check_guards=False)
    except Exception:
        return NOTHING  # what is not found in the graph is then lost
    sources: dict[
        Any, frozenset[str]
    ] = {}  # by node, the tensors that it is computed from; absent where an input counts
    held: dict[Any, Any] = {}
    values: dict[str, list[Array]] = {}
    with torch.inference_mode():
        for node in program.graph.nodes:
            if node.op == "get_attr":
                sources[node], held[node] = frozenset({str(node.target)}), _attribute(program, str(node.target))
            elif node.op == "call_function" and all(before in sources for before in node.all_input_nodes):
                arguments, words = torch.fx.map_arg((node.args, node.kwargs), held.__getitem__)
                sources[node] = frozenset().union(*(sources[before] for before in node.all_input_nodes))
                held[node] = node.target(*arguments, **words)
                made = [held[node]]
                if node.target is torch.ops.aten.linear.default and len(arguments) == 3:
                    made.append(node.target(*arguments[:2]))  # exporters add the bias in a step of its own
                for name in sources[node]:
                    values.setdefault(name, []).extend(one.numpy() for one in made if isinstance(one, torch.Tensor))
    used = {str(node.target) for node in program.graph.nodes if node.op == "get_attr" and node.users}
    unused = frozenset(module.state_dict()) - used
    return Derived({name: tuple(found) for name, found in values.items()}, unused)


def _attribute(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part)
    return module
