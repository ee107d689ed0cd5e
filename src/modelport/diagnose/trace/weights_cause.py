"""What became of a weight tensor, held against the source's: in one sentence, with shares and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modelport.core.text import listed
from modelport.core.values import Array
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
# Rounding in the units of the value itself, half a step of each significand: 24, 11 and 8 bits (IEEE 754, bfloat16).
# What is computed of weights, as a folded batch norm is, takes a few steps.
RELATIVE = {"fp32": 2e-6, "fp16": 2.0**-11 * 1.01, "bf16": 2.0**-8 * 1.01}
# The smallest steps, below which values are lost: of float32's and of float16's subnormals.
ABSOLUTE = {"fp32": 2.0**-149, "fp16": 2.0**-25, "bf16": 2.0**-133}
MOST_FEW = 8  # elements that are told one by one
MOST_LEVELS = 256
HEAD = 8  # along each axis: a corner that is looked at before the whole
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

    Both float of any width, of any shape. ``axes`` names what each axis counts ("output channels"). ``step`` is the
    largest difference that a quantizer explains. ``another`` returns the name of another tensor of the source with
    the given values, empty for none.
    """
    with np.errstate(invalid="ignore"):
        sides = got.astype(np.float64), want.astype(np.float64)
    if sides[0].size == sides[1].size and sides[0].shape != sides[1].shape:
        sides = _reshaped(*sides)
    names = tuple(axes) if len(axes) == sides[1].ndim else tuple(f"slices of axis {i}" for i in range(sides[1].ndim))
    word = precision if precision in RELATIVE else "fp32"
    pair = Pair(*sides, names, RELATIVE[word], max(step, ABSOLUTE[word]))
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
    values = (_rounded, _clipped, _zeroed, _one_value, _negated, _scaled)
    for look in (*values, rotated, moved_slices, laid_out, shifted, _few, _offset, _repeated, _partly, _levels):
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


def _rounded(pair: Pair) -> Hit:
    for word, held in (("fp16", _in_half), ("bf16", _in_bfloat)):
        # Cutting digits off errs by up to twice what rounding does.
        near = np.abs(pair.got - pair.want) <= 2 * (RELATIVE[word] * np.abs(pair.want) + ABSOLUTE[word])
        if RELATIVE[word] > pair.relative and near.all() and held(pair.got):
            return "rounded", f"it was rounded to {word}"
    return None


def _in_half(values: Array) -> bool:
    return bool((values.astype(np.float16).astype(np.float64) == values).all())


def _in_bfloat(values: Array) -> bool:
    narrow = values.astype(np.float32)
    return bool((narrow == values).all() and not (narrow.view(np.uint32) & 0xFFFF).any())


def _zeroed(pair: Pair) -> Hit:
    lost = (pair.got == 0) & (pair.want != 0)
    if lost.all() or not pair.got.any():
        return "zeroed", "it is zero everywhere; the source's is not"
    kept = pair.same(pair.got, pair.want)
    if not (lost | kept).all() or lost.sum() <= min(2, lost.size // 4):
        return None
    whole = np.flatnonzero(lost.reshape(len(lost), -1).all(axis=1) & pair.want.reshape(len(lost), -1).any(axis=1))
    told = f"{lost.mean():.1%} of it is zero where the source's is not"
    if len(whole) and lost[whole].sum() == lost.sum():
        told += f": {_counted(whole, len(lost), pair.axes[0])}"
    return "zeroed", told


def _one_value(pair: Pair) -> Hit:
    value = float(pair.got.flat[0])
    if pair.got.size < 2 or not (pair.got == value).all() or not np.ptp(pair.want):
        return None
    return "constant", f"it is {value:.4g} everywhere; the source's goes from {_span(pair.want)}"


def _span(values: Array) -> str:
    return f"{values.min():.4g} to {values.max():.4g}"


def _negated(pair: Pair) -> Hit:
    return ("negated", "it has the other sign everywhere") if pair.met(-pair.got, pair.want) else None


def _scaled(pair: Pair) -> Hit:
    """Tell one factor for all, or one a channel, where it is not one everywhere."""
    factor = _factors(pair, tuple(range(pair.want.ndim)))
    if factor is not None:
        return "scaled", f"it is {factor.item():.4g} times the source's"
    for axis in range(pair.want.ndim) if pair.want.ndim > 1 else ():
        factors = _factors(pair, tuple(other for other in range(pair.want.ndim) if other != axis))
        if factors is not None and factors.size > 1:
            off = np.flatnonzero(np.abs(factors.ravel() - 1) > 1e-5)
            if axis == 0 and 2 * len(off) <= factors.size:
                continue  # of a part of them is told by itself
            what = f"scaled by a factor for each of the {pair.axes[axis]}"
            span = f"from {factors.min():.4g} to {factors.max():.4g}"
            return "scaled", f"it is {what}, {span}, {_counted(off, factors.size, pair.axes[axis])}"
    return None


def _factors(pair: Pair, over: tuple[int, ...]) -> Array | None:
    """Return the factors of ``got`` to ``want``, one for all along ``over``; None where there are none."""
    if max(pair.want.shape) > HEAD and (corner := pair.head(HEAD)).want.all() and _factors(corner, over) is None:
        return None  # what does not hold of a corner does not hold of the whole
    squares = (pair.want * pair.want).sum(axis=over, keepdims=True)
    group = pair.want.size // max(1, squares.size)
    if group < 3 or not np.isfinite(pair.got).all() or not squares.all():
        return None
    factors = np.asarray((pair.got * pair.want).sum(axis=over, keepdims=True) / squares)
    slack = pair.relative * np.abs(pair.want * factors) + pair.absolute
    near = np.abs(pair.got - pair.want * factors) <= 4 * slack + 1e-6 * np.abs(pair.want * factors)
    return factors if near.all() and (np.abs(factors) > 1e-12).all() else None


def _few(pair: Pair) -> Hit:
    same = pair.same(pair.got, pair.want)
    if int((~same).sum()) > min(MOST_FEW, max(1, pair.want.size // 4)):
        return None
    off = np.argwhere(~same)
    told = [_element(pair, tuple(place)) for place in off[:3].tolist()]
    lead = f"{len(off)} of {pair.want.size} elements {'is' if len(off) == 1 else 'are'} off"
    return "bit flip", f"{lead}: {'; '.join(told)}{' …' if len(off) > len(told) else ''}"


def _element(pair: Pair, place: tuple[int, ...]) -> str:
    got, want = float(pair.got[place]), float(pair.want[place])
    told = f"{list(place)} is {got:.6g}, the source's is {want:.6g}"
    bit = flipped_bit(got, want)
    return told if bit is None else f"{told} (bit {bit}{_bit_part(bit)} of its float32 is flipped)"


def flipped_bit(got: float, want: float) -> int | None:
    """Return which bit of ``want`` as float32 is flipped in ``got``, 0 the lowest; None where it is not one."""
    with np.errstate(over="ignore"):
        bits = np.array([got, want], np.float32).view(np.uint32)
    odd = int(bits[0]) ^ int(bits[1])
    return odd.bit_length() - 1 if odd.bit_count() == 1 else None


def _bit_part(bit: int) -> str:
    return ", the sign," if bit == 31 else ", of the exponent," if bit > 22 else ""


def _offset(pair: Pair) -> Hit:
    away = pair.got - pair.want
    if pair.want.size < 3 or not np.isfinite(away).all():
        return None
    middle = float(away.mean())
    slack = 4 * (pair.relative * np.maximum(np.abs(pair.want), np.abs(pair.got)) + pair.absolute) + 1e-5 * abs(middle)
    return ("offset", f"{middle:+.4g} was added to every value") if (np.abs(away - middle) <= slack).all() else None


def _clipped(pair: Pair) -> Hit:
    low, high = float(pair.got.min()), float(pair.got.max())
    cut = float(((pair.want < low) | (pair.want > high)).mean())
    if cut * pair.want.size < 2 or low == high or not pair.met(pair.got, np.clip(pair.want, low, high)):
        return None
    return "clipped", f"{cut:.1%} of its values are cut off: it goes from {low:.4g} to {high:.4g}"


def _repeated(pair: Pair) -> Hit:
    """Tell slices of the first axis that are all those of the source's, some of them several times."""
    count = len(pair.want)
    rows, sources = pair.got.reshape(count, -1), pair.want.reshape(count, -1)
    if rows.shape[1] < 2 or not np.isfinite(rows).all() or not np.isfinite(sources).all():
        return None
    view = np.random.default_rng(0).standard_normal(rows.shape[1])
    keys, used = sources @ view, set[int]()
    for row in rows:
        nearest = int(np.argmin(np.abs(keys - row @ view)))
        if not pair.same(row, sources[nearest]).all():
            return None
        used.add(nearest)
    told = f"its {count} {pair.axes[0]} hold the values of {len(used)} of the source's alone"
    return "repeated", f"{told} ({listed(map(str, sorted(used)), 4)})"


def _levels(pair: Pair) -> Hit:
    """Tell values on a grid of few steps, as of a quantizer, each next to the source's."""
    flat = pair.got.reshape(-1)
    if len(np.unique(flat[: 8 * MOST_LEVELS])) > MOST_LEVELS:
        return None
    levels = np.unique(flat)
    if len(levels) > min(MOST_LEVELS, pair.got.size // 4) or len(levels) < 3:
        return None
    step = float(np.diff(levels).min())
    even = np.abs(levels / step - np.round(levels / step)) < 1e-3
    near = np.abs(pair.got - np.clip(pair.want, levels[0], levels[-1])) <= 0.51 * step
    if not even.all() or not near.all():
        return None
    return "levels", f"it was rounded to steps of {step:.4g}: {len(levels)} values are left"


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
    return inner.kind, f"in {_counted(np.flatnonzero(off), count, pair.axes[0])}: {inner.sentence}"


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


def _counted(chosen: Array, count: int, what: str) -> str:
    return f"{len(chosen)} of {count} {what} ({listed(map(str, chosen.tolist()), 4)})"
