"""A float32 graph in the precision that was asked for, where that is more than a setting of the engine."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace

from modelport import __version__
from modelport.core.artifacts import Artifact, cache_folder, digest_json, write_artifact
from modelport.core.errors import UsageError
from modelport.core.progress import Progress
from modelport.core.values import Sample
from modelport.engines.base import Engine
from modelport.engines.registry import opened
from modelport.engines.source import Source
from modelport.model.graph.file import precision_of, read_graph, signature_of
from modelport.model.graph.float16 import to_float16
from modelport.model.graph.pixel_input import PREFIX
from modelport.model.graph.precision_plan import PrecisionPlan, block_list, read_plan
from modelport.stages.int8.calibrate import open_calibration, refuse_overlap
from modelport.stages.int8.examination import Reference
from modelport.stages.int8.newer_opset import quantizable
from modelport.stages.int8.search import Int8Job, quantized
from modelport.stages.plan import Plan, no_images
from modelport.stages.trail import Made


def lowered(plan: Plan, model: Artifact, source: Source | None, scored: Iterable[Sample], progress: Progress) -> Made:
    """Return the model in the precision wanted: as it is, converted to float16, or quantized to int8.

    ``source`` is what an int8 model is held against, None for the graph itself in float32; ``scored`` are the samples
    that must not be calibrated on. Raises UsageError where what was given does not fit the precision.
    """
    if plan.calibration is not None and plan.precision != "int8":
        raise UsageError(f"--calibration says nothing to {plan.precision}", "leave it out, or --precision int8")
    way = plan.engine.lowers.get(plan.precision)
    if way is None:
        if plan.precision_plan is not None:
            raise UsageError(f"--plan says nothing to {plan.precision}", "leave it out, or --precision fp16")
        return Made(model)
    if model.kind != "onnx" or precision_of(read_graph(model.path)) == plan.precision:
        if plan.calibration is not None or plan.precision_plan is not None:
            raise UsageError(
                f"{model.path} is made already: --calibration and --plan come too late", "give the float32 graph"
            )
        return Made(model)
    layers = PrecisionPlan() if plan.precision_plan is None else read_plan(plan.precision_plan)
    if way == "graph":
        return _half(model, layers, plan)
    return _int8(plan, layers, model, source, scored, progress)


def _half(model: Artifact, layers: PrecisionPlan, plan: Plan) -> Made:
    """Convert to float16; the same file comes out each time, so that it is written over and over unchanged."""
    graph = read_graph(model.path)
    blocked = block_list(layers, graph, str(plan.precision_plan)) if plan.precision_plan else []
    # A pixel is whole in float16, its normalised value is not.
    blocked += [node.name for node in graph.graph.node if plan.pixels and node.name.startswith(f"{PREFIX}/")]
    converted = to_float16(graph, blocked)
    key = digest_json([__version__, model.identity, blocked])
    path = cache_folder("float16", key[:32]) / "model.onnx"
    content = converted.model.SerializeToString(deterministic=True)
    made = replace(write_artifact(path, "onnx", content, model.digests), stands_for=model.shown)
    notes = ["fp16: weights and activations converted", *converted.notes]
    notes += [f"fp16 on {plan.engine.name}: {why}" for why in _why_accuracy_only(plan.engine, "fp16")]
    return Made(made, notes=tuple(notes))


def speed_warnings(engine: Engine, precision: str) -> list[str]:
    """Return what to say beside the speeds of a precision that an engine runs for its accuracy alone."""
    return [f"these speeds mean nothing: {why}" for why in _why_accuracy_only(engine, precision)]


def _why_accuracy_only(engine: Engine, precision: str) -> list[str]:
    return [why for name, why in engine.available().accuracy_only if name == precision]


def _int8(
    plan: Plan,
    layers: PrecisionPlan,
    model: Artifact,
    source: Source | None,
    scored: Iterable[Sample],
    progress: Progress,
) -> Made:
    if plan.calibration is None:
        raise no_images()
    calibration = open_calibration(plan.recipe, plan.calibration, plan.seed)
    refuse_overlap(calibration, scored)
    fixed = signature_of(read_graph(model.path)).inputs[0].shape[0]
    build = replace(plan.build, precision="fp32", batch=fixed if isinstance(fixed, int) else plan.build.batch)
    newer = quantizable(model, build)
    with ExitStack() as stack:
        reference: Reference
        if source is not None:
            runner = stack.enter_context(source.open(build))
            reference, said = Reference(runner.run, False), f"source model {source.artifact.sha256}"
        else:
            reference = Reference(stack.enter_context(opened(plan.engine, model, build)).run, plan.pixels)
            said = f"the graph in float32 on {plan.engine.name}"
        job = Int8Job(plan.recipe, plan.engine, newer.artifact, calibration, reference, said, build, plan.seed, layers)
        made = quantized(job, progress)
    return replace(made, notes=(*newer.notes, *made.notes))
