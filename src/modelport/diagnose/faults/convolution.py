"""Faults of convolutions: pads, dilations, strides, groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import fault
from modelport.diagnose.faults.windows import window_of

CONVOLUTIONS = ("Conv", "ConvTranspose")


def can_shift(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    if window is None or not any(window.begin):
        return False
    # A pool takes no pad as large as its kernel.
    pooling = node.op_type not in CONVOLUTIONS
    return not pooling or all(
        first + last < size for first, last, size in zip(window.begin, window.end, window.kernel, strict=True)
    )


def shift_pads(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    """Move the pads from before to behind, as frameworks that pad "same" do; the shape stays."""
    window = window_of(draft, node)
    assert window is not None
    behind = [first + last for first, last in zip(window.begin, window.end, strict=True)]
    pads = [0] * len(behind) + behind
    draft.set(node, pads=pads)
    return f"pads {window.pads} became {pads}"


def _same_pads(draft: Draft, node: Any) -> list[int] | None:
    """The pads that SAME_UPPER gives, where they differ and keep the shape."""
    window, shape = window_of(draft, node), draft.shape(node.input[0])
    out = draft.shape(node.output[0])
    if window is None or shape is None or out is None or any(size != 1 for size in window.dilations):
        return None
    begin, end = [], []
    for size, made, kernel, stride in zip(shape[2:], out[2:], window.kernel, window.strides, strict=True):
        if size is None or made != -(-size // stride):
            return None
        total = max((made - 1) * stride + kernel - size, 0)
        begin.append(total // 2)
        end.append(total - total // 2)
    return [*begin, *end] if [*begin, *end] != window.pads else None


def _pad_same(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.set(node, pads=None, auto_pad="SAME_UPPER")
    return "explicit pads became auto_pad SAME_UPPER"


def _pads(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and any(window.pads)


def _repeat_edge(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    window = window_of(draft, node)
    assert window is not None
    pads = np.array([0, 0, *window.begin, 0, 0, *window.end], np.int64)
    draft.before(node, 0, "Pad", draft.constant(f"{node.name}/edge_pads", pads), mode="edge")
    draft.set(node, pads=[0] * len(window.pads))
    return "the border is padded with its edge, not with zeros"


def _can_dilate(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and all(size % 2 for size in window.kernel) and any(size > 1 for size in window.kernel)


def _dilate(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    window = window_of(draft, node)
    assert window is not None
    wider = [kernel // 2 for kernel in window.kernel]
    pads = [pad + more for pad, more in zip(window.pads, wider * 2, strict=True)]
    dilations = [value + (kernel > 1) for value, kernel in zip(window.dilations, window.kernel, strict=True)]
    draft.set(node, dilations=dilations, pads=pads)
    return f"dilations {list(window.dilations)} became {dilations}"


def _has_strides(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and draft.opset >= 10 and set(window.strides) == {2}


def _pool_strides(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    window = window_of(draft, node)
    assert window is not None
    two, one = [2] * len(window.strides), [1] * len(window.strides)
    draft.set(node, strides=one)
    draft.after(node, "AveragePool", kernel_shape=two, strides=two, ceil_mode=1)
    return "the strides moved from the convolution into an average pool behind it"


def _can_halve(draft: Draft, node: Any) -> bool:
    shape = draft.shape(node.input[1]) if node.input[1] in draft.constants else None
    if shape is None or draft.attribute(node, "group", 1) != 1:
        return False
    made, taken = shape[0] or 0, shape[1] or 0
    return made % 2 == 0 and taken % 2 == 0 and taken > 1


def _halve_groups(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    weights = draft.value(node.input[1])
    if weights is not None:
        draft.put(node, 1, weights[:, : weights.shape[1] // 2])
    draft.set(node, group=2)
    return "group 1 became 2: each half of the outputs takes half of the channels"


def _has_groups(draft: Draft, node: Any) -> bool:
    return draft.attribute(node, "group", 1) > 1 and node.input[1] in draft.constants


def _one_group_for_all(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    weights = draft.value(node.input[1])
    assert weights is not None
    groups = int(draft.attribute(node, "group"))
    of_each = weights.reshape(groups, -1, *weights.shape[1:])
    draft.put(node, 1, np.broadcast_to(of_each[:1], of_each.shape).reshape(weights.shape))
    return f"all {groups} groups have the weights of the first"


def has_bias(draft: Draft, node: Any) -> bool:
    """Whether a node's third input is a constant that is not zero everywhere."""
    if len(node.input) < 3 or node.input[2] not in draft.constants or draft.rescaled_behind(node):
        return False
    value = draft.value(node.input[2])
    return value is None or bool(np.any(value))


def _drop_bias(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    del node.input[2]
    return "the bias is left out"


def _double_bias(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    value = draft.value(node.input[2])
    assert value is not None
    draft.put(node, 2, value * value.dtype.type(2))
    return "the bias is added twice"


CONVOLUTION = (
    fault("conv_pads_shifted", CONVOLUTIONS, shift_pads, can_shift),
    fault("conv_auto_pad", ("Conv",), _pad_same, lambda draft, node: _same_pads(draft, node) is not None),
    fault("conv_edge_padding", ("Conv",), _repeat_edge, _pads),
    fault("conv_dilation", ("Conv",), _dilate, _can_dilate),
    fault("conv_stride_pooled", ("Conv",), _pool_strides, _has_strides, shapes=True),
    fault("conv_groups_halved", ("Conv",), _halve_groups, _can_halve),
    fault("conv_groups_alike", ("Conv",), _one_group_for_all, _has_groups),
    fault("bias_dropped", ("Conv", "ConvTranspose", "Gemm"), _drop_bias, has_bias),
    fault("bias_twice", ("Conv", "ConvTranspose", "Gemm"), _double_bias, has_bias),
)
