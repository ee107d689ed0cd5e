"""The same operators spelled otherwise: what each node of a kind becomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.windows import window_of

if TYPE_CHECKING:
    import onnx

Fits = Callable[[Draft, Any], bool]


def _each(operators: Sequence[str], edit: Callable[[Draft, Any], None], fits: Fits = lambda draft, node: True,
          ) -> Callable[[onnx.ModelProto], onnx.ModelProto | None]:  # fmt: skip
    """Return what rewrites every node of these operators that ``fits``."""

    def made(model: onnx.ModelProto) -> onnx.ModelProto | None:
        draft = Draft.copied(model)
        names = [node.name for node in draft.graph.node if node.op_type in operators and fits(draft, node)]
        for name in names:
            edit(draft, draft.nodes[name])
        del draft.graph.value_info[:]
        return draft.model if names else None

    return made


def _commute(draft: Draft, node: Any) -> None:
    node.input[0], node.input[1] = node.input[1], node.input[0]


def _gemm_apart(draft: Draft, node: Any) -> None:
    """A·B + C in two steps."""
    weights = draft.value(node.input[1])
    assert weights is not None
    turned = weights.T if draft.attribute(node, "transB", 0) else weights
    inputs = list(node.input)
    draft.become(node, "MatMul", [inputs[0], draft.constant(f"{node.name}/weights", turned)])
    if len(inputs) > 2:
        draft.after(node, "Add", inputs[2])


def _plain_gemm(draft: Draft, node: Any) -> bool:
    factors = all(draft.attribute(node, name, 1.0) == 1.0 for name in ("alpha", "beta"))
    return factors and not draft.attribute(node, "transA", 0) and node.input[1] in draft.constants


def _turn_gemm(draft: Draft, node: Any) -> None:
    weights = draft.value(node.input[1])
    assert weights is not None
    draft.put(node, 1, weights.T)
    draft.set(node, transB=1 - draft.attribute(node, "transB", 0))


def _over_plane(draft: Draft, node: Any) -> bool:
    axes = draft.value(node.input[1]) if len(node.input) > 1 else None
    shape = draft.shape(node.input[0])
    told = set() if axes is None else {int(axis) % 4 for axis in axes.ravel()}
    return shape is not None and len(shape) == 4 and told == {2, 3} and bool(draft.attribute(node, "keepdims", 1))


def _pool_plane(draft: Draft, node: Any) -> None:
    draft.become(node, "GlobalAveragePool", [node.input[0]])


def _relu_as_max(draft: Draft, node: Any) -> None:
    draft.become(node, "Max", [node.input[0], draft.number(node, "zero", 0.0, node.input[0])])


def _relu_as_clip(draft: Draft, node: Any) -> None:
    draft.become(node, "Clip", [node.input[0], draft.number(node, "zero", 0.0, node.input[0])])


def _spell_gelu(draft: Draft, node: Any) -> None:
    """x · ½ (1 + erf(x / √2)), as exporters before operator set 20 write it."""
    name = node.input[0]
    root, one, half = (
        draft.number(node, word, value, name) for word, value in (("root", 2**0.5), ("one", 1.0), ("half", 0.5))
    )
    draft.become(node, "Div", [name, root])
    draft.behind(node, ("Erf", (), {}), ("Add", (one,), {}), ("Mul", (name,), {}), ("Mul", (half,), {}))


def _exact_gelu(draft: Draft, node: Any) -> bool:
    return bool(draft.attribute(node, "approximate", "none") == "none")


def _pad_apart(draft: Draft, node: Any) -> None:
    window = window_of(draft, node)
    assert window is not None
    pads = np.array([0, 0, *window.begin, 0, 0, *window.end], np.int64)
    draft.before(node, 0, "Pad", draft.constant(f"{node.name}/pads", pads))
    draft.set(node, pads=[0] * len(window.pads))


def _padded(draft: Draft, node: Any) -> bool:
    window = window_of(draft, node)
    return window is not None and any(window.pads)


def _weights_and_bias(draft: Draft, node: Any) -> bool:
    return len(node.input) > 2 and all(name in draft.constants for name in node.input[1:])


def _bias_apart(draft: Draft, node: Any) -> None:
    bias = draft.value(node.input[2])
    rank = len(draft.shape(node.input[1]) or ())
    assert bias is not None
    del node.input[2]
    draft.after(node, "Add", draft.constant(f"{node.name}/bias", bias.reshape(-1, *[1] * (rank - 2))))


def _unfold_norm(draft: Draft, node: Any) -> None:
    """Write a convolution as one followed by the batch normalisation that was folded into it."""
    weights, bias = draft.value(node.input[1]), draft.value(node.input[2])
    assert weights is not None and bias is not None
    spread = np.linspace(0.5, 2.0, len(weights)).astype(weights.dtype)
    mean = np.linspace(-0.1, 0.1, len(weights)).astype(weights.dtype)
    epsilon = 1e-5
    draft.put(node, 1, (weights / spread.reshape(-1, *[1] * (weights.ndim - 1))).astype(weights.dtype))
    del node.input[2]
    told = {
        "scale": spread,
        "shift": bias + mean * spread,
        "mean": mean,
        "variance": np.full_like(mean, 1 - epsilon),
    }
    made = [draft.constant(f"{node.name}/norm_{word}", value.astype(weights.dtype)) for word, value in told.items()]
    draft.after(node, "BatchNormalization", *made, epsilon=epsilon)


def _spell_norm(draft: Draft, node: Any) -> None:
    """One factor and one shift a channel."""
    scale, shift, mean, variance = (np.asarray(draft.value(name), np.float64) for name in node.input[1:])
    factor = scale / np.sqrt(variance + draft.attribute(node, "epsilon", 1e-5))
    rank = len(draft.shape(node.input[0]) or (1,) * 4)
    dtype = np.float16 if draft.dtype(node.input[0]) == 10 else np.float32
    made = [
        draft.constant(f"{node.name}/{word}", value.astype(dtype).reshape(-1, *[1] * (rank - 2)))
        for word, value in (("factor", factor), ("shift", shift - mean * factor))
    ]
    draft.become(node, "Mul", [node.input[0], made[0]])
    draft.after(node, "Add", made[1])


def _infers(draft: Draft, node: Any) -> bool:
    return all(name in draft.constants for name in node.input[1:]) and not draft.attribute(node, "training_mode", 0)


def _divide_by_constant(draft: Draft, node: Any) -> bool:
    return draft.floating(node.output[0]) and node.input[1] in draft.constants


def _div_as_mul(draft: Draft, node: Any) -> None:
    value = draft.value(node.input[1])
    assert value is not None
    draft.become(node, "Mul", [node.input[0], draft.constant(f"{node.name}/inverse", (1 / value).astype(value.dtype))])


def _sub_as_add(draft: Draft, node: Any) -> None:
    draft.before(node, 1, "Neg")
    node.op_type = "Add"


def _floats(draft: Draft, node: Any) -> bool:
    return draft.floating(node.output[0])


def _spell_hard_swish(draft: Draft, node: Any) -> None:
    name = node.input[0]
    draft.become(node, "HardSigmoid", [name], alpha=1 / 6, beta=0.5)
    draft.after(node, "Mul", name)


def _spell_sigmoid(draft: Draft, node: Any) -> None:
    """1 / (1 + exp(−x))."""
    one = draft.number(node, "one", 1.0, node.input[0])
    draft.become(node, "Neg", [node.input[0]])
    draft.behind(node, ("Exp", (), {}), ("Add", (one,), {}), ("Reciprocal", (), {}))


def _flatten(draft: Draft, node: Any) -> None:
    draft.become(node, "Flatten", [node.input[0]], axis=1)


def _flattens(draft: Draft, node: Any) -> bool:
    shape, made = draft.shape(node.input[0]), draft.shape(node.output[0])
    known = shape is not None and made is not None and len(shape) > 2 and len(made) == 2
    return known and shape is not None and None not in shape[1:] and draft.value(node.input[1]) is not None


REWRITTEN = {
    "operands_commuted": _each(("Add", "Mul"), _commute),
    "gemm_apart": _each(("Gemm",), _gemm_apart, _plain_gemm),
    "gemm_turned": _each(("Gemm",), _turn_gemm, _plain_gemm),
    "mean_as_pool": _each(("ReduceMean",), _pool_plane, _over_plane),
    "relu_as_max": _each(("Relu",), _relu_as_max),
    "relu_as_clip": _each(("Relu",), _relu_as_clip),
    "gelu_spelled": _each(("Gelu",), _spell_gelu, _exact_gelu),
    "pads_apart": _each(("Conv",), _pad_apart, _padded),
    "bias_apart": _each(("Conv",), _bias_apart, _weights_and_bias),
    "norm_unfolded": _each(("Conv",), _unfold_norm, _weights_and_bias),
    "norm_spelled": _each(("BatchNormalization",), _spell_norm, _infers),
    "div_as_mul": _each(("Div",), _div_as_mul, _divide_by_constant),
    "sub_as_add": _each(("Sub",), _sub_as_add, _floats),
    "hard_swish_spelled": _each(("HardSwish",), _spell_hard_swish),
    "sigmoid_spelled": _each(("Sigmoid",), _spell_sigmoid),
    "flattened": _each(("Reshape",), _flatten, _flattens),
}
