"""One form of what graphs spell in several: batch norms folded into the layer before them, layers as MatMul and Add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.trace.reading import Operation

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
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
    """Return the operations with layers written as Gemm and batch norms folded; the norms by the layer's name."""
    return _norms_folded(_layers_joined(operations))


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
    found = found[np.isfinite(found) & (np.abs(norm.gamma) > 1e-6)]
    # Where the variance is large beside epsilon, rounding hides it: the smallest variances tell.
    if not found.size:
        return None
    telling = found[np.argsort(norm.variance[: found.size])][: max(1, found.size // 2)]
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
    found: list[Operation] = []
    norms: dict[str, Norm] = {}
    for operation in operations:
        last = found[-1] if found else None
        if last is None or operation.op != "BatchNormalization" or not _foldable(operation, last):
            found.append(operation)
            continue
        found[-1], norms[last.name] = _fold(last, operation)
    return found, norms


def _foldable(norm: Operation, layer: Operation) -> bool:
    key = "B" if layer.op == "Gemm" else "W"
    whole = set(NORM) <= norm.weights.keys() and not norm.settings.get("training_mode")
    grouped = layer.op == "ConvTranspose" and layer.settings.get("group", 1) != 1
    return layer.op in LAYERS and key in layer.weights and whole and norm.inputs == layer.outputs[:1] and not grouped


def _fold(layer: Operation, norm: Operation) -> tuple[Operation, Norm]:
    """Return the layer with the norm in it: w·γ/√(σ²+ε) and (b−μ)·γ/√(σ²+ε)+β, in float64."""
    gamma, beta, mean, variance = (norm.weights[key].astype(np.float64) for key in NORM)
    epsilon = float(norm.settings.get("epsilon", 1e-5))
    key, axis, bias = {"Gemm": ("B", 1, "C"), "ConvTranspose": ("W", 1, "B")}.get(layer.op, ("W", 0, "B"))
    weight = np.moveaxis(layer.weights[key].astype(np.float64), axis, 0)
    factor = gamma / np.sqrt(variance + epsilon)
    folded = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
    own = layer.weights.get(bias, np.zeros(1)).astype(np.float64)
    weights = {**layer.weights, key: np.moveaxis(folded, 0, axis), bias: (own - mean) * factor + beta}
    made = replace(layer, weights=weights, outputs=norm.outputs[:1])
    return made, Norm(gamma, variance, epsilon, weight)
