"""Kernel, strides, pads and dilations of a convolution or a pooling, as a node has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelport.diagnose.faults.draft import Draft


@dataclass(frozen=True, slots=True)
class Window:
    """One number an axis; ``begin`` and ``end`` are the pads."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def pads(self) -> list[int]:
        """The pads as the attribute has them."""
        return [*self.begin, *self.end]


def window_of(draft: Draft, node: Any) -> Window | None:
    """Return a node's window; None where its pads are left to the runtime or its kernel is not known."""
    if draft.attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", ""):
        return None
    kernel = draft.attribute(node, "kernel_shape")
    if not kernel and len(node.input) > 1:
        shape = draft.shape(node.input[1])
        kernel = None if shape is None else shape[2:]
    if not kernel or None in kernel:
        return None
    axes = len(kernel)
    ones, zeros = [1] * axes, [0] * 2 * axes
    pads = draft.attribute(node, "pads") or zeros
    strides, dilations = draft.attribute(node, "strides") or ones, draft.attribute(node, "dilations") or ones
    return Window(tuple(kernel), tuple(strides), tuple(dilations), tuple(pads[:axes]), tuple(pads[axes:]))
