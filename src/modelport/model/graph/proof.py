"""Proof that the weights arrived: every tensor of the checkpoint is found in the graph, as it is or folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.artifacts import digest_bytes
from modelport.core.text import listed
from modelport.core.values import Array, Check
from modelport.model.graph.derived import Derived, derived_of
from modelport.model.graph.file import constants

if TYPE_CHECKING:
    import onnx
    import torch.fx
    from torch import Tensor, nn

# Folding multiplies and adds in float32; its result is recomputed in float64. A few rounding steps of 2**-24 each.
FOLD_RELATIVE = 2e-6
# What is computed of weights before any input comes: sums over a filter in another order, as a share of the largest.
COMPUTED_RELATIVE = 1e-5
FIRST_FEW = 64  # elements that tell one layer's weights from another's
FEWEST = 4  # fewer numbers would be found anywhere


@dataclass(frozen=True, slots=True)
class WeightsProof:
    """Where each tensor of the state dict went. ``lost`` empty means that all arrived."""

    identical: tuple[str, ...]
    folded: tuple[str, ...]
    unused: tuple[str, ...]  # counters of training steps, no part of inference
    lost: tuple[str, ...]
    computed: tuple[str, ...] = ()  # found in what the network computes of them before any input comes
    idle: tuple[str, ...] = ()  # weights that no answer hangs on, such as heads for training

    def check(self) -> Check:
        """Return the proof as one check of the result."""
        counted = len(self.identical) + len(self.folded) + len(self.computed)
        why = (
            f"{len(self.identical)} tensors are in the graph as they are, {len(self.folded)} folded into a convolution "
        )
        why += f"whose values were recomputed; {len(self.unused)} step counters take no part in inference"
        if self.computed:
            why += f"; {len(self.computed)} are found in what the network computes of them, recomputed by PyTorch"
        if self.idle:
            why += f"; no answer hangs on {len(self.idle)} others ({listed(self.idle, 3)})"
        if self.lost:
            why = f"not found in the graph: {listed(self.lost, 5)}; {why}"
        return Check("weights_arrived", "fail" if self.lost else "pass", counted, counted + len(self.lost), why)


def prove_weights(module: nn.Module, graph: onnx.ModelProto, example: Tensor) -> WeightsProof:
    """Account for every tensor of ``module`` in ``graph``.

    ``example`` (one input of the module) shows which batch norm follows which convolution. A pair counts as folded
    where both w·γ/√(σ²+ε) and (b−μ)·γ/√(σ²+ε)+β are constants of the graph, within float32 rounding; any other
    tensor must be there to the bit (transposed or reshaped at most; weights also cut into a few equal parts), but for a
    bias of zeros, which exporters leave out. What is not there so is looked for in what the network computes of its
    tensors alone (standardised weights), recomputed by PyTorch.
    """
    state = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    pool = _Pool(constants(graph))
    folded: set[str] = set()
    first = _first_names(module)
    for convolution, norm, epsilon in _conv_norm_pairs(module, example):
        weight, bias = _fold(module, convolution, norm, epsilon)
        # An exporter leaves a bias out that is zero everywhere.
        if pool.holds_near(*weight) and (pool.holds_near(*bias) or not bias[0].any()):
            folded |= {name for name in state if first[_part(name)] in (convolution, norm)}
    unused = {name for name in state if name.endswith("num_batches_tracked")}
    folded -= unused
    rest = {name: value for name, value in state.items() if name not in unused | folded}
    # An exporter leaves a bias out that is zero everywhere, here too.
    zero = {name for name, value in rest.items() if name.rpartition(".")[2] == "bias" and not value.any()}
    identical = {name for name, value in rest.items() if name in zero or pool.holds(value)}
    lost = [name for name in rest if name not in identical]
    proof = WeightsProof(tuple(sorted(identical)), tuple(sorted(folded)), tuple(sorted(unused)), tuple(lost))
    return _with_derived(proof, derived_of(module, example), pool) if lost else proof


def _with_derived(proof: WeightsProof, derived: Derived, pool: _Pool) -> WeightsProof:
    """Return the proof with what was lost by itself, and is there in what the network computes of it."""
    computed = [name for name in proof.lost if any(map(pool.holds_computed, derived.values.get(name, ())))]
    idle = [name for name in proof.lost if name in derived.unused]
    lost = tuple(name for name in proof.lost if name not in {*computed, *idle})
    return replace(proof, computed=tuple(computed), idle=tuple(idle), lost=lost)


class _Pool:
    """The constants of a graph, to be found by their values."""

    def __init__(self, named: Iterable[tuple[str, Array]]) -> None:
        self._digests: set[str] = set()
        self._by_shape: dict[tuple[int, ...], list[Array]] = {}
        for _, value in named:
            self._digests.add(_digest(value))
            if value.ndim == 2:
                self._digests.add(_digest(value.T))
            self._by_shape.setdefault(value.shape, []).append(value)

    def holds(self, value: Array) -> bool:
        """Whether a constant has exactly these values in this order, in whatever shape, or a few are its parts."""
        return any(all(_digest(part) in self._digests for part in parts) for parts in ([value], *_cut(value)))

    def holds_computed(self, value: Array) -> bool:
        """Whether a constant of as many floats is everywhere within rounding of ``value``, in whatever shape."""
        if value.dtype.kind != "f" or value.size < FEWEST:
            return False
        flat, scale = value.reshape(-1), float(np.abs(value).max())
        alike = (other for others in self._by_shape.values() for other in others if other.size == value.size)
        tolerance = np.full_like(flat, COMPUTED_RELATIVE * scale)
        return any(_near(other.reshape(-1), flat, tolerance) for other in alike)

    def holds_near(self, value: Array, tolerance: Array) -> bool:
        """Whether a constant of this shape is everywhere within ``tolerance`` of ``value``."""
        flat, allowed = value.reshape(-1), tolerance.reshape(-1)
        return any(_near(other.reshape(-1), flat, allowed) for other in self._by_shape.get(value.shape, []))


def _near(other: Array, value: Array, tolerance: Array) -> bool:
    """Whether no element is further away than ``tolerance``; all (n,). The first few tell another layer's weights."""
    few = slice(0, FIRST_FEW)
    if not np.all(np.abs(other[few] - value[few]) <= tolerance[few]):
        return False
    return bool(np.all(np.abs(other - value) <= tolerance))


def _digest(value: Array) -> str:
    return f"{value.dtype}:{value.size}:" + digest_bytes(np.ascontiguousarray(value).tobytes())


def _cut(value: Array) -> Iterator[list[Array]]:
    """Yield the weights of a layer cut into 2, 3 and 4 equal parts, by outputs and by inputs, where they can be cut.

    A vector is not cut: parts of a few numbers would be found anywhere.
    """
    for axis in (0, 1) if value.ndim > 1 else ():
        for count in (2, 3, 4):
            if value.shape[axis] > count and value.shape[axis] % count == 0:
                yield np.split(value, count, axis)


Pair = tuple[str, str, float]  # names of a convolution and a batch norm, and the norm's epsilon


def _conv_norm_pairs(module: nn.Module, example: Tensor) -> set[Pair]:
    """Return every batch norm whose input is a convolution's output. Of a program its own graph tells, others run."""
    import torch
    from torch import nn

    if isinstance(module, torch.fx.GraphModule):
        return _pairs_of_program(module)
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    made_by: dict[int, tuple[str, Tensor]] = {}  # holding the tensor keeps its id from being used again
    pairs: set[Pair] = set()
    handles = []

    def after(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        made_by[id(output)] = (name, output)

    def before(name: str, norm: Any, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made_by:
            pairs.add((made_by[id(inputs[0])][0], name, float(norm.eps)))

    for name, part in module.named_modules():
        if isinstance(part, kinds):
            handles.append(part.register_forward_hook(partial(after, name)))
        elif isinstance(part, norms):
            handles.append(part.register_forward_pre_hook(partial(before, name)))
    try:
        with torch.inference_mode():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
    return pairs


def _pairs_of_program(program: torch.fx.GraphModule) -> set[Pair]:
    """Return the pairs that a program of torch.export names: its nodes are operators, its parameters attributes."""
    import torch

    nodes: Any = program.graph.nodes
    aten: Any = torch.ops.aten
    kinds = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default, aten.convolution.default)
    pairs: set[Pair] = set()
    for node in nodes:
        before: Any = node.args[0] if node.target is aten.batch_norm.default else None
        if getattr(before, "target", None) in kinds:
            weight, variance, epsilon = before.args[1], node.args[4], node.args[7]
            if weight.op == "get_attr" and variance.op == "get_attr":
                pairs.add((_part(weight.target), _part(variance.target), float(epsilon)))
    return pairs


def _part(tensor: str) -> str:
    """Return the name of the part that a tensor belongs to."""
    return tensor.rpartition(".")[0]


def _first_names(module: nn.Module) -> dict[str, str]:
    """Map each name of a part to its first: a shared convolution stands in the state dict under several."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(part), name) for name, part in module.named_modules(remove_duplicate=False)}


def _fold(
    module: nn.Module, convolution: str, norm: str, epsilon: float
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return (weight, tolerance) and (bias, tolerance) of the folded pair, computed in float64."""
    conv, bn = module.get_submodule(convolution), module.get_submodule(norm)
    values, stats = (
        {name: tensor.detach().numpy().astype(np.float64) for name, tensor in part.state_dict().items()}
        for part in (conv, bn)
    )
    width = values["weight"].shape[0]
    gamma, beta = stats.get("weight", np.ones(width)), stats.get("bias", np.zeros(width))
    scale = gamma / np.sqrt(stats["running_var"] + epsilon)
    weight = values["weight"] * scale.reshape(-1, *[1] * (values["weight"].ndim - 1))
    own, mean = values.get("bias", np.zeros(width)) * scale, stats["running_mean"] * scale
    # The bias is a sum that may cancel: its rounding goes with the largest term, not with the result.
    bias_tolerance = FOLD_RELATIVE * (np.abs(own) + np.abs(mean) + np.abs(beta))
    return (weight, FOLD_RELATIVE * np.abs(weight)), (own - mean + beta, bias_tolerance)
