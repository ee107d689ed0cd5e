"""Two tensors of one shape, and whether one is the other with its elements elsewhere: turned, permuted, shifted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from modelport.core.values import Array

MOST_AXES = 5  # with more axes there are too many orders to try
FARTHEST = 4  # a shift by more is taken for another order
FEWEST = 8  # fewer values would be found in place by chance

# What became of a tensor, in a word and in a sentence.
Hit = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two float64 tensors of one shape, and how near values are the same."""

    got: Array
    want: Array
    axes: tuple[str, ...]  # what each axis counts, in the plural
    relative: float
    absolute: float

    def same(self, got: Array, want: Array) -> Array:
        """Return where values are the same but for rounding; equal infinities and NaN are."""
        with np.errstate(invalid="ignore"):
            near = np.abs(got - want) <= self.relative * np.abs(want) + self.absolute
        return np.asarray(near & np.isfinite(want) | (got == want) | (np.isnan(got) & np.isnan(want)))

    def met(self, got: Array, want: Array) -> bool:
        """Whether all values are the same but for rounding; a few are looked at first."""
        few = (slice(0, 2),) * want.ndim
        return bool(self.same(got[few], want[few]).all() and self.same(got, want).all())

    def head(self, size: int) -> Pair:
        """Return a corner of both, of as many slices along each axis."""
        corner = (slice(0, size),) * self.want.ndim
        return Pair(self.got[corner], self.want[corner], self.axes, self.relative, self.absolute)

    def part(self, chosen: Array) -> Pair:
        """Return the slices ``chosen`` of the first axis."""
        return Pair(self.got[chosen], self.want[chosen], self.axes, self.relative, self.absolute)


def rotated(pair: Pair) -> Hit:
    """Tell kernels that are turned by half a turn."""
    if pair.want.ndim > 3 and pair.met(pair.got[..., ::-1, ::-1], pair.want):
        return "flipped", "each kernel is rotated by 180 degrees: a convolution was taken for a correlation"
    return None


def moved_slices(pair: Pair) -> Hit:
    """Tell slices of one axis that stand in another order."""
    for axis in range(pair.want.ndim):
        got, want = (np.moveaxis(side, axis, 0).reshape(pair.want.shape[axis], -1) for side in (pair.got, pair.want))
        order = _order(pair, got, want)
        if order is not None:
            return _told_order(order, pair.axes[axis])
    return None


def _order(pair: Pair, got: Array, want: Array) -> Array | None:
    """Return p where row i of ``got`` is row p[i] of ``want``, each once; None where there is no such order."""
    rest = np.flatnonzero(~pair.same(got, want).all(axis=1))
    if len(rest) < 2 or not np.isfinite(got).all():
        return None
    # A fixed projection sorts both sides alike; the rows themselves are compared after.
    view = np.random.default_rng(0).standard_normal(got.shape[1])
    mine, theirs = rest[np.argsort(got[rest] @ view)], rest[np.argsort(want[rest] @ view)]
    if not pair.met(got[mine], want[theirs]):
        return None
    order = np.arange(len(got))
    order[mine] = theirs
    return order


def _told_order(order: Array, axis: str) -> Hit:
    count, moved = len(order), np.flatnonzero(order != np.arange(len(order)))
    if count == 3 and axis == "input channels" and order.tolist() == [2, 1, 0]:
        return "permuted", "its three input channels are reversed: RGB and BGR are exchanged"
    if count > 2 and (order == np.arange(count)[::-1]).all():
        return "flipped", f"it is reversed along the {count} {axis}"
    if len(moved) == 2:
        return "permuted", f"{axis} {moved[0]} and {moved[1]} are exchanged"
    steps = np.unique((np.arange(count) - order) % count)
    if len(steps) == 1:
        step = int(steps[0]) if steps[0] <= count // 2 else int(steps[0]) - count
        return "shifted", f"the {count} {axis} are moved on by {step}, around the end"
    some = ", ".join(f"{place} holds the source's {order[place]}" for place in moved[:3])
    return "permuted", f"{len(moved)} of the {count} {axis} stand in another order: {some}"


def laid_out(pair: Pair) -> Hit:
    """Tell a tensor that is transposed, or whose memory is."""
    flat = pair.got.reshape(-1)
    for order in orders(pair.want.ndim):
        turned = pair.want.transpose(order)
        if turned.shape == pair.want.shape and pair.met(pair.got, turned):
            return "layout", f"it is transposed ({list(order)})"
        if pair.same(flat[:FEWEST], turned.flat[:FEWEST]).all() and pair.met(flat, turned.reshape(-1)):
            return "layout", f"its values are stored in the order of the axes {list(order)}, its shape is not"
    return None


def orders(count: int) -> Iterator[tuple[int, ...]]:
    """Yield all orders of some axes but their own."""
    if 1 < count <= MOST_AXES:
        yield from (order for order in permutations(range(count)) if order != tuple(range(count)))


def shifted(pair: Pair) -> Hit:
    """Tell values that are moved along an axis, or along the memory, with something else where they came from."""
    if pair.want.ndim > 1 and (step := _step(pair, pair.got.reshape(-1), pair.want.reshape(-1))):
        return "shifted", f"its values are moved on by {step} in memory"
    for axis, count in enumerate(pair.want.shape):
        if step := _step(pair, np.moveaxis(pair.got, axis, 0), np.moveaxis(pair.want, axis, 0)):
            return "shifted", f"the {count} {pair.axes[axis]} are moved on by {step}"
    return None


def _step(pair: Pair, got: Array, want: Array) -> int:
    """Return by how many slices of the first axis ``want`` was moved on to be ``got``; 0 for not at all."""
    for step in range(1, min(FARTHEST + 1, len(want) - 1)):
        for sign, one, two in ((1, got[step:], want[:-step]), (-1, got[:-step], want[step:])):
            if one.size > FEWEST and pair.met(one, two):
                return sign * step
    return 0
