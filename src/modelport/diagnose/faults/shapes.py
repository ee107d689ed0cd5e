"""Faults of what moves values without computing: reshapes, transposes, joins, cuts, pads, resizes, lookups."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelport.diagnose.faults.draft import Draft
from modelport.diagnose.faults.making import ANY, fault

# Operators that give the turned answer to a turned plane, and those that give the same.
TURN = frozenset(
    {"Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "HardSwish", "BatchNormalization", "MaxPool", "AveragePool"}
)
OF_ALL = frozenset({"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum"})


def _swapped(order: list[int], one: int, two: int) -> list[int]:
    order = list(order)
    order[one], order[two] = order[two], order[one]
    return order


def _axes_joined(draft: Draft, node: Any) -> tuple[int, int] | None:
    """The first and the last axis behind the batch's, both longer than 1, of what is reshaped."""
    shape = draft.shape(node.input[0])
    if shape is None:
        return None
    wide = [axis for axis, size in enumerate(shape) if axis and size is not None and size > 1]
    return (wide[0], wide[-1]) if len(wide) > 1 else None


def _can_reorder(draft: Draft, node: Any) -> bool:
    if node.op_type == "Reshape":
        target = draft.value(node.input[1])
        # 0 copies the size of an axis, which the transpose would change.
        if target is None or not all(np.asarray(target).ravel()[1:]):
            return False
    return draft.floating(node.input[0]) and _axes_joined(draft, node) is not None


def _other_order(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    shape, axes = draft.shape(node.input[0]), _axes_joined(draft, node)
    assert shape is not None and axes is not None
    perm = _swapped(list(range(len(shape))), *axes)
    draft.before(node, 0, "Transpose", perm=perm)
    return f"the values are taken in the order of axes {perm}, as of another layout"


def _square_axes(draft: Draft, node: Any) -> tuple[int, int] | None:
    """Two axes behind the first that are of one size, and longer than 1."""
    shape = draft.shape(node.output[0])
    if shape is None:
        return None
    pairs = [(one, two) for one in range(1, len(shape)) for two in range(one + 1, len(shape))]
    return next((pair for pair in reversed(pairs) if shape[pair[0]] == shape[pair[1]] and (shape[pair[0]] or 0) > 1),
                None)  # fmt: skip


def _other_perm(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    axes = _square_axes(draft, node)
    was = draft.attribute(node, "perm")
    assert axes is not None
    now = _swapped(was, *axes)
    draft.set(node, perm=now)
    return f"perm {was} became {now}"


def _turn_plane(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    draft.after(node, "Transpose", perm=[0, 1, 3, 2])
    return "height and width are exchanged"


def _is_square(draft: Draft, node: Any) -> bool:
    shape = draft.shape(node.output[0])
    square = shape is not None and len(shape) == 4 and shape[2] == shape[3] and (shape[2] or 0) > 1
    return square and _places_matter(draft, node.output[0])


def _places_matter(draft: Draft, name: str) -> bool:
    """Whether some taker can tell a plane from the turned one."""
    if name in draft.outputs:
        return True
    for taker in draft.takers.get(name, []):
        passed = taker.op_type in TURN and _places_matter(draft, taker.output[0])
        if passed or taker.op_type not in TURN | OF_ALL:
            return True
    return False


def _joins_others(draft: Draft, node: Any) -> bool:
    return len(set(node.input)) > 1 and list(node.input) != list(reversed(node.input))


def _reverse_inputs(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    inputs = list(reversed(node.input))
    del node.input[:]
    node.input.extend(inputs)
    return "the inputs are joined in the reverse order"


def _splits_alike(draft: Draft, node: Any) -> bool:
    shapes = [draft.shape(name) for name in node.output]
    return len(shapes) > 1 and None not in shapes and shapes[0] == shapes[-1]


def _swap_parts(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    node.output[0], node.output[-1] = node.output[-1], node.output[0]
    return "the first and the last part are exchanged"


def _room_to_slide(draft: Draft, node: Any) -> int | None:
    """By how much a slice along one axis can be moved: 1, −1, or None where there is no room."""
    parts = [draft.value(name) for name in node.input[1:]]
    shape = draft.shape(node.input[0])
    if shape is None or len(parts) < 3 or any(part is None or part.size != 1 for part in parts):
        return None
    start, end, axis = (int(part.ravel()[0]) for part in parts[:3] if part is not None)
    size = shape[axis]
    if size is None or (len(parts) > 3 and int(np.asarray(parts[3]).ravel()[0]) < 1):
        return None
    start, end = (value + size if value < 0 else min(value, size) for value in (start, end))
    return 1 if end < size else -1 if start > 0 else None


def _slide(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    by = _room_to_slide(draft, node)
    parts = [draft.value(name) for name in node.input[1:4]]
    shape = draft.shape(node.input[0])
    assert by is not None and shape is not None
    start, end, axis = (np.asarray(part) for part in parts)
    length = shape[int(axis.ravel()[0])] or 0
    for place, value in ((1, start), (2, end)):
        whole = np.where(value < 0, value + length, np.minimum(value, length))
        draft.put(node, place, (whole + by).astype(value.dtype))
    return f"the slice begins and ends {abs(by)} {'later' if by > 0 else 'earlier'}"


def _looks_up(draft: Draft, node: Any) -> bool:
    index, shape = draft.value(node.input[1]), draft.shape(node.input[0])
    if index is None or shape is None:
        return False
    size = shape[draft.attribute(node, "axis", 0)]
    return size is not None and size > 1


def _next_index(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    index, shape = draft.value(node.input[1]), draft.shape(node.input[0])
    assert index is not None and shape is not None
    length = shape[draft.attribute(node, "axis", 0)]
    draft.put(node, 1, ((index + 1) % length).astype(index.dtype))
    return "each index is one too high"


def _resize_mode(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "mode", "nearest")
    now = "linear" if was == "nearest" else "nearest"
    draft.set(node, mode=now, nearest_mode=None, cubic_coeff_a=None, antialias=None)
    return f"mode {was} became {now}"


def _resize_coordinates(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "coordinate_transformation_mode", "half_pixel")
    now = "asymmetric" if was in ("align_corners", "half_pixel", "pytorch_half_pixel") else "align_corners"
    draft.set(node, coordinate_transformation_mode=now)
    return f"coordinates {was} became {now}"


def _resize_rounding(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "nearest_mode", "round_prefer_floor")
    now = "floor" if was == "ceil" else "ceil"
    draft.set(node, nearest_mode=now)
    return f"nearest_mode {was} became {now}"


def _resizes(draft: Draft, node: Any) -> bool:
    shape, made = draft.shape(node.input[0]), draft.shape(node.output[0])
    return draft.opset >= 11 and shape is not None and len(shape) > 2 and shape != made


def _linear(draft: Draft, node: Any) -> bool:
    return _resizes(draft, node) and draft.attribute(node, "mode", "nearest") != "nearest"


def _nearest(draft: Draft, node: Any) -> bool:
    return _resizes(draft, node) and draft.attribute(node, "mode", "nearest") == "nearest"


def _pads_something(draft: Draft, node: Any) -> bool:
    pads = draft.value(node.input[1]) if len(node.input) > 1 else None
    return pads is not None and bool(np.any(pads))


def _pads_constant(draft: Draft, node: Any) -> bool:
    return _pads_something(draft, node) and draft.attribute(node, "mode", "constant") == "constant"


def _pad_mode(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "mode", "constant")
    now = "edge" if was == "constant" else "constant"
    draft.set(node, mode=now)
    return f"mode {was} became {now}"


def _pad_value(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    value = draft.number(node, "value", size, node.input[0])
    if len(node.input) > 2:
        node.input[2] = value
    else:
        node.input.append(value)
    return f"what is padded with became {size:g}"


def _pads_can_move(draft: Draft, node: Any) -> bool:
    pads = draft.value(node.input[1]) if len(node.input) > 1 else None
    return pads is not None and bool(np.any(pads[: pads.size // 2] > 0)) and bool(np.all(pads >= 0))


def _move_pads(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    pads = draft.value(node.input[1])
    assert pads is not None
    begin, end = np.split(pads, 2)
    draft.put(node, 1, np.concatenate([np.zeros_like(begin), begin + end]))
    return f"pads {pads.tolist()} moved behind"


def _blocks_otherwise(draft: Draft, node: Any, size: float, random: np.random.Generator) -> str:
    was = draft.attribute(node, "mode", "DCR")
    now = "CRD" if was == "DCR" else "DCR"
    draft.set(node, mode=now)
    return f"mode {was} became {now}"


SHAPES = (
    fault("reshape_order", ("Reshape", "Flatten"), _other_order, _can_reorder),
    fault("transpose_perm", ("Transpose",), _other_perm,
          lambda draft, node: draft.attribute(node, "perm") is not None and _square_axes(draft, node) is not None),
    fault("plane_turned", ANY, _turn_plane, _is_square),
    fault("concat_order", ("Concat",), _reverse_inputs, _joins_others),
    fault("split_order", ("Split",), _swap_parts, _splits_alike),
    fault("slice_shifted", ("Slice",), _slide, lambda draft, node: _room_to_slide(draft, node) is not None),
    fault("gather_index", ("Gather",), _next_index, _looks_up),
    fault("resize_mode", ("Resize",), _resize_mode, _resizes),
    fault("resize_coordinates", ("Resize",), _resize_coordinates, _linear),
    fault("resize_rounding", ("Resize",), _resize_rounding, _nearest),
    fault("pad_mode", ("Pad",), _pad_mode, _pads_something),
    fault("pad_value", ("Pad",), _pad_value, _pads_constant, sizes=(0.1, 1.0, 10.0)),
    fault("pad_shifted", ("Pad",), _move_pads, _pads_can_move),
    fault("depth_to_space_mode", ("DepthToSpace",), _blocks_otherwise),
)  # fmt: skip
