"""What became of a weight tensor, held against the source's: in one sentence, with shares and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.trace import weights_values as values
from modelport.diagnose.trace.weights_order import Hit, Pair, laid_out, moved_slices, orders, rotated, shifted

# The kinds of ``Became``, for the docs.
KINDS = {
    "rounded": "stored in fewer bits than the graph's precision",
    "shape": "another shape",
    "zeroed": "zero where the source's is not, in part or everywhere",
    "negated": "the other sign everywhere",
    "scaled": "a factor off, per tensor or per channel",
    "offset": "a constant was added everywhere",
    "layout": "transposed, or stored in another order of the axes",
    "flipped": "reversed along an axis, or rotated by 180 degrees",
    "permuted": "the same channels in another order; RGB and BGR exchanged on three input channels",
    "shifted": "moved by a few channels, rows or elements",
    "bit flip": "one or a few elements far off, with the bit where it is one",
    "bytes": "the order of the bytes is exchanged",
    "repeated": "some channels hold the values of others",
    "constant": "one value everywhere",
    "clipped": "values beyond a bound are cut off",
    "levels": "rounded to a few evenly spaced values",
    "another layer": "the values of another tensor of the source",
    "shuffled": "the same values in another order",
    "checkpoint": "other values, correlated with the source's",
    "random": "other values, not correlated with the source's",
}
CORRELATED = 4.0  # standard errors of the correlation of unrelated values, 1/sqrt(n)


@dataclass(frozen=True, slots=True)
class Became:
    """What became of a tensor. ``share`` of its elements are not the source's; ``correlation`` where it tells."""

    kind: str
    sentence: str
    share: float
    correlation: float | None = None


@np.errstate(invalid="ignore", over="ignore")  # damaged weights are beyond any range
def became(
    got: Array,
    want: Array,
    *,
    axes: Sequence[str] = (),
    precision: str = "fp32",
    step: float = 0.0,
    another: Callable[[Array], str] | None = None,
) -> Became | None:
    """Return what became of ``want``, None where ``got`` is the same within what ``precision`` rounds.

    Both of any numeric dtype and shape; whole numbers are the same where they are equal. ``axes`` names what each axis
    counts ("output channels"). ``step`` is the largest difference that a quantizer explains. ``another`` returns the
    name of another tensor of the source with the given values, empty for none.
    """
    sides = got.astype(np.float64), want.astype(np.float64)
    if sides[0].size == sides[1].size and sides[0].shape != sides[1].shape:
        sides = _reshaped(*sides)
    names = tuple(axes) if len(axes) == sides[1].ndim else tuple(f"slices of axis {i}" for i in range(sides[1].ndim))
    word = precision if precision in values.RELATIVE else "fp32"
    near = (values.RELATIVE[word], values.ABSOLUTE[word]) if "f" in got.dtype.kind + want.dtype.kind else (0.0, 0.0)
    pair = Pair(*sides, names, near[0], max(step, near[1]))
    if pair.got.shape != pair.want.shape:
        return _of_other_shape(pair)
    same = pair.same(pair.got, pair.want)
    if same.all():
        return None
    share = float(1 - same.mean())
    if got.dtype == want.dtype and got.byteswap().tobytes() == want.tobytes():
        return Became("bytes", "the order of the bytes of each value is exchanged", share)
    if name := another(got) if another is not None else "":
        return Became("another layer", f"it holds the values of another tensor of the source, '{name}'", share)
    with np.errstate(all="ignore"):  # values may be infinite, or of any size
        return _first_hit(pair, share)


def _first_hit(pair: Pair, share: float) -> Became:
    in_place = (values.rounded, values.clipped, values.zeroed, values.one_value, values.negated, values.scaled)
    moved = (rotated, moved_slices, laid_out, shifted)
    for look in (*in_place, *moved, values.few, values.offset, values.repeated, _partly, values.levels):
        if (hit := look(pair)) is not None:
            return Became(hit[0], hit[1], share)
    return _other_values(pair, share)


def _reshaped(got: Array, want: Array) -> tuple[Array, Array]:
    """Give both one shape where axes of length one are all that tells them apart, as 1 × 1 convolutions and layers."""
    if [size for size in got.shape if size > 1] == [size for size in want.shape if size > 1]:
        return got.reshape(want.shape), want
    return got, want


def _of_other_shape(pair: Pair) -> Became:
    got, want = pair.got, pair.want
    shapes = f"its shape is {list(got.shape)}, the source's is {list(want.shape)}"
    if got.size == want.size:
        for order in orders(want.ndim):
            turned = want.transpose(order)
            if turned.shape == got.shape and pair.met(got, turned):
                return Became("layout", f"{shapes}: it is transposed ({list(order)})", 1.0)
        if pair.met(got.reshape(-1), want.reshape(-1)):
            return Became("shape", f"{shapes}; the values are the same in the same order", 0.0)
    return Became("shape", shapes, 1.0)


def _partly(pair: Pair) -> Hit:
    """Tell what became of a part, where at least half of the first axis is as it should be."""
    if pair.want.ndim < 2:
        return None
    count = pair.want.shape[0]
    off = np.asarray(~pair.same(pair.got, pair.want).reshape(count, -1).all(axis=1))
    if 2 * off.sum() > count:
        return None
    # What is asked of a part is never a part again: all its slices differ.
    inner = _first_hit(pair.part(off), 1.0)
    return inner.kind, f"in {values.counted(np.flatnonzero(off), count, pair.axes[0])}: {inner.sentence}"


def _other_values(pair: Pair, share: float) -> Became:
    got, want = pair.got.reshape(-1), pair.want.reshape(-1)
    if not np.isfinite(got).all():
        bad = float((~np.isfinite(got)).mean())
        return Became("bit flip", f"{bad:.1%} of its values are not finite; the source's are", share)
    ends = pair.same(np.array([got.min(), got.max()]), np.array([want.min(), want.max()]))
    if got.size > 3 and ends.all() and pair.met(np.sort(got), np.sort(want)):
        told = f"it holds the same values in another order; {share:.1%} are not in their place"
        return Became("shuffled", told, share)
    correlation = _correlation(got, want)
    away = float(np.linalg.norm(got - want) / (np.linalg.norm(want) or 1.0))
    far = f"{away:.2%}" if away < 10 else f"{away:.3g} times"
    told = f"{share:.1%} of its values are others, {far} off (relative L2)"
    spread = f"; their spread is {np.std(got):.3g}, the source's {np.std(want):.3g}"
    if correlation > max(0.05, CORRELATED / math.sqrt(got.size)):
        told += f", correlated with the source's ({correlation:.3f}){spread}"
        return Became("checkpoint", told, share, correlation)
    return Became("random", f"{told}, not correlated with the source's ({correlation:.3f}){spread}", share, correlation)


def _correlation(one: Array, two: Array) -> float:
    """Return Pearson's correlation; 0 where one side does not vary."""
    first, second = one - one.mean(), two - two.mean()
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / size if size else 0.0
