"""What was done to a tensor is told, whatever the tensor; what only rounds it is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from modelport.core.values import Array
from modelport.diagnose.trace.weights_cause import KINDS, became
from modelport.diagnose.trace.weights_values import flipped_bit

AXES = ("output channels", "input channels", "kernel rows", "kernel columns")


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


KERNEL, SQUARE, VECTOR, FIRST = drawn(8, 6, 3, 3), drawn(16, 16), drawn(40), drawn(8, 3, 3, 3)


def scaled_by_channel(w: Array) -> Array:
    factors = np.ones((len(w), *[1] * (w.ndim - 1)), np.float32)
    factors[2:4, ...] = [[0.5]] if w.ndim == 2 else 0.5
    return w * factors


def without(w: Array, chosen: slice) -> Array:
    other = w.copy()
    other[chosen] = 0
    return other


def with_bit(w: Array, place: tuple[int, ...], bit: int) -> Array:
    other = w.copy()
    other.view(np.uint32)[place] ^= np.uint32(1 << bit)
    return other


def exchanged(w: Array, one: int, two: int) -> Array:
    order = np.arange(len(w))
    order[[one, two]] = two, one
    return w[order]


CASES: list[tuple[Array, Callable[[Array], Array], str, str]] = [
    (KERNEL, lambda w: w.astype(np.float16).astype(np.float32), "rounded", "rounded to fp16"),
    (VECTOR, lambda w: (w.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32), "rounded", "rounded to bf16"),
    (KERNEL, np.zeros_like, "zeroed", "zero everywhere"),
    (KERNEL, lambda w: without(w, slice(2, 5)), "zeroed", "3 of 8 output channels (2, 3, 4)"),
    (SQUARE, lambda w: without(w, slice(0, 4)), "zeroed", "25.0% of it is zero"),
    (KERNEL, np.negative, "negated", "the other sign"),
    (VECTOR, np.negative, "negated", "the other sign"),
    (KERNEL, lambda w: w * np.float32(1.5), "scaled", "1.5 times"),
    (VECTOR, lambda w: w / np.float32(255), "scaled", "0.003922 times"),
    (KERNEL, scaled_by_channel, "scaled", "in 2 of 8 output channels (2, 3): it is 0.5 times"),
    (SQUARE, lambda w: w * np.linspace(1, 2, 16, dtype=np.float32), "scaled", "from 1 to 2, 15 of 16 input channels"),
    (VECTOR, lambda w: w + np.float32(0.25), "offset", "+0.25 was added"),
    (KERNEL, lambda w: w - np.float32(1), "offset", "-1 was added"),
    (KERNEL, lambda w: w.transpose(0, 1, 3, 2), "layout", "transposed ([0, 1, 3, 2])"),
    (SQUARE, lambda w: w.T, "layout", "transposed ([1, 0])"),
    (KERNEL, lambda w: w.transpose(0, 2, 3, 1), "layout", "its shape is [8, 3, 3, 6], the source's is [8, 6, 3, 3]"),
    (KERNEL, lambda w: w.transpose(0, 2, 3, 1).reshape(w.shape), "layout", "in the order of the axes [0, 2, 3, 1]"),
    (KERNEL, lambda w: w[..., ::-1, ::-1], "flipped", "rotated by 180 degrees"),
    (KERNEL, lambda w: w[..., ::-1], "flipped", "reversed along the 3 kernel columns"),
    (VECTOR, lambda w: w[::-1], "flipped", "reversed along the 40 channels"),
    (FIRST, lambda w: w[:, ::-1], "permuted", "RGB and BGR are exchanged"),
    (KERNEL, lambda w: exchanged(w, 1, 6), "permuted", "output channels 1 and 6 are exchanged"),
    (VECTOR, lambda w: exchanged(w, 0, 1), "permuted", "channels 0 and 1 are exchanged"),
    (KERNEL, lambda w: w[:, [3, 0, 1, 5, 2, 4]], "permuted", "6 of the 6 input channels stand in another order"),
    (KERNEL, lambda w: np.roll(w, 1, 0), "shifted", "the 8 output channels are moved on by 1, around the end"),
    (VECTOR, lambda w: np.roll(w, -2), "shifted", "moved on by -2, around the end"),
    (VECTOR, lambda w: np.concatenate([w[:1], w[:-1]]), "shifted", "the 40 channels are moved on by 1"),
    (SQUARE, lambda w: np.roll(w.ravel(), 3).reshape(w.shape), "shifted", "moved on by 3 in memory"),
    (KERNEL, lambda w: with_bit(w, (1, 2, 0, 1), 30), "bit flip", "bit 30, of the exponent, of its float32 is flipped"),
    (VECTOR, lambda w: with_bit(w, (7,), 31), "bit flip", "bit 31, the sign, of its float32 is flipped"),
    (KERNEL, lambda w: np.where(np.arange(w.size).reshape(w.shape) == 9, 77.0, w), "bit flip", "[0, 1, 0, 0] is 77"),
    (KERNEL, lambda w: np.random.default_rng(3).permutation(w.ravel()).reshape(w.shape), "shuffled", "another order"),
    (VECTOR, lambda w: np.random.default_rng(3).permutation(w), "permuted", "stand in another order"),
    (KERNEL, lambda w: w + np.float32(0.3) * drawn(*w.shape, seed=9), "checkpoint", "the source's (0.9"),
    (KERNEL, lambda w: drawn(*w.shape, seed=9), "random", "not correlated"),
    (KERNEL, lambda w: w.byteswap(), "bytes", "order of the bytes"),
    (VECTOR, np.ones_like, "constant", "it is 1 everywhere"),
    (KERNEL, lambda w: np.full_like(w, 3), "constant", "it is 3 everywhere"),
    (KERNEL, lambda w: w.clip(-0.5, 0.5), "clipped", "it goes from -0.5 to 0.5"),
    (VECTOR, lambda w: w.clip(0), "clipped", "cut off: it goes from 0 to"),
    (KERNEL, lambda w: w[[0, 0, 2, 2, 2, 5, 6, 0]], "repeated", "output channels hold the values of 4 of the source's"),
    (KERNEL, lambda w: np.tile(w[:1], (8, 1, 1, 1)), "repeated", "hold the values of 1 of the source's alone (0)"),
    (KERNEL, lambda w: np.round(w * 4) / np.float32(4), "levels", "rounded to steps of 0.25"),
    (SQUARE, lambda w: np.round(w * 8).clip(-9, 9) / np.float32(8), "levels", "rounded to steps of 0.125: 19 values"),
]  # fmt: skip


@pytest.mark.parametrize(("want", "change", "kind", "words"), CASES)
def test_what_was_done_to_it(want: Array, change: Callable[[Array], Array], kind: str, words: str) -> None:
    axes = AXES if want.ndim == 4 else ("channels",) if want.ndim == 1 else ("output channels", "input channels")
    told = became(np.ascontiguousarray(change(want)), want, axes=axes)
    assert told is not None
    assert (told.kind, words in told.sentence) == (kind, True), told
    assert kind in KINDS


def test_what_was_done_to_a_part() -> None:
    other = KERNEL.copy()
    other[[2, 5]] = -other[[2, 5]]
    told = became(other, KERNEL, axes=AXES)
    assert told is not None
    assert told.kind == "negated"
    assert told.sentence == "in 2 of 8 output channels (2, 5): it has the other sign everywhere"
    assert told.share == pytest.approx(2 / 8)


@pytest.mark.parametrize("want", [KERNEL, VECTOR, SQUARE * 1e-9, SQUARE * 1e30])
def test_rounding_of_the_precision_is_nothing(want: Array) -> None:
    assert became(want, want) is None
    assert became(np.nextafter(want, np.float32(np.inf)), want) is None
    if np.abs(want).max() < 60000:
        assert became(want.astype(np.float16), want, precision="fp16") is None
    step = np.abs(want).max() / 127
    assert became((np.round(want / step) * step).astype(np.float32), want, step=float(step) * 0.51) is None


def test_layers_that_differ_in_axes_of_length_one_are_the_same() -> None:
    assert became(SQUARE.reshape(16, 16, 1, 1), SQUARE) is None


def test_another_layers_values() -> None:
    told = became(drawn(8, seed=4), drawn(8, seed=5), another=lambda array: "layer2.weight")
    assert told is not None
    assert told.kind == "another layer"
    assert "'layer2.weight'" in told.sentence


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_values_that_are_no_numbers(bad: float) -> None:
    other = KERNEL.copy()
    other[0] = bad
    told = became(other, KERNEL, axes=AXES)
    assert told is not None
    told = became(KERNEL, other, axes=AXES)
    assert told is not None


def test_a_bit() -> None:
    assert flipped_bit(-1.5, 1.5) == 31
    assert flipped_bit(1.0, 2.0) is None
    assert flipped_bit(np.inf, 1.0) == 30
