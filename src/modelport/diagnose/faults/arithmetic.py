"""Faults of arithmetic: operands left out, exchanged or taken from elsewhere, constants and signs."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import fault, leave_out


def _sums_alike(draft: Draft, node: Any) -> bool:
    """Whether two tensors of one shape are added, none of them constant."""
    shapes = [draft.shape(name) for name in draft.activations(node)]
    return len(set(node.input)) == 2 and len(shapes) == 2 and shapes[0] is not None and shapes[0] == shapes[1]


def _skip_lost(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    first, second = (draft.positions.get(name, -1) for name in node.input)
    draft.drop(node, node.input[0 if first > second else 1])
    return "the operand that was made earlier, the shortcut, is not added"


def _branch_lost(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    first, second = (draft.positions.get(name, -1) for name in node.input)
    draft.drop(node, node.input[0 if first < second else 1])
    return "the operand that was made later, the branch, is not added"


def _subtract(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.op_type = "Sub"
    return "Add became Sub"


def _exchange(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.input[0], node.input[1] = node.input[1], node.input[0]
    return f"the operands of {node.op_type} are exchanged"


def _other(draft: Draft, node: Any) -> str | None:
    """The tensor made last before this node that has its second operand's shape and dtype; None for none."""
    wanted = draft.shape(node.input[1])
    if wanted is None or node.input[1] in draft.constants:
        return None
    for other in reversed(draft.graph.node[: draft.positions[node.output[0]]]):
        name = other.output[0]
        same = draft.shape(name) == wanted and draft.dtype(name) == draft.dtype(node.input[1])
        if same and name not in node.input and name not in draft.constants:
            return str(name)
    return None


def _take_other(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was, now = node.input[1], _other(draft, node)
    assert now is not None
    node.input[1] = now
    return f"its second input became '{now}' in place of '{was}'"


def _constant_place(draft: Draft, node: Any) -> int | None:
    """Which input is a constant, where one is and the other is not."""
    places = [place for place, name in enumerate(node.input[:2]) if name in draft.constants]
    return places[0] if len(places) == 1 else None


def _scale(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    place = _constant_place(draft, node)
    assert place is not None
    value = draft.value(node.input[place])
    assert value is not None
    draft.put(node, place, (value * (1 + size)).astype(value.dtype))
    return f"the constant of {node.op_type} is {1 + size:g} times as large"


def _constant_is_lost(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    place = _constant_place(draft, node)
    assert place is not None
    draft.drop(node, node.input[1 - place])
    return f"the {node.op_type} of a constant is left out"


def _constant_counts(draft: Draft, node: Any) -> bool:
    place = _constant_place(draft, node)
    if place is None:
        return False
    value = draft.value(node.input[place])
    neutral = 1.0 if node.op_type in ("Mul", "Div") else 0.0
    # Div has its constant behind; 1 / x is no scaling.
    plain = place == 1 or node.op_type in ("Add", "Mul")
    keeps = draft.shape(node.output[0]) == draft.shape(node.input[1 - place])
    return plain and keeps and (value is None or bool(np.any(value != neutral)))


def _can_scale(draft: Draft, node: Any) -> bool:
    place = _constant_place(draft, node)
    value = None if place is None else draft.value(node.input[place])
    return place is not None and (value is None or bool(np.any(value)))


def _other_alpha(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "alpha", 1.0)
    draft.set(node, alpha=was * (1 + size))
    return f"alpha {was:g} became {was * (1 + size):g}"


def _other_beta(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "beta", 1.0)
    draft.set(node, beta=was * (1 + size))
    return f"beta {was:g} became {was * (1 + size):g}"


def _adds_something(draft: Draft, node: Any) -> bool:
    value = draft.value(node.input[2]) if len(node.input) > 2 else np.zeros(1)
    return value is None or bool(np.any(value))


def _two_activations(draft: Draft, node: Any) -> bool:
    return len(set(node.input)) == 2 and len(draft.activations(node)) == 2


def _gate_adds(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.op_type = "Add"
    return "Mul became Add"


def _bounded(draft: Draft, node: Any) -> bool:
    return len(node.input) > 2 and bool(node.input[2]) and draft.value(node.input[2]) is not None


def _other_bound(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    value = draft.value(node.input[2])
    assert value is not None
    draft.put(node, 2, (value * (1 - size)).astype(value.dtype))
    return f"the upper bound {float(value):g} became {float(value) * (1 - size):g}"


def _same_shape(draft: Draft, node: Any) -> bool:
    shape = draft.shape(node.input[0])
    return shape is not None and shape == draft.shape(node.output[0])


def _negate(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.after(node, "Neg")
    return "the sign of the output is exchanged"


ARITHMETIC = (
    fault("skip_lost", ("Add",), _skip_lost, _sums_alike),
    fault("branch_lost", ("Add",), _branch_lost, _sums_alike),
    fault("add_subtracts", ("Add",), _subtract, _sums_alike),
    fault("operands_exchanged", ("Sub", "Div"), _exchange,
          lambda draft, node: _sums_alike(draft, node) or _constant_place(draft, node) is not None),
    fault("operand_from_elsewhere", ("Add", "Mul"), _take_other, lambda draft, node: _other(draft, node) is not None),
    fault("constant_scaled", ("Mul", "Div", "Add", "Sub"), _scale, _can_scale, sizes=(0.01, 0.1, 1.0)),
    fault("constant_lost", ("Mul", "Div", "Add", "Sub"), _constant_is_lost, _constant_counts),
    fault("gemm_alpha", ("Gemm",), _other_alpha, sizes=(0.01, 0.1, 1.0)),
    fault("gemm_beta", ("Gemm",), _other_beta, _adds_something, sizes=(0.01, 0.1, 1.0)),
    fault("gate_adds", ("Mul",), _gate_adds, _two_activations),
    fault("clip_bound", ("Clip",), _other_bound, _bounded, sizes=(0.1, 0.5, 0.9)),
    fault("layer_left_out", ("Conv", "MatMul"), leave_out, _same_shape),
    fault("sign_exchanged", ("Conv", "Gemm", "MatMul", "Sub"), _negate),
)  # fmt: skip
