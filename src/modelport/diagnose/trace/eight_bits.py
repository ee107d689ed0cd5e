"""What a unit loses in 8 bits where the graph says the same: clipped ranges, coarse scales, unlike channels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelport.core.text import plain, some
from modelport.core.values import Array, Tensors
from modelport.diagnose.trace.difference import SHOWN
from modelport.diagnose.trace.half_bits import SENSITIVE, Loss
from modelport.diagnose.trace.reading import Operation, Reading

if TYPE_CHECKING:
    import onnx

CLIPPED = 1e-3  # share of values outside the range from which clipping is told
SHIFTED = 0.7  # of the data's width: a range as wide that does not cover the data lies in the wrong place
COARSE = 8.0  # times the data's width
APART = 32.0  # factor between channels' ranges from which one scale leaves the smallest three bits
MANY = 0.1  # share of channels
CUT = frozenset({"Relu", "Clip"})
OUTLIER = 16.0  # times the 99.9th percentile


def lost_in_eight_bits(
    mine: Reading, nodes: Sequence[str], theirs: Sequence[Operation], tensors: Mapping[str, str], values: Tensors
) -> Loss:
    """Return what 8 bits lose of a unit: clipped ranges, coarse scales, one scale for unlike channels.

    ``nodes`` are the candidate's, with its quantization; ``tensors`` the reference's names by the candidate's roots.
    """
    for name in nodes:
        if (hit := _of_two_scales(mine, name)) is not None:
            return hit
    for quantizer in _quantizers(mine, nodes):
        if (hit := _of_range(mine, quantizer, tensors, values)) is not None:
            return hit
    for operation in theirs:
        if (hit := _of_channels(mine, nodes, operation)) is not None:
            return hit
    sensitive = next((one for one in theirs if one.op in SENSITIVE), None)
    if sensitive is not None:
        return Loss("sensitive", f"{plain(sensitive.op, SHOWN)} is quantized, which needs more than 256 levels")
    return Loss("sensitive", "nothing differs but the precision: 256 levels are too few here")


def quantized_from_zero(mine: Reading, nodes: Sequence[str]) -> bool:
    """Whether a unit quantizes something to levels that begin at zero: what lies below is cut off, as by Relu."""
    covered = (_covered(mine, one) for one in _quantizers(mine, nodes))
    return any(one is not None and one[0] == 0 for one in covered)


def without_relu(mine: Sequence[Operation], theirs: Sequence[Operation]) -> list[Operation]:
    """Return the reference's operations without a Relu or Clip that quantization does in its place."""
    if any(one.op in CUT for one in mine):
        return list(theirs)
    return [one for one in theirs if one.op not in CUT]


def _quantizers(mine: Reading, nodes: Sequence[str]) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that quantize what flows into a unit, inside it and out of it."""
    seen = set[str]()
    for name in nodes:
        node = mine.nodes.get(name)
        if node is None:
            continue
        before = [mine.maker.get(taken, "") for taken in node.input]
        # A quantized input comes from DequantizeLinear, and that from QuantizeLinear.
        further = [mine.maker.get(taken, "") for one in before if one for taken in mine.nodes[one].input[:1]]
        after = [taker for output in node.output for taker in mine.takers.get(output, ())]
        for other in (name, *before, *further, *after):
            if other and other not in seen and mine.nodes[other].op_type == "QuantizeLinear":
                seen.add(other)
                yield mine.nodes[other]


def _of_two_scales(mine: Reading, name: str) -> Loss | None:
    """Tell a tensor that is scaled back otherwise than it was quantized."""
    node = mine.nodes.get(name)
    before = mine.nodes.get(mine.maker.get(node.input[0], "")) if node is not None and node.input else None
    if node is None or before is None or (before.op_type, node.op_type) != ("QuantizeLinear", "DequantizeLinear"):
        return None
    for place, word in ((1, "scale"), (2, "zero point")):
        have, want = (mine.constant_input(one, place) for one in (node, before))
        if have is not None and want is not None and not np.array_equal(have, want):
            told = f"quantized with {word} {_numbers(want)} and scaled back with {_numbers(have)}"
            return Loss("constant", f"'{plain(mine.root(node.input[0]), SHOWN)}' is {told}")
    return None


def _numbers(array: Array) -> str:
    return some((f"{one:.6g}" for one in array.reshape(-1).tolist()), 4)


def _of_range(mine: Reading, quantizer: onnx.NodeProto, tensors: Mapping[str, str], values: Tensors) -> Loss | None:
    if (bounds := _covered(mine, quantizer)) is None:
        return None
    root = mine.root(quantizer.input[0])
    data = values.get(tensors.get(root, root))
    if data is None or not data.size:
        return None
    low, high, levels = bounds
    least, most = min(0.0, float(data.min())), max(0.0, float(data.max()))
    step = (high - low) / levels
    outside = float(((data < low - step) | (data > high + step)).mean())
    ranges = f"[{low:.4g}, {high:.4g}], the data reach from {least:.4g} to {most:.4g}"
    name = plain(root, SHOWN)
    width = max(most - least, 1e-30)
    if outside > CLIPPED:
        if high - low > SHIFTED * width:
            told = f"the zero point of '{name}' is off: the scale covers {ranges}; {outside:.1%} is clipped"
        else:
            told = f"the scale of '{name}' covers {ranges}: {outside:.1%} is clipped"
        return Loss("range", told)
    if high - low > COARSE * width:
        told = f"the scale of '{name}' covers {ranges}: {math.ceil(width / step)} of {levels + 1} levels are used"
        return Loss("range", told)
    usual = float(np.quantile(np.abs(data), 0.999))
    if usual and max(-least, most) > OUTLIER * usual:
        told = (
            f"a few values of '{name}' reach {max(-least, most):.4g}, while 99.9% are below {usual:.4g}: one scale for"
        )
        return Loss("range", f"{told} all leaves these {max(1, round(usual / step))} levels")
    return _unlike(data, 1, f"'{name}' has one scale") if data.ndim > 2 else None


def _covered(mine: Reading, quantizer: onnx.NodeProto) -> tuple[float, float, int] | None:
    """Return the least and the largest value that a quantizer keeps, and how many steps lie between."""
    scale = mine.constant_input(quantizer, 1)
    zero = mine.constant_input(quantizer, 2) if len(quantizer.input) > 2 and quantizer.input[2] else np.uint8(0)
    if scale is None or zero is None or scale.size != 1 or np.asarray(zero).dtype.kind not in "iu":
        return None
    info = np.iinfo(np.asarray(zero).dtype)
    factor, offset = float(scale.reshape(-1)[0]), float(np.asarray(zero).reshape(-1)[0])
    if not 0 < factor < math.inf:
        return None
    return (info.min - offset) * factor, (info.max - offset) * factor, info.max - info.min


def _of_channels(mine: Reading, nodes: Sequence[str], operation: Operation) -> Loss | None:
    """Tell a weight with one scale though the ranges of its output channels are far apart."""
    for key, weight in operation.weights.items():
        if weight.ndim < 2 or not any(_has_one_scale(mine, name, weight.size) for name in nodes):
            continue
        outputs_last = operation.op in ("Gemm", "MatMul") and not operation.settings.get("transB")
        axis = 1 if operation.op == "ConvTranspose" or outputs_last else 0
        name = plain(operation.constants.get(key, key), SHOWN)
        if (hit := _unlike(weight, axis, f"the weight '{name}' has one scale")) is not None:
            return hit
    return None


def _has_one_scale(mine: Reading, name: str, size: int) -> bool:
    node = mine.nodes.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return False
    scale, kept = mine.constant_input(node, 1), mine.constant_input(node, 0)
    return scale is not None and scale.size == 1 and kept is not None and kept.size == size


def _unlike(data: Array, axis: int, lead: str) -> Loss | None:
    reach = np.abs(np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1)).max(axis=1)
    telling = reach[reach > 0]
    poor = int((telling < telling.max(initial=0.0) / APART).sum())
    if poor < max(1, MANY * telling.size):
        return None
    factor = float(telling.max() / telling.min())
    told = f"{lead} for all channels, whose ranges differ by a factor of {factor:.3g}"
    return Loss("range", f"{told}: {poor} of {data.shape[axis]} have fewer than 8 levels")
