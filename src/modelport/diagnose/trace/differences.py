"""In what two forms of the same unit differ: operators, settings, the tensors they read, weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from modelport.core.text import listed, plain, some
from modelport.core.values import Array
from modelport.diagnose.trace.folding import Norm, implied_epsilon, settled
from modelport.diagnose.trace.reading import COMMUTATIVE, Operation, Reading
from modelport.diagnose.trace.weights_cause import Became, became

SHOWN = 60  # characters of a name or a value
LONGEST = 8  # numbers of a list
COMPUTED = 4e-6  # of the largest weight: rounding in float32 of what is computed of several
# Before opset 13 these flatten all axes from ``axis`` on into one; from there on they take that axis alone.
FLATTENING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
ONE_AXIS = 13
OUT_IN: Mapping[str, tuple[str, ...]] = {
    "Conv": ("output channels", "input channels", "kernel rows", "kernel columns"),
    "ConvTranspose": ("input channels", "output channels", "kernel rows", "kernel columns"),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of a unit. ``node`` and ``op`` are the candidate's, empty where it has none for it."""

    kind: str
    sentence: str
    mend: str  # what would undo it
    node: str = ""
    op: str = ""
    became: Became | None = None
    quantized: bool = False  # whether it is about a weight that the candidate keeps in 8 bits
    opset: int = 0  # what would mend it where the operator's meaning hangs on it


@dataclass(frozen=True, slots=True)
class Sides:
    """Both graphs, which of their tensors are the same, and how weights are stored in the candidate."""

    mine: Reading
    theirs: Reading
    tensors: Mapping[str, str]  # the reference's by the candidate's
    precision: str
    another: Callable[[Array], str] | None = None  # finds a tensor of the reference by its values

    @property
    def lowered(self) -> bool:
        """Whether casts and quantization are what was asked for."""
        return self.precision != "fp32"


def differences(sides: Sides, mine: Sequence[Operation], theirs: Sequence[Operation]) -> list[Difference]:
    """Return in what the candidate's operations differ from the reference's, what tells most first."""
    found = _compared(sides, mine, theirs, {})
    if found:
        # What is spelled otherwise and is the same is no difference. Where as many are left, the files say it plainer.
        (plainer, own), (plainest, norms) = settled(mine), settled(theirs)
        fewer = _compared(sides, plainer, plainest, {} if own else norms)
        found = fewer if len(fewer) < len(found) else found
    order = ("opset", "missing", "added", "operator", "attribute", "inputs", "constant", "norm", "weights")
    return sorted(found, key=lambda each: order.index(each.kind))


def _compared(
    sides: Sides, mine: Sequence[Operation], theirs: Sequence[Operation], norms: Mapping[str, Norm]
) -> list[Difference]:
    found = [_of_operators(mine[a:b], theirs[c:d]) for a, b, c, d in _changes(mine, theirs)]
    names = {sides.mine.root(one): sides.theirs.root(two) for one, two in sides.tensors.items()}
    # What nodes of the source make that the candidate lacks: whoever reads it reads something else here, for that.
    alone = {name for _, _, c, d in _changes(mine, theirs) for two in theirs[c:d] for name in two.outputs}
    for one, two in _pairs(mine, theirs):
        turned = _constant_elsewhere(one, two)
        if turned is not None:
            found.append(turned)
        else:
            found += _of_settings(sides, one, two)
            found += _of_inputs(one, two, names, alone)
            found += _of_weights(sides, one, two, norms.get(two.name))
        names |= dict(zip(one.outputs, two.outputs, strict=False))
    return found


def _blocks(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Sequence[tuple[str, int, int, int, int]]:
    matcher = SequenceMatcher(None, [one.op for one in mine], [two.op for two in theirs], autojunk=False)
    return matcher.get_opcodes()


def _changes(mine: Sequence[Operation], theirs: Sequence[Operation]) -> list[tuple[int, int, int, int]]:
    return [(a, b, c, d) for word, a, b, c, d in _blocks(mine, theirs) if word != "equal"]


def _pairs(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Iterator[tuple[Operation, Operation]]:
    for word, a, b, c, d in _blocks(mine, theirs):
        if word == "equal":
            yield from zip(mine[a:b], theirs[c:d], strict=True)


def _of_operators(mine: Sequence[Operation], theirs: Sequence[Operation]) -> Difference:
    have, want = _spelled(mine), _spelled(theirs)
    node, op = (mine[0].name, mine[0].op) if mine else ("", "")
    if not mine:
        told = f"{want} {'is' if len(theirs) == 1 else 'are'} missing"
        return Difference("missing", told, f"put {want} back", node, op)
    verb = "is" if len(mine) == 1 else "are"
    if not theirs:
        told = f"{have} {'was' if len(mine) == 1 else 'were'} added; the source has nothing there"
        return Difference("added", told, f"take {have} out", node, op)
    return Difference("operator", f"{have} {verb} where the source has {want}", f"put {want} back", node, op)


def _spelled(operations: Sequence[Operation]) -> str:
    return listed(map(_called_op, operations), 6)


def _called_op(operation: Operation) -> str:
    """Return an operator with what tells it from others of its kind: the type of a cast, a number that it takes."""
    from onnx import TensorProto

    name = plain(operation.op, SHOWN)
    if operation.op == "Cast":
        return f"Cast to {TensorProto.DataType.Name(operation.settings['to']).lower()}"
    numbers = {key: one for key, one in operation.settings.items() if key in operation.constants}
    told = [f"{plain(key, SHOWN)} {_shown(one)}" for key, one in numbers.items() if isinstance(one, float)]
    return f"{name} ({', '.join(told)})" if told else name


def _of_settings(sides: Sides, mine: Operation, theirs: Operation) -> Iterator[Difference]:
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
        if _equal(have, want) or _same_axes(sides, mine, theirs, key):
            continue
        if (have is None or want is None) and mine.opset != theirs.opset and not (have or want):
            continue  # an attribute that one opset does not have, and that is off in the other
        kind = "constant" if key in mine.constants or key in theirs.constants else "attribute"
        shown = plain(key, SHOWN)
        told = f"{shown} is {_shown(have)}, the source's is {_shown(want)}"
        if key == "training_mode" and have:
            told += ": it normalises by the batch, not by the stored statistics"
        if key == "epsilon":
            told += "; it counts where the variance is small"
        yield Difference(kind, told, f"set {shown} to {_shown(want)}", mine.name, mine.op)


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
    return Difference("opset", told, mend, mine.name, mine.op, opset=theirs.opset)


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
    if not shape or 0 in shape or not kernel or not strides or operation.op == "ConvTranspose":
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
    shown = _shown(pads) if pads is not None else "by what is not known here"
    return f"pads is {shown}" if word == "NOTSET" else f"auto_pad is {plain(word, SHOWN)} (pads {shown})"


def _constant_elsewhere(mine: Operation, theirs: Operation) -> Difference | None:
    """Tell a constant that is the first operand here and the second there."""
    if len(mine.constants) != 1 or len(theirs.constants) != 1 or mine.constants.keys() == theirs.constants.keys():
        return None
    (one,), (two,) = mine.constants, theirs.constants
    have, want = (
        np.asarray(side.weights[key] if key in side.weights else side.settings[key])
        for side, key in ((mine, one), (theirs, two))
    )
    if have.shape != want.shape or not np.array_equal(have, want):
        return None
    told = f"its inputs are exchanged: the constant is {plain(one, SHOWN)}, the source's is {plain(two, SHOWN)}"
    return Difference("inputs", told, "exchange them", mine.name, mine.op)


def _without(operation: Operation, *keys: str) -> Operation:
    from dataclasses import replace

    return replace(operation, settings={key: value for key, value in operation.settings.items() if key not in keys})


def _equal(have: Any, want: Any) -> bool:
    """Whether two settings are the same, floats within float32's rounding."""
    if isinstance(have, list) and isinstance(want, list):
        return len(have) == len(want) and all(map(_equal, have, want))
    if isinstance(have, float) or isinstance(want, float):
        numbers = isinstance(have, int | float) and isinstance(want, int | float)
        return numbers and (math.isclose(have, want, rel_tol=1e-6) or (math.isnan(have) and math.isnan(want)))
    return bool(have == want)


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, bytes):
        return f"a subgraph of {len(value)} bytes"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{some(map(_shown, value), LONGEST)}]"
    return plain(value, SHOWN)


def _of_inputs(
    mine: Operation, theirs: Operation, names: Mapping[str, str], alone: Collection[str]
) -> Iterator[Difference]:
    """Yield what is read in another order, or from elsewhere."""
    have, want, called = [names.get(name, "") for name in mine.inputs], list(theirs.inputs), list(mine.inputs)
    if mine.op in COMMUTATIVE:
        for one in set(have).intersection(want):
            place = have.index(one)
            del have[place], called[place], want[want.index(one)]
    if have == want:
        return
    mend = f"read {listed((plain(name, SHOWN) for name in want), 4)} as the source does"
    if len(have) != len(want):
        told = f"it reads {len(mine.inputs)} tensors, the source {len(theirs.inputs)}"
        yield Difference("inputs", told, mend, mine.name, mine.op)
        return
    if sorted(have) == sorted(want):
        told = "its inputs are exchanged" if len(have) == 2 else "its inputs stand in another order"
        told += f": {listed((plain(name, SHOWN) for name in called), 4)}"
        yield Difference("inputs", told, mend, mine.name, mine.op)
        return
    for place, (one, two) in enumerate(zip(have, want, strict=True)):
        # What is made of another tensor inside the unit is told where it is made.
        if one and one != two and two not in alone:
            told = f"it reads '{plain(called[place], SHOWN)}', which is the source's '{plain(one, SHOWN)}';"
            told += f" the source reads '{plain(two, SHOWN)}'"
            yield Difference("inputs", told, mend, mine.name, mine.op)


def _of_weights(sides: Sides, mine: Operation, theirs: Operation, norm: Norm | None) -> Iterator[Difference]:
    """Yield what became of the weights, and of float constants, that the operation takes."""
    # The weight before the bias: what is wrong with a folded norm shows in both, and is told once.
    if (swapped := _weights_exchanged(mine, theirs)) is not None:
        yield swapped
        return
    sizes = {key: value.ndim for key, value in (*theirs.weights.items(), *mine.weights.items())}
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        have, want = mine.weights.get(key), theirs.weights.get(key)
        tensor = mine.constants.get(key) or theirs.constants.get(key, "")
        name = f"the {_called(mine.op, key)}" + (f" '{plain(tensor, SHOWN)}'" if tensor else "")
        if have is None or want is None:
            there = have if have is not None else want
            if there is not None and not there.any():
                continue  # a bias of zeros may be left out
            told = f"{name} is missing" if have is None else f"{name} was added; the source has none"
            yield Difference("weights", told, f"take {name} from the source", mine.name, mine.op)
            continue
        step = _step(sides, tensor)
        if mine.computed or theirs.computed:
            step = max(step, COMPUTED * float(np.abs(want).max(initial=0.0)))
        axes, word = axes_of(mine, key, want.ndim), _stored(sides, have)
        hit = became(have, want, axes=axes, precision=word, step=step, another=sides.another)
        if hit is None:
            continue
        if norm is not None and (lost := _of_norm(mine, have, norm)) is not None:
            yield Difference(*lost, "fold the batch norm again", mine.name, mine.op)
            return
        kind = "constant" if want.size <= 3 and mine.op not in OUT_IN else "weights"
        told = f"{name}: {hit.sentence}"
        eight_bits = bool(_step(sides, tensor))
        yield Difference(kind, told, f"take {name} from the source", mine.name, mine.op, hit, eight_bits)


def _weights_exchanged(mine: Operation, theirs: Operation) -> Difference | None:
    """Tell two weights of one node that stand in each other's place."""
    off = [key for key in theirs.weights if not _same_values(mine.weights.get(key), theirs.weights[key])]
    if len(off) != 2 or not all(
        _same_values(mine.weights.get(one), theirs.weights[two]) for one, two in (off, reversed(off))
    ):
        return None
    one, two = (_called(mine.op, key) for key in off)
    return Difference("inputs", f"its {one} and its {two} are exchanged", "exchange them", mine.name, mine.op)


def _same_values(one: Array | None, two: Array) -> bool:
    return one is not None and one.shape == two.shape and bool(np.array_equal(one, two))


def _of_norm(mine: Operation, have: Array, norm: Norm) -> tuple[str, str] | None:
    """Tell what went wrong where a batch norm was folded into a layer's weight, its kind first; None for neither."""
    axis = 1 if mine.op in ("ConvTranspose", "Gemm") else 0
    if have.ndim < 2:
        return None
    weight = np.moveaxis(have, axis, 0).astype(np.float64)
    if weight.shape == norm.unfolded.shape and np.allclose(weight, norm.unfolded, rtol=1e-5, atol=1e-12):
        return "missing", "the batch norm behind it is missing: it is not folded into the weights either"
    epsilon = implied_epsilon(weight, norm)
    if epsilon is not None and not math.isclose(epsilon, norm.epsilon, rel_tol=0.05):
        return "norm", f"the batch norm was folded with epsilon {epsilon:.3g}, the source's is {norm.epsilon:.3g}"
    return None


def axes_of(operation: Operation, key: str, count: int) -> tuple[str, ...]:
    """Return what each axis of a weight counts; empty where the operator does not tell."""
    if count == 1:
        return ("channels",)
    if operation.op in OUT_IN and key == "W":
        return OUT_IN[operation.op][:count]
    if operation.op in ("Gemm", "MatMul") and count == 2:
        layer = ("output channels", "input channels")
        return layer if operation.settings.get("transB") else layer[::-1]
    return ()


def _called(op: str, key: str) -> str:
    words = {"W": "weight", "input_mean": "mean", "input_var": "variance", "scale": "scale", "slope": "slope"}
    if op in ("Gemm", "MatMul"):
        words |= {"B": "weight", "A": "weight", "C": "bias"}
    return words.get(key, "bias" if key in ("B", "bias") else "constant")


def _stored(sides: Sides, have: Array) -> str:
    """Return in what a weight is stored, so far as it counts for rounding."""
    return "fp16" if have.dtype == np.float16 else sides.precision if sides.precision in ("fp16", "bf16") else "fp32"


def _step(sides: Sides, tensor: str) -> float:
    """Return by how much a quantizer may have rounded a weight, half a step and its own rounding; 0 for a float one."""
    maker = sides.mine.maker.get(tensor)
    if maker is None or sides.mine.nodes[maker].op_type != "DequantizeLinear":
        return 0.0
    scale = sides.mine.constant(sides.mine.nodes[maker].input[1])
    return 0.0 if scale is None else 0.51 * float(np.abs(scale).max())
