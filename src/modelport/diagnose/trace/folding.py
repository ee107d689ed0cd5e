"""Batch norms, factors and shifts of channels folded into the layer before them; MatMul and Add as one layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.trace.reading import Operation
from modelport.diagnose.trace.spelling import plain_form

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
AFFINE = "BatchNormalization"  # what a factor and a shift of each channel are called
NORM = ("scale", "B", "input_mean", "input_var")
# Epsilons that are agreed within this factor over the channels are one.
SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm's numbers, float64 (C,), and the weight of the layer before it, which they were not folded into."""

    gamma: Array
    variance: Array
    epsilon: float
    unfolded: Array


def settled(operations: Sequence[Operation]) -> tuple[list[Operation], dict[str, Norm]]:
    """Return the operations in their plainest form, with batch norms folded; the norms by the layer's name."""
    return _norms_folded(_layers_joined(plain_form(operations)))


def implied_epsilon(folded: Array, norm: Norm) -> float | None:
    """Return the epsilon with which a batch norm was folded into ``folded`` (output channels first).

    From w' = w·γ/√(σ²+ε) follows ε = (γ·w/w')² − σ². None where the channels do not agree on one.
    """
    if folded.shape != norm.unfolded.shape:
        return None
    mine = folded.reshape(len(folded), -1).astype(np.float64)
    theirs = norm.unfolded.reshape(len(folded), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = (mine * theirs).sum(axis=1) / (theirs * theirs).sum(axis=1)
        found = (norm.gamma / factor) ** 2 - norm.variance
    told = np.isfinite(found) & (np.abs(norm.gamma) > 1e-6)
    if not told.any():
        return None
    # Where the variance is large beside epsilon, rounding hides it: the smaller half of the variances tells.
    telling = found[told][np.argsort(norm.variance[told])][: max(1, int(told.sum()) // 2)]
    middle = float(np.median(telling))
    rest = np.linalg.norm(mine - factor[:, None] * theirs) / (np.linalg.norm(mine) or 1.0)
    agreed = np.abs(telling - middle) <= SPREAD * abs(middle) + 1e-7 * np.abs(norm.variance).max()
    return middle if rest < 1e-3 and middle > 0 and agreed.mean() > 0.8 else None


def _layers_joined(operations: Sequence[Operation]) -> list[Operation]:
    """Write MatMul by a constant, with an Add of a vector behind it, as Gemm, and Gemm with its weights as they act."""
    found: list[Operation] = []
    for operation in operations:
        last = found[-1] if found else None
        if operation.op == "Gemm":
            operation = _plain_gemm(operation)
        elif operation.op == "MatMul" and set(operation.weights) == {"B"} and operation.weights["B"].ndim == 2:
            operation = replace(operation, op="Gemm", settings={"transA": 0})
        elif operation.op == "Add" and last is not None and _adds_bias(operation, last):
            bias = next(iter(operation.weights.values()))
            found[-1] = replace(
                last,
                weights={**last.weights, "C": bias},
                constants={**last.constants, "C": operation.constants["constant"]},
                outputs=operation.outputs,
            )
            continue
        found.append(operation)
    return found


def _adds_bias(operation: Operation, last: Operation) -> bool:
    if last.op != "Gemm" or "C" in last.weights or operation.inputs != last.outputs[:1]:
        return False
    return [value.ndim for value in operation.weights.values()] == [1]


def _plain_gemm(operation: Operation) -> Operation:
    settings, weights = dict(operation.settings), dict(operation.weights)
    if "B" not in weights:
        return operation
    alpha, beta = float(settings.pop("alpha", 1.0)), float(settings.pop("beta", 1.0))
    weight = weights["B"].T if settings.pop("transB", 0) else weights["B"]
    weights["B"] = weight if alpha == 1 else weight * alpha
    if "C" in weights and beta != 1:
        weights["C"] = weights["C"] * beta
    return replace(operation, settings=settings, weights=weights)


def _norms_folded(operations: Sequence[Operation]) -> tuple[list[Operation], dict[str, Norm]]:
    """Fold what multiplies and shifts channels into the layer before it, or several such into one."""
    found: list[Operation] = []
    norms: dict[str, Norm] = {}
    for operation in operations:
        last = found[-1] if found else None
        behind = last is not None and operation.inputs == last.outputs[:1]
        affine = _affine(operation, last if behind and last is not None and last.op in LAYERS else None)
        if affine is None:
            found.append(operation)
        elif last is not None and behind and _foldable(last):
            found[-1], unfolded = _fold(last, affine, operation)
            if affine.gamma is not None and affine.variance is not None:
                norms[last.name] = Norm(affine.gamma, affine.variance, affine.epsilon, unfolded)
        elif last is not None and behind and last.op == AFFINE:
            before = (last.weights[key] for key in ("scale", "B"))
            factor, shift = (one * affine.factor for one in before)
            found[-1] = _written(replace(last, outputs=operation.outputs[:1]), factor, shift + affine.shift)
        else:
            found.append(_written(replace(operation, outputs=operation.outputs[:1]), affine.factor, affine.shift))
    return found, norms


@dataclass(frozen=True, slots=True)
class _Affine:
    """x·factor + shift for each channel, float64 (C,); what a batch norm made it of."""

    factor: Array
    shift: Array
    gamma: Array | None = None
    variance: Array | None = None
    epsilon: float = 0.0


def _affine(operation: Operation, layer: Operation | None) -> _Affine | None:
    """Return what an operation does to each channel behind ``layer``; None where it does anything else."""
    if operation.op == "BatchNormalization":
        if not set(NORM) <= operation.weights.keys() or operation.settings.get("training_mode"):
            return None
        gamma, beta, mean, variance = (operation.weights[key].astype(np.float64) for key in NORM)
        epsilon = float(operation.settings.get("epsilon", 1e-5))
        factor = gamma / np.sqrt(variance + epsilon)
        return _Affine(factor, beta - mean * factor, gamma, variance, epsilon)
    if operation.op not in ("Mul", "Add") or set(operation.weights) != {"constant"} or len(operation.inputs) != 1:
        return None
    value = operation.weights["constant"]
    last_axis = layer is not None and layer.op == "Gemm"
    # Channels stand first, before height and width; behind Gemm they are the last axis.
    place = value.ndim - 1 if last_axis else value.ndim - 1 - _spatial(layer, value)
    if place < 0 or value.size != value.shape[place] or value.size < 2:
        return None
    flat = value.reshape(-1).astype(np.float64)
    return _Affine(flat, np.zeros_like(flat)) if operation.op == "Mul" else _Affine(np.ones_like(flat), flat)


def _spatial(layer: Operation | None, value: Array) -> int:
    if layer is not None and "W" in layer.weights:
        return layer.weights["W"].ndim - 2
    trailing = [size == 1 for size in value.shape[::-1]]
    ones = trailing.index(False) if False in trailing else len(trailing)
    return ones or value.ndim  # without a layer (C, 1, 1) alone tells that these are channels


def _written(operation: Operation, factor: Array, shift: Array) -> Operation:
    """Return the operation as one that multiplies and shifts channels, whatever it was."""
    weights = {"scale": factor, "B": shift}
    return replace(operation, op=AFFINE, settings={}, weights=weights, constants={}, computed=True)


def _foldable(layer: Operation) -> bool:
    grouped = layer.op == "ConvTranspose" and layer.settings.get("group", 1) != 1
    return layer.op in LAYERS and ("B" if layer.op == "Gemm" else "W") in layer.weights and not grouped


def _fold(layer: Operation, affine: _Affine, behind: Operation) -> tuple[Operation, Array]:
    """Return the layer with what is behind it: w·f and b·f + s, in float64; and its weight before, outputs first."""
    key, axis, bias = {"Gemm": ("B", 1, "C"), "ConvTranspose": ("W", 1, "B")}.get(layer.op, ("W", 0, "B"))
    weight = np.moveaxis(layer.weights[key].astype(np.float64), axis, 0)
    if len(weight) != len(affine.factor):
        return layer, weight
    folded = weight * affine.factor.reshape(-1, *[1] * (weight.ndim - 1))
    own = layer.weights.get(bias, np.zeros(1)).astype(np.float64)
    weights = {**layer.weights, key: np.moveaxis(folded, 0, axis), bias: own * affine.factor + affine.shift}
    made = replace(layer, weights=weights, outputs=behind.outputs[:1], computed=True)
    return made, weight
