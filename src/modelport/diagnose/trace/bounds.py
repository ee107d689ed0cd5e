"""The relative L2 error that its precision explains of one unit.

Rounding to nearest errs by at most u of each result, and errors are of either sign: a sum of K terms is off by about
√K u times the sum of their magnitudes, with near certainty (Higham & Mary, A new approach to probabilistic rounding
error analysis, SIAM J. Sci. Comput. 41, 2019). How much more than the result that sum of magnitudes is (cancellation)
is measured: the unit is run again with inputs and weights that are off by a known share at random, as Monte Carlo
arithmetic does it (Parker, 1997), and the change of its result is the unit's sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelport.model.graph.disturbed import EXACT
from modelport.model.graph.flow import Flow, Kind, Step

# Unit roundoffs: half the distance from 1 to the next number. With 8 bits it is float32's: quantization is measured.
ROUNDOFF = {"fp32": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8, "int8": 2.0**-24}
# Root mean square of an error of rounding, as a share of its bound: mantissas are spread as log-uniform numbers are.
MEAN_SQUARE = 0.42
# How many times the expected error a healthy unit's may be. `benchmarks/trace_bounds.py` prints the largest share of
# the bound by precision: for the ResNet-18 in 18 healthy forms and at four opsets 0.024 in float32, 0.177 in float16
# and 0.802 in 8 bits; for the graphs of simclr and smlp-t in every healthy form 0.040.
MARGIN = {"fp32": 16.0, "fp16": 4.0, "int8": 4.0}
# Values of other samples than those that a range of 8 bits was found on may lie beyond it, by up to this share of it on
# either side. What is cut off of larger ones is not explained.
ROOM = 0.25
# What is cut off is told to the digit: a little more, so that it counts as explained.
SLACK = 1.25
# The smallest float16 above zero: below 2**-14 all are multiples of it. What is so small loses more than a rounding;
# where next to nothing is left of a result, that is more than precision explains.
SMALLEST_HALF = 2.0**-24
MOST_LOST = 0.9
# The share by which inputs and weights are moved to find a unit's sensitivity: far above rounding, and small enough
# that an operator is nearly linear over it.
NUDGE = 2.0**-10


@dataclass(frozen=True, slots=True)
class Work:
    """What a unit computes: how many results it rounds on the way, and the longest sum in it."""

    roundings: int
    length: int


def work_of(flow: Flow, steps: Sequence[Step], kinds: Mapping[str, Kind]) -> Work:
    """Return the work of some steps."""
    rounding = [step for step in steps if step.op not in EXACT]
    lengths = [length_of(flow, step, kinds) for step in rounding]
    return Work(len(rounding), max(lengths, default=1))


def length_of(flow: Flow, step: Step, kinds: Mapping[str, Kind]) -> int:
    """Return how many terms are summed for one element of a step's result; 1 where none are, or it cannot be told."""
    shapes = [_shape(flow, name, kinds) for name in step.node.input] or [None]
    axis = 0 if step.op == "Conv" else 1  # of the output channels
    if step.op in ("Conv", "ConvTranspose") and len(shapes) > 1 and shapes[1] and len(shapes[1]) > axis:
        return max(1, math.prod(shapes[1]) // max(1, shapes[1][axis]))
    if step.op in ("Gemm", "MatMul") and shapes[0]:
        flipped = any(attribute.name == "transA" and attribute.i for attribute in step.node.attribute)
        return shapes[0][-2] if flipped and len(shapes[0]) > 1 else shapes[0][-1]
    if step.op in ("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "LpNormalization") and shapes[0]:
        return max(shapes[0])
    if step.op in ("InstanceNormalization", "GroupNormalization") and shapes[0]:
        return max(1, math.prod(shapes[0][1:]))
    if step.op.startswith(("Reduce", "Global", "AveragePool", "Einsum")) and shapes[0]:
        result = _shape(flow, step.gives[0], kinds)
        # Of an average over windows that overlap this is too few; each has few terms.
        return max(1, math.prod(shapes[0]) // max(1, math.prod(result))) if result is not None else max(shapes[0])
    return 1


@dataclass(frozen=True, slots=True)
class Moves:
    """What was measured of a unit: how much its result moves, relative, and how large that is.

    ``sensitivity``: by a share of its inputs and weights, as a multiple of that. ``quantization``: by the rounding of
    its 8-bit tensors, ``MARGIN`` times, and by the ends of their range. ``size``: the root mean square of the
    reference's result.
    """

    sensitivity: float = 1.0
    quantization: float = 0.0
    size: float = 1.0


def expected(work: Work, precision: str, moves: Moves) -> float:
    """Return the relative L2 error that is explained of a unit, the margin in it.

    Results are rounded to the precision, sums are kept in float32. The errors have nothing to do with each other:
    their squares are added.
    """
    unit, single = ROUNDOFF[precision], ROUNDOFF["fp32"]
    own = unit * math.sqrt(1 + work.roundings) * math.hypot(1, moves.sensitivity)
    summed = single * math.sqrt(work.length) * (1 + moves.sensitivity)
    rounded = MARGIN["fp32" if unit == single else "fp16"] * MEAN_SQUARE * math.hypot(own, summed)
    lost = 0.0
    if precision == "fp16" and moves.size:
        lost = min(MOST_LOST, MARGIN["fp16"] * SMALLEST_HALF / math.sqrt(12) / moves.size)
    return math.hypot(rounded, lost, SLACK * moves.quantization)


def _shape(flow: Flow, name: str, kinds: Mapping[str, Kind]) -> tuple[int, ...] | None:
    tensor: Any = flow.constants.get(name)
    if tensor is not None:
        return tuple(tensor.dims)
    kind = kinds.get(name)
    return None if kind is None else kind.shape
