"""Faults of normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.base import GraphFault
from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import fault, leave_out

NORMS = ("BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization")


def _other_epsilon(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "epsilon", 1e-5)
    draft.set(node, epsilon=was * size)
    return f"epsilon {was:g} became {was * size:g}"


def _infers(draft: Draft, node: Any) -> bool:
    given = all(name in draft.constants for name in node.input[1:])
    return given and len(node.input) == 5 and not draft.attribute(node, "training_mode", 0)


def _affine_differs(draft: Draft, node: Any) -> bool:
    scale, shift = (draft.value(name) for name in node.input[1:3])
    return _infers(draft, node) and (scale is None or shift is None or not np.array_equal(scale, shift))


def _swap_affine(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.input[1], node.input[2] = node.input[2], node.input[1]
    return "scale and shift are exchanged"


def _over_planes(draft: Draft, node: Any) -> bool:
    shape = draft.shape(node.input[0])
    return _infers(draft, node) and shape is not None and len(shape) > 2


def _own_statistics(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    # For a single sample this is what batch normalisation left in training mode computes.
    epsilon = draft.attribute(node, "epsilon", 1e-5)
    draft.become(node, "InstanceNormalization", list(node.input[:3]), epsilon=epsilon)
    return "each sample is normalised by its own mean and variance, not by the running ones"


def _lost(kind: str, places: dict[int, float], about: str) -> GraphFault:
    """Return the fault that sets constants of a normalisation, by their place, to one number."""

    def kept(draft: Draft, node: Any, place: int, number: float) -> bool:
        value = draft.value(node.input[place])
        return value is not None and bool(np.all(value == number))

    def fits(draft: Draft, node: Any) -> bool:
        known = len(node.input) > max(places) and all(node.input[place] in draft.constants for place in places)
        return known and not all(kept(draft, node, place, number) for place, number in places.items())

    def edit(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
        for place, number in places.items():
            value = draft.value(node.input[place])
            assert value is not None
            draft.put(node, place, np.full_like(value, number))
        return about

    return fault(kind, ("BatchNormalization", "LayerNormalization"), edit, fits, family="weights")


NORMALIZATION = (
    fault("norm_epsilon", NORMS, _other_epsilon, sizes=(10.0, 1e3, 1e5)),
    fault("norm_left_out", NORMS, leave_out),
    fault("norm_scale_shift_swapped", ("BatchNormalization",), _swap_affine, _affine_differs),
    fault("norm_own_statistics", ("BatchNormalization",), _own_statistics, _over_planes),
    _lost("norm_affine_lost", {1: 1.0, 2: 0.0}, "the scale became 1 and the shift 0"),
    _lost("norm_statistics_lost", {3: 0.0, 4: 1.0}, "the running mean became 0 and the variance 1"),
)
