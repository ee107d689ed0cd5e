"""The tensors of a network by what they do there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from modelport.core.values import Array

if TYPE_CHECKING:
    from torch import Tensor

Role = Literal["layer", "vector", "scale", "shift", "mean", "variance", "count"]


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a network, by what it does there; a layer's has its output channels first."""

    name: str
    module: str
    role: Role
    values: Array


def weights_of_state(tensors: Mapping[str, Array]) -> list[Weight]:
    """Return a state dict's tensors by their roles, told by keys and axes as PyTorch names them."""
    found = []
    for name, values in tensors.items():
        module, _, last = name.rpartition(".")
        norm = f"{module}.running_mean".lstrip(".") in tensors
        roles: dict[str, Role] = {"running_mean": "mean", "running_var": "variance", "num_batches_tracked": "count"}
        if norm:
            roles |= {"weight": "scale", "bias": "shift"}
        role = roles.get(last, "layer" if values.ndim > 1 else "vector")
        found.append(Weight(name, module, role, values))
    return found


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return the plain tensors of a state dict that have values as arrays; floats that NumPy lacks become float32."""
    return dict(_arrays(tensors.items()))


def _arrays(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Array]]:
    import torch

    for name, tensor in tensors:
        if tensor.is_meta or tensor.is_nested or tensor.is_quantized or tensor.layout != torch.strided:
            continue
        # Called on the class: a tensor may carry attributes that the file gave it.
        plain = torch.Tensor.detach(tensor).cpu().resolve_conj()
        if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
            plain = plain.float()
        try:
            yield name, plain.numpy()
        except (TypeError, RuntimeError):  # integers of a few bits, which NumPy does not have
            continue


def norms_of(weights: Sequence[Weight]) -> dict[str, list[Weight]]:
    """Return the tensors of each batch norm that keeps statistics."""
    found: dict[str, list[Weight]] = {}
    for weight in weights:
        if weight.role in ("scale", "shift", "mean", "variance", "count"):
            found.setdefault(weight.module, []).append(weight)
    return {name: parts for name, parts in found.items() if {"mean", "variance"} <= {part.role for part in parts}}


def fresh_norms(weights: Sequence[Weight]) -> dict[str, bool]:
    """Return the batch norms whose statistics are those of one that never saw a batch; True where that is certain.

    It is where its counter says so too. A graph has none; there a scale and a shift may be written as a batch norm of
    mean 0 and variance 1, so that these two must be as initialised as well.
    """
    found = {}
    for name, parts in norms_of(weights).items():
        values = {part.role: part.values for part in parts}
        if values["mean"].size and not values["mean"].any() and bool((values["variance"] == 1).all()):
            plain = {"scale", "shift"} <= values.keys() and bool((values["scale"] == 1).all())
            plain = plain and not values["shift"].any()
            found[name] = not values["count"].any() if "count" in values else plain
    return found
