"""Two tensors of one shape, and what was done to the values of one where they stand: rounded, scaled, cut off."""

from __future__ import annotations

import numpy as np

from modelport.core.text import listed
from modelport.core.values import Array
from modelport.diagnose.trace.weights_order import Hit, Pair

# Rounding in the units of the value itself, half a step of each significand: 24, 11 and 8 bits (IEEE 754, bfloat16).
# What is computed of weights, as a folded batch norm is, takes a few steps.
RELATIVE = {"fp32": 2e-6, "fp16": 2.0**-11 * 1.01, "bf16": 2.0**-8 * 1.01}
# The smallest steps, below which values are lost: of float32's and of float16's subnormals.
ABSOLUTE = {"fp32": 2.0**-149, "fp16": 2.0**-25, "bf16": 2.0**-133}
MOST_FEW = 8  # elements that are told one by one
MOST_LEVELS = 256
HEAD = 8  # along each axis: a corner that is looked at before the whole


def rounded(pair: Pair) -> Hit:
    """Tell values that are stored in fewer bits than the precision has."""
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


def zeroed(pair: Pair) -> Hit:
    """Tell zeros where the source has none, and which slices of the first axis they fill."""
    lost = (pair.got == 0) & (pair.want != 0)
    if lost.all() or not pair.got.any():
        return "zeroed", "it is zero everywhere; the source's is not"
    kept = pair.same(pair.got, pair.want)
    if not (lost | kept).all() or lost.sum() <= min(2, lost.size // 4):
        return None
    whole = np.flatnonzero(lost.reshape(len(lost), -1).all(axis=1) & pair.want.reshape(len(lost), -1).any(axis=1))
    told = f"{lost.mean():.1%} of it is zero where the source's is not"
    if len(whole) and lost[whole].sum() == lost.sum():
        told += f": {counted(whole, len(lost), pair.axes[0])}"
    return "zeroed", told


def one_value(pair: Pair) -> Hit:
    """Tell one value everywhere."""
    value = float(pair.got.flat[0])
    if pair.got.size < 2 or not (pair.got == value).all() or not np.ptp(pair.want):
        return None
    return "constant", f"it is {value:.4g} everywhere; the source's goes from {_span(pair.want)}"


def _span(values: Array) -> str:
    return f"{values.min():.4g} to {values.max():.4g}"


def negated(pair: Pair) -> Hit:
    """Tell values of the other sign."""
    return ("negated", "it has the other sign everywhere") if pair.met(-pair.got, pair.want) else None


def scaled(pair: Pair) -> Hit:
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
            return "scaled", f"it is {what}, {span}, {counted(off, factors.size, pair.axes[axis])}"
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


def few(pair: Pair) -> Hit:
    """Tell single elements that are off, one by one."""
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


def offset(pair: Pair) -> Hit:
    """Tell what was added to every value."""
    away = pair.got - pair.want
    if pair.want.size < 3 or not np.isfinite(away).all():
        return None
    middle = float(away.mean())
    slack = 4 * (pair.relative * np.maximum(np.abs(pair.want), np.abs(pair.got)) + pair.absolute) + 1e-5 * abs(middle)
    return ("offset", f"{middle:+.4g} was added to every value") if (np.abs(away - middle) <= slack).all() else None


def clipped(pair: Pair) -> Hit:
    """Tell values that are cut off at the least and the largest that are left."""
    low, high = float(pair.got.min()), float(pair.got.max())
    cut = float(((pair.want < low) | (pair.want > high)).mean())
    if cut * pair.want.size < 2 or low == high or not pair.met(pair.got, np.clip(pair.want, low, high)):
        return None
    return "clipped", f"{cut:.1%} of its values are cut off: it goes from {low:.4g} to {high:.4g}"


def repeated(pair: Pair) -> Hit:
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


def levels(pair: Pair) -> Hit:
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


def counted(chosen: Array, count: int, what: str) -> str:
    """Return how many of the slices of an axis are chosen, and the first of them by number."""
    return f"{len(chosen)} of {count} {what} ({listed(map(str, chosen.tolist()), 4)})"
