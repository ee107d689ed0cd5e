"""What a unit loses in 16 bits where the graph says the same: range and digits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelport.core.magnitude import root_mean_square
from modelport.core.text import plain
from modelport.core.values import Array, Tensors
from modelport.diagnose.trace.difference import SHOWN
from modelport.diagnose.trace.reading import Operation
from modelport.model.weights.weight_statistics import largest_of, outliers

# IEEE 754 binary16: the largest number, the smallest normal one, and what rounds to zero (half the smallest step).
LARGEST, NORMAL, LOST = 65504.0, 2.0**-14, 2.0**-25
ENDLESS = 3e38  # exporters write no bound as float32's own largest number
# Operators that work with squares, sums or exponents of what they take, and how these are bounded.
SQUARING = frozenset(
    ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "LpNormalization",
     "MeanVarianceNormalization", "ReduceL2", "ReduceSumSquare")
)  # fmt: skip
SUMMING = frozenset({"ReduceSum", "ReduceMean", "GlobalAveragePool", "ReduceL1"})
EXPONENTS = frozenset({"Exp", "ReduceSumExp", "ReduceLogSumExp", "Softplus"})
SENSITIVE = frozenset(
    ("Exp", "Pow", "Log", "Sqrt", "Reciprocal", "Div", "Softmax", "LogSoftmax", "Erf", "Gelu", "Sigmoid", "Tanh",
     "ReduceSum", "ReduceMean", "ReduceL2", "CumSum", *SQUARING)
)  # fmt: skip
CANCELLED = 0.05  # of the larger term: a difference so small has lost four bits of what the terms had
TOLD = 1e-3  # share of values from which their loss is told


@dataclass(frozen=True, slots=True)
class Loss:
    """What is lost: ``kind`` as ``causes.KINDS``, and one sentence."""

    kind: str
    sentence: str


def absurd(operation: Operation) -> tuple[str, str] | None:
    """Return the name of a weight of absurd size in the source, and the sentence that tells of it; None for none.

    One that is not finite, or has values beyond a gap that trained weights do not have.
    """
    for key, value in _floats(operation):
        name = operation.constants.get(key, "")
        if bad := int(value.size - np.isfinite(value).sum()):
            if operation.op == "Add" and np.isneginf(value).sum() == bad:
                continue  # what attention is not to look at
            return name, f"{bad} of its {value.size} values are not finite"
        if count := outliers(value):
            lone = f"{count} of its {value.size} values {'lies' if count == 1 else 'lie'} far beyond all others"
            return name, f"it reaches {largest_of(value):.4g}: {lone}"
    return None


def lost_in_half(theirs: Sequence[Operation], values: Tensors, precision: str) -> Loss:
    """Return what 16 bits (fp16 or bf16) lose of a unit, the plainest first.

    ``theirs`` are the float32 graph's operations; ``values`` its tensors by name, as far as they are known.
    """
    half = precision != "bf16"  # bfloat16 has float32's range
    looks = (_constants_lost, _beyond_range, _inside_beyond_range, _below_range, _constants_below_range)
    for look in looks if half else ():
        for operation in theirs:
            if (hit := look(operation, values)) is not None:
                return hit
    for operation in theirs:
        if (hit := _cancelled(operation, values, precision)) is not None:
            return hit
    sensitive = next((one for one in theirs if one.op in SENSITIVE), None)
    bits = "11" if half else "8"
    if sensitive is not None:
        told = f"{plain(sensitive.op, SHOWN)} needs more digits than the {bits} bits of {precision}"
        return Loss("sensitive", told)
    return Loss("sensitive", f"nothing differs but the precision: {bits} bits are too few here")


def _floats(operation: Operation) -> list[tuple[str, Array]]:
    return [(key, value) for key, value in operation.weights.items() if value.dtype.kind == "f"]


def _constants_lost(operation: Operation, values: Tensors) -> Loss | None:
    numbers = {key: one for key, one in operation.settings.items() if isinstance(one, float)}
    for key, number in numbers.items():
        if number and abs(number) < LOST:
            return Loss("range", f"{plain(key, SHOWN)} is {number:.3g}, which is zero in float16")
        if LARGEST < abs(number) < ENDLESS:
            return Loss("range", f"{plain(key, SHOWN)} is {number:.4g}, beyond float16's largest number, 65504")
    for key, weight in _floats(operation):
        name = plain(operation.constants.get(key, key), SHOWN)
        size = np.abs(weight[np.isfinite(weight)].astype(np.float64))
        if size.max(initial=0.0) > LARGEST:
            return Loss("range", f"'{name}' reaches {size.max():.4g}, beyond float16's largest number, 65504")
        lost = float(((size > 0) & (size < LOST)).mean()) if size.size else 0.0
        if lost > TOLD:
            return Loss("range", f"{lost:.1%} of '{name}' is below 3e-8 and becomes zero in float16")
    return None


def _beyond_range(operation: Operation, values: Tensors) -> Loss | None:
    for name in (*operation.outputs, *operation.inputs):
        if name in values and (reach := _reach(values[name])) > LARGEST:
            over = float((np.abs(values[name]) > LARGEST).mean())
            what = "its values reach" if name in operation.outputs else "what it takes reaches"
            return Loss("range", f"{what} {reach:.4g}, beyond float16's largest number, 65504 ({over:.2%} of them)")
    return None


def _inside_beyond_range(operation: Operation, values: Tensors) -> Loss | None:
    """Tell squares, sums and exponents that overflow though what goes in and comes out does not."""
    taken = [values[name] for name in operation.inputs if name in values]
    if not taken:
        return None
    first = taken[0].astype(np.float64)
    reach = _reach(first)
    if operation.op in SQUARING and reach * reach > LARGEST:
        told = f"it squares values up to {reach:.4g}: beyond 256 a square is no float16"
        return Loss("range", told)
    if operation.op in EXPONENTS and float(first.max(initial=0.0)) > math.log(LARGEST):
        told = f"it takes exponents of values up to {first.max():.4g}: beyond 11.09 that is no float16"
        return Loss("range", told)
    result = next((values[name] for name in operation.outputs if name in values), None)
    if operation.op in SUMMING and result is not None:
        count = first.size / max(1, result.size)
        total = _reach(result) * (count if operation.op != "ReduceSum" else 1)
        if total > LARGEST:
            return Loss("range", f"its sums over {count:.0f} values reach {total:.4g}, beyond float16's 65504")
    return None


def _below_range(operation: Operation, values: Tensors) -> Loss | None:
    for name in (*operation.outputs, *operation.inputs):
        if name not in values:
            continue
        size = np.abs(values[name].astype(np.float64))
        lost = float(((size > 0) & (size < LOST)).mean()) if size.size else 0.0
        if lost > TOLD and _share_of(size, size < LOST) > 0.01:
            return Loss("range", f"{lost:.1%} of its values are below 3e-8 and become zero in float16")
        if _share_of(size, size < NORMAL) > 0.5:
            few = float(((size > 0) & (size < NORMAL)).mean())
            return Loss("range", f"{few:.1%} of its values are below 6.1e-5, where float16 has fewer digits")
    return None


def _constants_below_range(operation: Operation, values: Tensors) -> Loss | None:
    for key in operation.constants:
        number = operation.settings.get(key)
        if isinstance(number, float) and LOST <= abs(number) < NORMAL:
            told = f"{plain(key, SHOWN)} is {number:.3g}, below 6.1e-5, where float16 has fewer digits"
            return Loss("range", told)
    return None


def _share_of(size: Array, chosen: Array) -> float:
    """Return the share of the squared sum that the chosen values make."""
    total = float(size @ size) if size.ndim == 1 else float((size * size).sum())
    return float((size[chosen] ** 2).sum()) / total if total else 0.0


def _cancelled(operation: Operation, values: Tensors, precision: str) -> Loss | None:
    if operation.op not in ("Sub", "Add", "Sum") or not values.keys() & set(operation.outputs[:1]):
        return None
    terms = [values[name] for name in operation.inputs if name in values]
    terms += [np.asarray(weight) for weight in operation.weights.values()]
    largest = max(map(root_mean_square, terms), default=0.0)
    size = root_mean_square(values[operation.outputs[0]])
    if not largest or size > CANCELLED * largest:
        return None
    told = (
        f"it is a difference of near values: the result is {size / largest:.2%} of the terms, which {precision} rounds"
    )
    return Loss("sensitive", told)


def _reach(array: Array) -> float:
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    return float(np.abs(finite.astype(np.float64)).max()) if finite.size else 0.0
