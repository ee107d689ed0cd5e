"""A graph of an opset that cannot say how weights are quantized per channel → the same graph in one that can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from modelport import __version__
from modelport.core.artifacts import Artifact, cache_folder, digest_json, written_aside
from modelport.core.errors import EngineError
from modelport.core.values import Array
from modelport.engines.base import Build
from modelport.engines.quantizer import OLDEST_OPSET
from modelport.engines.registry import opened, reference_engine
from modelport.measure.inputs import drawn
from modelport.model.graph.file import opset_of, read_graph
from modelport.model.graph.opset import to_opset
from modelport.stages.trail import Made
from modelport.tasks.table import task_of


def quantizable(model: Artifact, build: Build) -> Made:
    """Return the graph, converted where its opset is too old, once the two answer alike on random inputs.

    ``build`` holds the graph's form of the recipe, and the batch. Raises GraphError where ONNX's converter fails,
    EngineError where it changes the answers by more than rounding.
    """
    graph = read_graph(model.path)
    written = opset_of(graph)
    if written >= OLDEST_OPSET:
        return Made(model)
    converted = to_opset(graph, OLDEST_OPSET, model.path)
    path = cache_folder("opsets", digest_json([model.identity, OLDEST_OPSET, __version__])[:32]) / "model.onnx"
    with written_aside(path) as aside:
        aside.write_bytes(converted.SerializeToString(deterministic=True))
        made = Artifact.of(aside, "onnx", model.digests)
        difference = _difference(model, replace(made, stands_for=model.shown), build)
        if not difference <= task_of(build.needed_recipe).tolerated:
            raise EngineError(
                f"{model.path}: converted from opset {written} to {OLDEST_OPSET} it answers otherwise, by "
                f"{difference:.2g} of the largest output",
                f"export it again with --opset {OLDEST_OPSET} or newer",
            )
    note = f"opset {written} converted to {OLDEST_OPSET}, which quantization needs; outputs differ by {difference:.2g}"
    return Made(replace(made, path=path, stands_for=model.shown), notes=(note,))


def _difference(one: Artifact, other: Artifact, build: Build) -> float:
    """Return how far the two differ on one seeded random batch, on the reference runtime."""
    engine, form = reference_engine(), replace(build, precision="fp32", own=None)
    rng, answers = np.random.default_rng(0), list[dict[str, Array]]()
    inputs = {spec.name: drawn(spec, None, rng) for spec in form.signature.inputs}
    for model in (one, other):
        with opened(engine, model, form) as runner:
            answers.append(runner.run(inputs))
    return task_of(form.needed_recipe).difference(answers[1], answers[0])
