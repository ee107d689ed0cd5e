"""Faults of poolings and of means over a plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.convolution import can_shift, shift_pads
from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import fault
from modelport.diagnose.faults.windows import window_of

POOLS = ("MaxPool", "AveragePool")
OF_PLANE = {"GlobalAveragePool": "GlobalMaxPool", "ReduceMean": "ReduceMax"}


def _wider_than_one(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and max(window.kernel) > 1 and len([name for name in node.output if name]) == 1


def _can_average(draft: Draft, node: Any) -> bool:
    plain = all(value == 1 for value in draft.attribute(node, "dilations") or [1])
    return _wider_than_one(draft, node) and plain  # an average pool has dilations only since operator set 19


def _to_average(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.op_type = "AveragePool"
    draft.set(node, storage_order=None, dilations=None)
    return "the largest value of each window became its mean"


def _to_max(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.op_type = "MaxPool"
    draft.set(node, count_include_pad=None)
    return "the mean of each window became its largest value"


def _round_up(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    up = 1 - draft.attribute(node, "ceil_mode", 0)
    draft.set(node, ceil_mode=up)
    return f"ceil_mode {1 - up} became {up}"


def _leaves_a_rest(draft: Draft, node: Any) -> bool:
    window, shape = window_of(draft, node), draft.shape(node.input[0])
    if window is None or shape is None or draft.opset < 10 or None in shape[2:]:
        return False
    for place, size in enumerate(shape[2:]):
        reach = (window.kernel[place] - 1) * window.dilations[place] + 1
        span = (size or 0) + window.begin[place] + window.end[place] - reach
        last = -(-span // window.strides[place]) * window.strides[place]  # where rounding up begins its last window
        if span % window.strides[place] and last < (size or 0) + window.begin[place]:
            return True
    return False


def _averages_with_pads(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and any(window.pads)


def _count_pads(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    counted = 1 - draft.attribute(node, "count_include_pad", 0)
    draft.set(node, count_include_pad=counted)
    return f"count_include_pad {1 - counted} became {counted}"


def _can_narrow(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and set(window.kernel) == {3} and set(window.pads) == {1}


def _narrow(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    axes = len(draft.attribute(node, "kernel_shape"))
    draft.set(node, kernel_shape=[2] * axes, pads=[0] * axes + [0 if _strides(draft, node) == {2} else 1] * axes)
    return "kernel 3 with pads became kernel 2"


def _strides(draft: Draft, node: Any) -> set[int]:
    return set(draft.attribute(node, "strides") or [1])


def _over_a_plane(draft: Draft, node: Any) -> bool:
    shape, made = draft.shape(node.input[0]), draft.shape(node.output[0])
    if shape is None or len(shape) < 3 or made is None:
        return False
    # Both Reduce operators have taken their axes as an input since operator set 18.
    return not any(size == 1 for size in shape[2:]) and not draft.attribute(node, "noop_with_empty_axes", 0)


def _over_several(draft: Draft, node: Any) -> bool:
    shape = draft.shape(node.input[0])
    axes = draft.attribute(node, "axes") or (draft.value(node.input[1]) if len(node.input) > 1 else None)
    if shape is None or axes is None:
        return False
    return any(shape[int(axis)] != 1 for axis in np.ravel(axes))


def _mean_to_max(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was, node.op_type = node.op_type, OF_PLANE[node.op_type]
    return f"{was} became {node.op_type}"


def _mean_to_sum(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    # ReduceSum has taken its axes as an input since operator set 13, ReduceMean since 18.
    axes = draft.attribute(node, "axes")
    node.op_type = "ReduceSum"
    if axes is not None and draft.opset >= 13:
        draft.set(node, axes=None)
        node.input.append(draft.constant(f"{node.name}/axes", np.array(axes, np.int64)))
    return "ReduceMean became ReduceSum"


POOLING = (
    fault("max_pool_averages", ("MaxPool",), _to_average, _can_average),
    fault("average_pool_takes_max", ("AveragePool",), _to_max, _wider_than_one),
    fault("pool_pads_shifted", POOLS, shift_pads, can_shift),
    fault("pool_ceil_mode", POOLS, _round_up, _leaves_a_rest, shapes=True),
    fault("pool_counts_pads", ("AveragePool",), _count_pads, _averages_with_pads),
    fault("pool_kernel", POOLS, _narrow, _can_narrow, shapes=True),
    fault("mean_takes_max", tuple(OF_PLANE), _mean_to_max, _over_a_plane),
    fault("mean_sums", ("ReduceMean",), _mean_to_sum, _over_several),
)
