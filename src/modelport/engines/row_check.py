"""Whether a model file answers its input, and each row of a batch by itself."""

from __future__ import annotations

import numpy as np

from modelport.core.errors import EngineError
from modelport.core.values import Array, Check, Tensors, TensorSpec
from modelport.engines.base import Runner

# Kernels may sum in another order for another place in the batch; a share of the largest output.
TOLERATED = 1e-3
# Inputs of whole numbers are often indices: small ones are in range.
SMALL = 2


def check_rows(runner: Runner, batch: int, tolerated: float = TOLERATED) -> Check | None:
    """Hold each row's answer in a batch against its answer at another place, among other neighbours.

    Three runs on seeded random inputs of ``batch`` rows: as drawn; reversed; and with all rows but one drawn anew.
    Returns a failed check where the outputs do not depend on the input, or where a row's answer depends on its place
    or its neighbours (a graph that answers the first row only, that mixes rows, that normalises over the batch); None
    where the model cannot run on random inputs, or answers nothing finite.
    """
    rng = np.random.default_rng(0)
    specs = [spec.with_batch(batch) for spec in runner.signature.inputs]
    if any(isinstance(axis, str) for spec in specs for axis in spec.shape) or not specs:
        return None
    drawn, others = ({spec.name: _random(spec, rng) for spec in specs} for _ in range(2))
    reversed_ = {name: array[::-1].copy() for name, array in drawn.items()}
    mixed = {name: np.concatenate([array[:1], others[name][1:]]) for name, array in drawn.items()}
    try:
        feeds = (drawn, others, reversed_, mixed)
        first, other, turned, among = (_rows(runner.run(feed), batch) for feed in feeds)
    except EngineError:
        return None
    # Of outputs that hold nothing but NaN, whoever scores them says so.
    if not any(array.dtype.kind != "f" or np.isfinite(array).any() for array in first.values()):
        return None
    name = "rows_independent"
    if all(np.array_equal(first[key], other[key], equal_nan=_is_float(first[key])) for key in first) and any(
        map(_is_float, first.values())
    ):
        return Check(name, "fail", "constant", "varying", "the outputs do not depend on the input: two gave the same")
    worst = max(
        max(difference(turned[key][::-1], first[key]) for key in first),
        max(difference(among[key][:1], first[key][:1]) for key in first),
    )
    if worst <= tolerated:
        why = f"each row of a batch of {batch} answers as at another place, among other rows"
        return Check(name, "pass", worst, tolerated, why)
    why = f"a row's answer depends on its place in the batch of {batch} or on its neighbours: the graph mixes rows; "
    return Check(name, "fail", worst, tolerated, why + "run it with --batch 1, or export it again with a free batch")


def _random(spec: TensorSpec, rng: np.random.Generator) -> Array:
    shape = [int(axis) for axis in spec.shape]
    kind = np.dtype(spec.dtype)
    if kind.kind == "f":
        return rng.standard_normal(shape).astype(kind)
    high = 256 if kind == np.uint8 else SMALL
    return rng.integers(0, high, shape).astype(kind)


def _rows(outputs: Tensors, batch: int) -> dict[str, Array]:
    """Return the outputs that have a row for each of the batch."""
    return {name: array for name, array in outputs.items() if array.ndim and array.shape[0] == batch}


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f"


def difference(got: Array, want: Array) -> float:
    """Return the largest difference over the largest finite output, infinite where one is finite and the other not.

    Of integers and truth values, the share that is another.
    """
    if got.dtype.kind != "f":
        return float(np.mean(got != want))
    finite = np.isfinite(want)
    if not np.array_equal(finite, np.isfinite(got)):
        return float("inf")
    if not finite.any():
        return 0.0
    return float(np.abs(got[finite] - want[finite]).max()) / (float(np.abs(want[finite]).max()) or 1.0)
