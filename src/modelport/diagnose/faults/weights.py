"""Faults of weights: damaged, misread, moved, taken from elsewhere, rounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.faults.base import GraphFault
from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import fault

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
Of = Callable[[Array, float, np.random.Generator], Array]


def _place(draft: Draft, node: Any) -> int | None:
    """Which input holds the weights: float constants of two axes or more."""
    for place in (1, 0) if node.op_type == "MatMul" else (1,):
        name = node.input[place]
        shape = draft.shape(name)
        if name in draft.constants and draft.floating(name) and shape is not None and len(shape) > 1:
            return place
    return None


def _of_weights(kind: str, about: str, change: Of, fits: Callable[[Draft, Any, tuple[int, ...]], bool] | None = None,
                sizes: tuple[float, ...] = (1.0,)) -> GraphFault:  # fmt: skip
    """Return the fault that changes a layer's weights; ``{size}`` in ``about`` is its size."""

    def is_place(draft: Draft, node: Any) -> bool:
        place = _place(draft, node)
        if place is None:
            return False
        shape = tuple(axis or 0 for axis in draft.shape(node.input[place]) or ())
        return fits is None or fits(draft, node, shape)

    def edit(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
        place = _place(draft, node)
        assert place is not None
        value = draft.value(node.input[place])
        assert value is not None
        with np.errstate(all="ignore"):  # a damaged number may be beyond the dtype's range
            made = change(value, size, random).astype(value.dtype)
        assert made.shape == value.shape
        draft.put(node, place, made)
        return f"of the weights '{node.input[place]}' {about.format(size=size)}"

    return fault(kind, LAYERS, edit, is_place, sizes=sizes, family="weights")


def _flip_exponent(value: Array, size: float, random: np.random.Generator) -> Array:
    made = value.astype(np.float32).ravel()
    # A number of ordinary size, so that the flipped bit was 0 in it.
    place = int(np.argsort(np.abs(made))[int(made.size * 0.75)])
    bits = made[place : place + 1].view(np.uint32)
    bits ^= np.uint32(1 << int(size))
    return made.reshape(value.shape)


def _noise(value: Array, size: float, random: np.random.Generator) -> Array:
    return value + random.normal(0, float(value.std()) * size, value.shape)


def _one_channel(factor: Callable[[float], float]) -> Of:
    def change(value: Array, size: float, random: np.random.Generator) -> Array:
        made = value.copy()
        made[int(np.argmax(np.abs(value.reshape(len(value), -1)).sum(1)))] *= factor(size)
        return made

    return change


def _half_zero(value: Array, size: float, random: np.random.Generator) -> Array:
    made = value.copy().ravel()
    made[round(made.size * (1 - size)) :] = 0
    return made.reshape(value.shape)


def _round_to_bits(value: Array, size: float, random: np.random.Generator) -> Array:
    step = np.abs(value).max() / (2 ** (size - 1) - 1)
    return np.asarray(np.round(value / step) * step)


def _misread(value: Array, size: float, random: np.random.Generator) -> Array:
    """Read what was written in the reverse order of axes as if it were in this one."""
    order = (*range(2, value.ndim), 1, 0)  # OIHW written as HWIO; a matrix transposed
    return np.ascontiguousarray(value.transpose(order)).reshape(value.shape)


def _drawn_anew(value: Array, size: float, random: np.random.Generator) -> Array:
    return random.normal(float(value.mean()), float(value.std()), value.shape)


def _permuted(value: Array, size: float, random: np.random.Generator) -> Array:
    return value[np.roll(np.arange(len(value)), 1)]


def _rescaled(value: Array, size: float, random: np.random.Generator) -> Array:
    factors = np.exp(random.normal(0, size, len(value)))
    return value * factors.reshape(-1, *[1] * (value.ndim - 1))


def _clipped(value: Array, size: float, random: np.random.Generator) -> Array:
    bound = float(value.std()) * size
    return np.clip(value, -bound, bound)


def _swapped_bytes(value: Array, size: float, random: np.random.Generator) -> Array:
    return value.byteswap()


def _factor_arrives(draft: Draft, node: Any, shape: tuple[int, ...]) -> bool:
    return not draft.rescaled_behind(node)


def _has_kernel(draft: Draft, node: Any, shape: tuple[int, ...]) -> bool:
    return len(shape) > 2 and max(shape[2:]) > 1


def _has_square_kernel(draft: Draft, node: Any, shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[2] == shape[3] > 1


def _takes_colours(draft: Draft, node: Any, shape: tuple[int, ...]) -> bool:
    given = {value.name for value in draft.graph.input}
    return node.op_type == "Conv" and shape[1] == 3 and node.input[0] in given


def _outputs_differ(draft: Draft, node: Any, shape: tuple[int, ...]) -> bool:
    return shape[0] > 1


def _reverse_colours(value: Array, size: float, random: np.random.Generator) -> Array:
    return value[:, ::-1]


def _twins(draft: Draft, node: Any) -> list[str]:
    """The weights of other layers that have the shape of this one's."""
    place = _place(draft, node)
    if place is None:
        return []
    own = node.input[place]
    shape, found = draft.shape(own), []
    for other in draft.graph.node:
        there = _place(draft, other) if other.op_type in LAYERS else None
        if there is not None and other.input[there] != own and draft.shape(other.input[there]) == shape:
            found.append(other.input[there])
    return found


def _repeat_layer(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    place, twins = _place(draft, node), _twins(draft, node)
    assert place is not None
    other = twins[int(random.integers(len(twins)))]
    value = draft.value(other)
    assert value is not None
    was = node.input[place]
    draft.put(node, place, value)
    return f"the weights '{was}' are those of '{other}'"


WEIGHTS = (
    _of_weights("weight_bit", "bit {size:g} of one number is flipped", _flip_exponent, sizes=(24.0, 27.0, 30.0)),
    _of_weights("weights_scaled", "all are larger by the factor 1 + {size:g}",
                lambda value, size, _: value * (1 + size), _factor_arrives, sizes=(0.02, 0.1, 0.5)),
    _of_weights("weights_negated", "all have the other sign", lambda value, size, _: -value),
    _of_weights("channel_scaled", "one channel is larger by the factor 1 + {size:g}",
                _one_channel(lambda size: 1 + size), _factor_arrives, sizes=(0.1, 1.0, 10.0)),
    _of_weights("channel_zeroed", "one channel is zero", _one_channel(lambda size: 0.0)),
    _of_weights("weights_cut_off", "the last {size:.0%} are zero, as of a file cut off", _half_zero,
                sizes=(0.05, 0.25, 0.5)),
    _of_weights("weights_misread", "the layout is misread", _misread),
    _of_weights("weights_permuted", "the channels are out of order by one", _permuted, _outputs_differ),
    _of_weights("weights_shuffled", "the numbers are shuffled",
                lambda value, size, random: random.permutation(value.ravel()).reshape(value.shape)),
    _of_weights("weights_offset", "each number is read one place too late",
                lambda value, size, random: np.roll(value.ravel(), -1).reshape(value.shape)),
    _of_weights("weights_drawn_anew", "all are of another training", _drawn_anew),
    _of_weights("weights_noise", "noise of {size:g} of their spread is added", _noise, sizes=(0.01, 0.1, 1.0)),
    _of_weights("weights_rounded", "each is rounded to {size:g} bits", _round_to_bits, sizes=(6.0, 4.0, 2.0)),
    _of_weights("weights_clipped", "all are clipped at {size:g} times their spread", _clipped, sizes=(2.0, 1.0, 0.5)),
    _of_weights("channels_rescaled", "each channel is scaled by a factor of its own, spread {size:g}", _rescaled,
                _factor_arrives, sizes=(0.01, 0.1, 0.5)),
    _of_weights("bytes_swapped", "the order of the bytes is exchanged", _swapped_bytes),
    _of_weights("kernel_flipped", "the kernels are turned by 180°",
                lambda value, size, _: np.flip(value, tuple(range(2, value.ndim))), _has_kernel),
    _of_weights("kernel_turned", "height and width of the kernels are exchanged",
                lambda value, size, _: np.swapaxes(value, 2, 3), _has_square_kernel),
    _of_weights("colours_reversed", "the first layer takes BGR", _reverse_colours, _takes_colours),
    fault("layer_repeated", LAYERS, _repeat_layer, lambda draft, node: bool(_twins(draft, node)), family="weights"),
)  # fmt: skip
