"""In which weights two operations of one kind differ, and what became of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from modelport.core.text import plain
from modelport.core.values import Array
from modelport.diagnose.trace.difference import SHOWN, Difference, Sides
from modelport.diagnose.trace.folding import Norm, implied_epsilon
from modelport.diagnose.trace.reading import Operation
from modelport.diagnose.trace.weights_cause import became

COMPUTED = 4e-6  # of the largest weight: rounding in float32 of what is computed of several
AXES: Mapping[str, tuple[str, ...]] = {
    "Conv": ("output channels", "input channels", "kernel rows", "kernel columns"),
    "ConvTranspose": ("input channels", "output channels", "kernel rows", "kernel columns"),
}


def of_weights(sides: Sides, mine: Operation, theirs: Operation, norm: Norm | None) -> Iterator[Difference]:
    """Yield what became of the weights, and of float constants, that the operation takes."""
    # The weight before the bias: what is wrong with a folded norm shows in both, and is told once.
    if (swapped := _weights_exchanged(mine, theirs)) is not None:
        yield swapped
        return
    sizes = {key: value.ndim for key, value in (*theirs.weights.items(), *mine.weights.items())}
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        have, want = mine.weights.get(key), theirs.weights.get(key)
        tensor = mine.constants.get(key) or theirs.constants.get(key, "")
        name = f"the {_called(mine.op, key)}" + (f" '{plain(tensor, SHOWN)}'" if tensor else "")
        if have is None or want is None:
            there = have if have is not None else want
            if there is not None and not there.any():
                continue  # a bias of zeros may be left out
            told = f"{name} is missing" if have is None else f"{name} was added; the source has none"
            yield Difference("weights", told, f"take {name} from the source", mine.name, mine.op)
            continue
        step = sides.step(tensor)
        if mine.computed or theirs.computed:
            step = max(step, COMPUTED * float(np.abs(want).max(initial=0.0)))
        axes, word = _axes(mine, key, want.ndim), _stored(sides, have)
        hit = became(have, want, axes=axes, precision=word, step=step, another=sides.another)
        if hit is None:
            continue
        if norm is not None and (lost := _of_norm(mine, have, norm)) is not None:
            yield Difference(*lost, "fold the batch norm again", mine.name, mine.op)
            return
        kind = "constant" if want.size <= 3 and mine.op not in AXES else "weights"
        told, eight_bits = f"{name}: {hit.sentence}", bool(sides.step(tensor))
        mend = "quantize it again" if eight_bits else f"take {name} from the source"
        yield Difference(kind, told, mend, mine.name, mine.op, hit, narrow=eight_bits)


def _weights_exchanged(mine: Operation, theirs: Operation) -> Difference | None:
    """Tell two weights of one node that stand in each other's place."""
    off = [key for key in theirs.weights if not _same_values(mine.weights.get(key), theirs.weights[key])]
    if len(off) != 2 or not all(
        _same_values(mine.weights.get(one), theirs.weights[two]) for one, two in (off, reversed(off))
    ):
        return None
    one, two = (_called(mine.op, key) for key in off)
    return Difference("inputs", f"its {one} and its {two} are exchanged", "exchange them", mine.name, mine.op)


def _same_values(one: Array | None, two: Array) -> bool:
    return one is not None and one.shape == two.shape and bool(np.array_equal(one, two))


def _of_norm(mine: Operation, have: Array, norm: Norm) -> tuple[str, str] | None:
    """Tell what went wrong where a batch norm was folded into a layer's weight, its kind first; None for neither."""
    axis = 1 if mine.op in ("ConvTranspose", "Gemm") else 0
    if have.ndim < 2:
        return None
    weight = np.moveaxis(have, axis, 0).astype(np.float64)
    if weight.shape == norm.unfolded.shape and np.allclose(weight, norm.unfolded, rtol=1e-5, atol=1e-12):
        return "missing", "the batch norm behind it is missing: it is not folded into the weights either"
    epsilon = implied_epsilon(weight, norm)
    if epsilon is not None and not math.isclose(epsilon, norm.epsilon, rel_tol=0.05):
        return "norm", f"the batch norm was folded with epsilon {epsilon:.3g}, the source's is {norm.epsilon:.3g}"
    return None


def _axes(operation: Operation, key: str, count: int) -> tuple[str, ...]:
    """Return what each axis of a weight counts; empty where the operator does not tell."""
    if count == 1:
        return ("channels",)
    if operation.op in AXES and key == "W":
        return AXES[operation.op][:count]
    if operation.op in ("Gemm", "MatMul") and count == 2:
        layer = ("output channels", "input channels")
        return layer if operation.settings.get("transB") else layer[::-1]
    return ()


def _called(op: str, key: str) -> str:
    words = {"W": "weight", "input_mean": "mean", "input_var": "variance", "scale": "scale", "slope": "slope"}
    if op in ("Gemm", "MatMul"):
        words |= {"B": "weight", "A": "weight", "C": "bias"}
    return words.get(key, "bias" if key in ("B", "bias") else "constant")


def _stored(sides: Sides, have: Array) -> str:
    """Return in what a weight is stored, so far as it counts for rounding."""
    return "fp16" if have.dtype == np.float16 else sides.precision if sides.precision in ("fp16", "bf16") else "fp32"
