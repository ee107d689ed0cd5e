"""Faults of precision and range: casts, saturation, overflow, quantisation with a wrong scale, dropout left on."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import Edit, fault

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Relu", "Gelu", "Add", "Concat", "BatchNormalization")
LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FLOAT, INT32, FLOAT16, BFLOAT16 = 1, 6, 10, 16


def _through(kind: int, word: str) -> Edit:
    def edit(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
        draft.behind(node, ("Cast", (), {"to": kind}), ("Cast", (), {"to": draft.dtype(node.output[0])}))
        return f"the output is cast to {word} and back"

    return edit


def _is_single(draft: Draft, node: Any) -> bool:
    return draft.dtype(node.output[0]) == FLOAT


def _saturate(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    bounds = [draft.number(node, word, value, node.output[0]) for word, value in (("low", -size), ("high", size))]
    draft.after(node, "Clip", *bounds)
    return f"the output saturates at ±{size:g}"


def _overflow(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    up, down = (draft.number(node, word, value, node.output[0]) for word, value in (("up", size), ("down", 1 / size)))
    draft.behind(node, ("Mul", (up,), {}), ("Cast", (), {"to": FLOAT16}), ("Cast", (), {"to": FLOAT}),
                 ("Mul", (down,), {}))  # fmt: skip
    return f"the output passes through float16 {size:g} times as large"


def _coarse(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    up, down = (draft.number(node, word, value, node.output[0]) for word, value in (("up", 1 / size), ("down", size)))
    draft.behind(node, ("Mul", (up,), {}), ("Round", (), {}), ("Mul", (down,), {}))
    return f"the output is rounded to multiples of {size:g}"


def _other_scale(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    name = node.output[0]
    fine, wrong = (draft.number(node, word, value, name) for word, value in (("scale", 0.05), ("scale_back", 0.05 * (
        1 + size))))  # fmt: skip
    zero = draft.constant(f"{node.name}/zero", np.array(0, np.int8))
    draft.behind(node, ("QuantizeLinear", (fine, zero), {}), ("DequantizeLinear", (wrong, zero), {}))
    return f"the output is quantised with scale 0.05 and scaled back with {0.05 * (1 + size):g}"


def _channels(draft: Draft, node: Any) -> int:
    shape = draft.shape(node.output[0])
    return (shape[1] or 0) if shape is not None and len(shape) > 1 else 0


def _drop_out(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    shape = draft.shape(node.output[0])
    assert shape is not None
    mask = random.random(_channels(draft, node)) >= size
    mask[random.integers(len(mask))] = False
    dtype = np.float16 if draft.dtype(node.output[0]) == FLOAT16 else np.float32
    values = (mask / (1 - size)).astype(dtype).reshape(-1, *[1] * (len(shape) - 2))
    draft.after(node, "Mul", draft.constant(f"{node.name}/mask", values))
    return f"dropout with ratio {size:g} is left on: {int((~mask).sum())} of {len(mask)} channels are lost"


def _scale_output(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.after(node, "Mul", draft.number(node, "factor", 1 + size, node.output[0]))
    return f"the output is {1 + size:g} times as large"


PRECISION = (
    fault("cast_to_int", LAYERS, _through(INT32, "int32")),
    fault("cast_to_float16", LAYERS, _through(FLOAT16, "float16"), _is_single),
    fault("cast_to_bfloat16", LAYERS, _through(BFLOAT16, "bfloat16"), lambda draft, node: draft.opset >= 13),
    fault("saturated", LAYERS, _saturate, lambda draft, node: draft.opset >= 11, sizes=(2.0, 0.5, 0.1)),
    fault("float16_overflow", LINEAR, _overflow, _is_single, sizes=(1e4, 1e6, 1e8)),
    fault("rounded_coarsely", LAYERS, _coarse, lambda draft, node: draft.opset >= 11, sizes=(0.01, 0.1, 1.0)),
    fault("quantisation_scale", LAYERS, _other_scale, _is_single, sizes=(0.01, 0.1, 1.0)),
    fault("dropout_left_on", LAYERS, _drop_out, lambda draft, node: _channels(draft, node) > 1,
          sizes=(0.05, 0.2, 0.5)),
    fault("output_scaled", LAYERS, _scale_output, lambda draft, node: not draft.rescaled_behind(node),
          sizes=(0.01, 0.1, 1.0)),
)  # fmt: skip
