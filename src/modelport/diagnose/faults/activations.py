"""Faults of activations: removed, added, exchanged, with other constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import Edit, fault, leave_out

# What gives no negative number, so that a Relu behind it does nothing.
NEVER_NEGATIVE = frozenset({"Relu", "Sigmoid", "Softmax", "HardSigmoid", "Exp", "Sqrt", "Abs", "Softplus"})
# What passes the sign of its input on.
KEEPS_SIGN = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Transpose"})
BEFORE_RELU = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization", "Add")


def _may_be_negative(draft: Draft, name: str) -> bool:
    maker = draft.makers.get(name)
    while maker is not None and maker.op_type in KEEPS_SIGN:
        maker = draft.makers.get(maker.input[0])
    return maker is None or maker.op_type not in NEVER_NEGATIVE


def _rectifies(draft: Draft, node: Any) -> bool:
    behind = draft.takers.get(node.output[0], [])
    again = bool(behind) and all(taker.op_type == "Relu" for taker in behind) and node.output[0] not in draft.outputs
    return _may_be_negative(draft, node.input[0]) and not again


def _leak(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.become(node, "LeakyRelu", [node.input[0]], alpha=size)
    return f"Relu became LeakyRelu with alpha {size:g}"


def _cap(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    bounds = [draft.number(node, word, value, node.input[0]) for word, value in (("low", 0.0), ("high", size))]
    draft.become(node, "Clip", [node.input[0], *bounds])
    return f"Relu became Clip from 0 to {size:g}"


def _is_not_rectified(draft: Draft, node: Any) -> bool:
    behind = draft.takers.get(node.output[0], [])
    clipped = bool(behind) and all(taker.op_type in ("Relu", "Clip") for taker in behind)
    return not clipped


def _rectify(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.after(node, "Relu")
    return f"a Relu follows {node.op_type}"


def _to(operator: str, **attributes: Any) -> Edit:
    def edit(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
        was = node.op_type
        draft.become(node, operator, [node.input[0]], **attributes)
        return f"{was} became {operator}"

    return edit


def _other_gelu(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "approximate", "none")
    now = "none" if was == "tanh" else "tanh"
    draft.set(node, approximate=now)
    return f"Gelu's approximation {was} became {now}"


def _quick_gelu(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    # x · sigmoid(1.702 x), Hendrycks and Gimpel 2016, in place of x · Φ(x).
    name = node.input[0]
    draft.before(node, 0, "Mul", draft.number(node, "slope", 1.702, name))
    draft.become(node, "Sigmoid", [node.input[0]])
    draft.after(node, "Mul", name)
    return "Gelu became x · sigmoid(1.702 x)"


def _other_alpha(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    default = {"LeakyRelu": 0.01, "HardSigmoid": 0.2, "ThresholdedRelu": 1.0, "Selu": 1.67326}.get(node.op_type, 1.0)
    was = draft.attribute(node, "alpha", default)
    draft.set(node, alpha=was * size)
    return f"alpha {was:g} became {was * size:g}"


def _other_slopes(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    value = draft.value(node.input[1])
    assert value is not None
    draft.put(node, 1, (value * size).astype(value.dtype))
    return f"the slopes are {size:g} times as large"


def _hard_swish_by_keras(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    # HardSwish has 1/6 inside; the default slope of HardSigmoid is 0.2.
    name = node.input[0]
    draft.become(node, "HardSigmoid", [name], alpha=0.2, beta=0.5)
    draft.after(node, "Mul", name)
    return "the slope 1/6 inside HardSwish became 0.2"


def _softmax_axis(draft: Draft, node: Any) -> int | None:
    shape = draft.shape(node.output[0])
    if shape is None or len(shape) < 3:
        return None
    axis = draft.attribute(node, "axis", -1) % len(shape)
    other = axis - 1 if axis > 1 else axis + 1
    return other if other < len(shape) and (shape[axis] != 1 or shape[other] != 1) else None


def _turn_softmax(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    other = _softmax_axis(draft, node)
    was = draft.attribute(node, "axis", -1)
    draft.set(node, axis=other)
    return f"axis {was} became {other}"


def _again(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.after(node, "Softmax", axis=draft.attribute(node, "axis", -1))
    return "a second Softmax follows"


def _answers_scores(draft: Draft, node: Any) -> bool:
    shape = draft.shape(node.output[0])
    two = shape is not None and len(shape) == 2 and shape[1] not in (None, 1)
    return node.output[0] in draft.outputs and two and node.op_type in BEFORE_RELU


def _softmax_at_the_end(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.after(node, "Softmax", axis=-1)
    return "the answer is given through a Softmax"


ACTIVATIONS = (
    fault("relu_left_out", ("Relu",), leave_out, _rectifies),
    fault("relu_leaks", ("Relu",), _leak, _rectifies, sizes=(0.01, 0.1, 0.3)),
    fault("relu_capped", ("Relu",), _cap, lambda draft, node: draft.opset >= 11, sizes=(6.0, 1.0, 0.25)),
    fault("relu_for_sigmoid", ("Relu",), _to("Sigmoid")),
    fault("relu_added", BEFORE_RELU, _rectify, _is_not_rectified),
    fault("activation_left_out", ("Gelu", "Sigmoid", "HardSwish", "LeakyRelu", "Tanh", "Elu", "PRelu"), leave_out),
    fault("gelu_approximation", ("Gelu",), _other_gelu),
    fault("gelu_quick", ("Gelu",), _quick_gelu),
    fault("gelu_for_relu", ("Gelu",), _to("Relu")),
    fault("erf_for_tanh", ("Erf",), _to("Tanh")),
    fault("sigmoid_hardened", ("Sigmoid",), _to("HardSigmoid", alpha=0.2, beta=0.5)),
    fault("activation_alpha", ("LeakyRelu", "Elu", "HardSigmoid", "Selu"), _other_alpha, sizes=(1.2, 2.0, 5.0)),
    fault("slopes_scaled", ("PRelu",), _other_slopes, lambda draft, node: node.input[1] in draft.constants,
          sizes=(1.2, 2.0, 5.0)),
    fault("hard_swish_slope", ("HardSwish",), _hard_swish_by_keras),
    fault("softmax_axis", ("Softmax",), _turn_softmax, lambda draft, node: _softmax_axis(draft, node) is not None),
    fault("softmax_left_out", ("Softmax",), leave_out),
    fault("softmax_twice", ("Softmax",), _again),
    fault("softmax_added", BEFORE_RELU, _softmax_at_the_end, _answers_scores),
)  # fmt: skip
