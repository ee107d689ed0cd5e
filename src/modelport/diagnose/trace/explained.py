"""How far the outputs of a model may be from the source's by nothing but the rounding of a precision."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from modelport.core.artifacts import Artifact, write_artifact
from modelport.core.values import Tensors
from modelport.diagnose.distance import total_distance
from modelport.engines.base import Build, Launch
from modelport.engines.registry import opened, reference_engine
from modelport.model.graph.disturbed import disturbed
from modelport.model.graph.file import read_graph

# By precision, the relative L2 error of outputs that is never called a departure: what healthy ports of small networks,
# in which hardly anything adds up, were seen to have (tests/diagnose/trace/test_explained.py).
LEAST: Mapping[str, float] = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 1e-2, "int8": 3e-2}
# Above what the noise of one precision did to the outputs: another draw does it otherwise, and roundings of one tensor
# are no independent draws.
MARGIN = 3.0
SEEDS = (0, 1)


def explained(
    graph: Artifact, inputs: Tensors, build: Build, precision: str, work: Path, seeds: Sequence[int] = SEEDS
) -> float:
    """Return the relative L2 error of the outputs that rounding in ``precision`` explains, on these ``inputs``.

    The float32 ``graph`` is run as it is and with noise of the precision's roundoff in every tensor, on the reference
    runtime; files go to the folder ``work``. Raises GraphError or EngineError where that cannot be done.
    """
    engine, model = reference_engine(), read_graph(graph.path)

    def answers(artifact: Artifact) -> Tensors:
        with opened(engine, artifact, build, Launch(plain=True)) as runner:
            return runner.run(inputs)

    want, worst = answers(graph), 0.0
    for seed in seeds:
        content = disturbed(model, precision, seed).SerializeToString()
        got = answers(write_artifact(work / f"disturbed-{precision}-{seed}.onnx", "onnx", content))
        apart = total_distance((got[name], array) for name, array in want.items()).rel_l2
        worst = max(worst, apart)
    return max(LEAST[precision], MARGIN * worst) if math.isfinite(worst) else LEAST[precision]
