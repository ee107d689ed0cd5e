"""How far the tensors of a model may be from the source's by nothing but the rounding of a precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelport.core.errors import GraphError
from modelport.core.values import Array, Tensors
from modelport.diagnose.distance import distance, total_distance
from modelport.diagnose.trace.running import Bench
from modelport.model.graph.disturbed import disturbed

if TYPE_CHECKING:
    import onnx

# By precision, the relative L2 error that is never called a departure, chosen above what a network of eleven nodes, in
# which hardly anything adds up (that of tests/jobs/traced_nets.py), had on two vendors' engines: 1.5e-7 in fp32,
# 3.9e-4 in fp16, 2.6e-3 in bf16, 6.8e-3 in int8.
LEAST: Mapping[str, float] = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 1e-2, "int8": 3e-2}
# Above what the noise of one precision did: another draw does it otherwise, and the roundings of one tensor are no
# independent draws. Chosen: healthy ports of the tests' ResNet-18, by the same engines, were off by 0.7 times what the
# noise did in fp32, 0.8 in fp16 and bf16, 1.5 in int8.
MARGIN = 3.0
SEEDS = (0, 1)
CHOOSING = frozenset({"NonMaxSuppression", "TopK"})


@dataclass(frozen=True, slots=True)
class Explained:
    """What rounding in a precision explains of a model's outputs."""

    rel_l2: float  # of all outputs together
    missed: float | None = None  # the task's own distance, where that is another; None: not measured
    each: Mapping[str, float] = field(default_factory=dict)  # the relative L2 error of each output alone
    chooses: bool = True  # whether the graph may choose and sort its answers, as the suppression of doubles does


Measure = Callable[[Sequence[Tensors], Sequence[Tensors]], float]


def explained(
    model: onnx.ModelProto, inputs: Tensors, outputs: Sequence[str], precision: str, runtime: Bench, measure: Measure
) -> Explained:
    """Return how far these outputs are moved by rounding in ``precision``; ``measure`` is the task's distance.

    The float32 ``model`` is run on ``inputs`` as it is, and with noise of the precision's roundoff in every tensor.
    Raises GraphError or EngineError where that cannot be done, GraphError where noise makes an output not finite.
    """
    want, noisy = _runs(model, inputs, precision, runtime)
    want = {name: want[name] for name in outputs}
    worst = max(total_distance((got[name], array) for name, array in want.items()).rel_l2 for got in noisy)
    if not math.isfinite(worst):
        raise GraphError(f"with noise of {precision}'s roundoff its outputs are not finite", "take other samples")
    missed = max(measure([{name: got[name] for name in outputs}], [want]) for got in noisy)
    alone = {name: max(distance(got[name], array).rel_l2 for got in noisy) for name, array in want.items()}
    each = {name: _bound(far, precision) for name, far in alone.items()}
    chooses = any(node.op_type in CHOOSING or node.domain not in ("", "ai.onnx") for node in model.graph.node)
    return Explained(_bound(worst, precision), MARGIN * missed if math.isfinite(missed) else None, each, chooses)


def explained_each(
    model: onnx.ModelProto, inputs: Tensors, precision: str, runtime: Bench
) -> tuple[Tensors, dict[str, float]]:
    """Return the model's outputs, and by name the error of each that is explained; as ``explained``.

    Of one that noise makes not finite it is the least, ``LEAST``: nothing is known of it.
    """
    # A tensor inside a network has elements enough for one draw.
    want, (noisy,) = _runs(model, inputs, precision, runtime, SEEDS[:1])
    return want, {name: _bound(distance(noisy[name], array).rel_l2, precision) for name, array in want.items()}


def _runs(
    model: onnx.ModelProto, inputs: Tensors, precision: str, runtime: Bench, seeds: Sequence[int] = SEEDS
) -> tuple[dict[str, Array], list[dict[str, Array]]]:
    noisy = [runtime.run(disturbed(model, precision, seed), inputs) for seed in seeds]
    return runtime.run(model, inputs), noisy


def _bound(worst: float, precision: str) -> float:
    return max(LEAST[precision], MARGIN * worst) if math.isfinite(worst) else LEAST[precision]
