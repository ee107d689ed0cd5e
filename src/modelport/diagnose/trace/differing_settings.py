"""In which attributes and constants two operations of one kind differ."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from modelport.core.text import plain
from modelport.diagnose.trace.difference import SHOWN, Difference, Sides, shown
from modelport.diagnose.trace.half_bits import LOST, NORMAL
from modelport.diagnose.trace.reading import Operation, Reading
from modelport.diagnose.trace.weights_values import ABSOLUTE, RELATIVE

# Before opset 13 these flatten all axes from ``axis`` on into one; from there on they take that axis alone.
FLATTENING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
ONE_AXIS = 13


def of_settings(sides: Sides, mine: Operation, theirs: Operation) -> Iterator[Difference]:
    """Yield the settings that differ, of two operations of one kind."""
    if (flattened := _flattening(sides, mine, theirs)) is not None:
        yield flattened
        return
    if _same_padding(sides, mine, theirs):
        mine, theirs = _without(mine, "auto_pad", "pads"), _without(theirs, "auto_pad", "pads")
    elif mine.settings.get("auto_pad") != theirs.settings.get("auto_pad"):
        padding = f"{_padded(sides.mine, mine)}, the source's {_padded(sides.theirs, theirs)}"
        yield Difference("attribute", padding, "pad as the source does", mine.name, mine.op)
        mine, theirs = _without(mine, "auto_pad", "pads"), _without(theirs, "auto_pad", "pads")
    for key in sorted(mine.settings.keys() | theirs.settings.keys()):
        have, want = mine.settings.get(key), theirs.settings.get(key)
        if _equal(have, want, *_rounding(sides, mine, key)) or _same_axes(sides, mine, theirs, key):
            continue
        alone = mine.defaults if want is None else theirs.defaults if have is None else {}
        if mine.opset != theirs.opset and key in alone and alone[key] == (have if want is None else want):
            continue  # an attribute that one opset does not have, and that is the default in the other
        name = plain(key, SHOWN)
        if (lost := _below_half(sides, mine, key, have, want)) is not None:
            yield lost
            continue
        kind = "constant" if key in mine.constants or key in theirs.constants else "attribute"
        told = f"{name} is {shown(have)}, the source's is {shown(want)}"
        if key == "training_mode" and have:
            told += ": it normalises by the batch, not by the stored statistics"
        if key == "epsilon":
            told += "; it counts where the variance is small"
        yield Difference(kind, told, f"set {name} to {shown(want)}", mine.name, mine.op)


def _below_half(sides: Sides, mine: Operation, key: str, have: Any, want: Any) -> Difference | None:
    """Tell a constant below float16's normal numbers that became another one there, or zero, as converters do."""
    stored = sides.mine.constant(mine.constants[key]) if key in mine.constants else None
    if stored is None or stored.dtype != np.float16 or not isinstance(have, float) or not isinstance(want, float):
        return None
    if not 0 < abs(want) < NORMAL or abs(have) >= NORMAL:
        return None
    name, lost = plain(key, SHOWN), abs(want) < LOST
    told = f"{name} is {shown(have)}, the source's is {shown(want)}: "
    told += "that is zero in float16" if lost else "float16 has fewer digits below 6.1e-5"
    return Difference("range", told, "" if lost else f"set {name} to {shown(want)}", mine.name, mine.op, narrow=lost)


def _flattening(sides: Sides, mine: Operation, theirs: Operation) -> Difference | None:
    if mine.op not in FLATTENING or (mine.opset < ONE_AXIS) == (theirs.opset < ONE_AXIS):
        return None
    old, reading = (mine, sides.mine) if mine.opset < ONE_AXIS else (theirs, sides.theirs)
    rank = _rank(reading, old)
    axes = [_axis(one.settings.get("axis"), rank) for one in (mine, theirs)]
    if rank is not None and axes[0] == axes[1] == rank - 1:
        return None
    word = "this file flattens" if old is mine else "the source flattens"
    told = f"{mine.op} of opset {mine.opset} with axis {axes[0]}, the source's is of opset {theirs.opset} with axis"
    told += f" {axes[1]}: below opset {ONE_AXIS} {word} all axes from there on into one"
    mend = f"export with opset {theirs.opset}, or with the softmax over the last axis"
    return Difference("opset", told, mend, mine.name, mine.op)


def _rank(reading: Reading, operation: Operation) -> int | None:
    shape = reading.shapes.get(operation.outputs[0]) if operation.outputs else None
    if shape is None and operation.inputs:
        shape = reading.shapes.get(operation.inputs[0])
    return None if shape is None else len(shape)


def _axis(axis: Any, rank: int | None) -> Any:
    return axis + rank if isinstance(axis, int) and axis < 0 and rank is not None else axis


def _same_axes(sides: Sides, mine: Operation, theirs: Operation, key: str) -> bool:
    """Whether axes are the same counted from the front and from the end."""
    have, want = mine.settings.get(key), theirs.settings.get(key)
    if key not in ("axis", "axes") or have is None or want is None:
        return False
    ranks = [_input_rank(sides.mine, mine), _input_rank(sides.theirs, theirs)]
    rank = next((rank for rank in ranks if rank is not None), None)
    lists = (value if isinstance(value, list) else [value] for value in (have, want))
    one, two = (sorted(_axis(axis, rank) for axis in axes) for axes in lists)
    return one == two


def _input_rank(reading: Reading, operation: Operation) -> int | None:
    # Unsqueeze counts the axes of its result.
    names = operation.outputs[:1] if operation.op == "Unsqueeze" else operation.inputs[:1]
    return next((len(reading.shapes[name]) for name in names if name in reading.shapes), None)


def _same_padding(sides: Sides, mine: Operation, theirs: Operation) -> bool:
    """Whether ``auto_pad`` on one side pads as ``pads`` does on the other, as far as shapes tell."""
    if mine.settings.get("auto_pad") == theirs.settings.get("auto_pad"):
        return False
    own, other = _padding(sides.mine, mine), _padding(sides.theirs, theirs)
    return own is not None and own == other


def _padding(reading: Reading, operation: Operation) -> list[int] | None:
    settings = operation.settings
    word = settings.get("auto_pad", "NOTSET")
    if word in ("NOTSET", "VALID"):
        return settings.get("pads") if word == "NOTSET" else [0] * len(settings.get("pads") or ())
    shape = reading.shapes.get(operation.inputs[0], ())[2:] if operation.inputs else ()
    kernel, strides, dilations = (settings.get(key) for key in ("kernel_shape", "strides", "dilations"))
    if not shape or 0 in shape or not kernel or not strides or 0 in strides or operation.op == "ConvTranspose":
        return None
    before, after = [], []
    for size, k, s, d in zip(shape, kernel, strides, dilations or [1] * len(kernel), strict=False):
        total = max((math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size, 0)
        less, more = total // 2, total - total // 2
        before.append(less if word == "SAME_UPPER" else more)
        after.append(more if word == "SAME_UPPER" else less)
    return before + after


def _padded(reading: Reading, operation: Operation) -> str:
    word, pads = operation.settings.get("auto_pad", "NOTSET"), _padding(reading, operation)
    told = "by what is not known here" if pads is None else shown(pads)
    return f"pads is {told}" if word == "NOTSET" else f"auto_pad is {plain(word, SHOWN)} (pads {told})"


def _without(operation: Operation, *keys: str) -> Operation:
    return replace(operation, settings={key: value for key, value in operation.settings.items() if key not in keys})


def _equal(have: Any, want: Any, relative: float, absolute: float) -> bool:
    """Whether two settings are the same, floats within this rounding."""
    if isinstance(have, list) and isinstance(want, list):
        return len(have) == len(want) and all(
            _equal(*pair, relative, absolute) for pair in zip(have, want, strict=True)
        )
    if isinstance(have, float) or isinstance(want, float):
        if not isinstance(have, int | float) or not isinstance(want, int | float):
            return False
        near = math.isclose(have, want, rel_tol=relative, abs_tol=absolute)
        return near or (math.isnan(have) and math.isnan(want))
    return bool(have == want)


def _rounding(sides: Sides, mine: Operation, key: str) -> tuple[float, float]:
    """Return by how much a setting may be rounded, relative and absolute: constants as the tensors, attributes not."""
    if key not in mine.constants:
        return RELATIVE["fp32"], 0.0
    word = sides.precision if sides.precision in RELATIVE else "fp32"
    return RELATIVE[word], max(ABSOLUTE[word], sides.step(mine.constants[key]))
