"""A float32 graph in the precision that was asked for, where that is more than a setting of the engine."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelport import __version__
from modelport.core.artifacts import Artifact, cache_folder, digest_json, written_aside
from modelport.core.errors import UsageError
from modelport.core.progress import Progress
from modelport.core.values import Sample
from modelport.engines.base import Engine, Options
from modelport.engines.registry import opened
from modelport.engines.source import Source
from modelport.model.graph.file import precision_of, read_graph, signature_of
from modelport.model.graph.float16 import to_float16
from modelport.model.graph.pixel_input import PREFIX
from modelport.model.graph.precision_plan import PrecisionPlan, block_list, read_plan
from modelport.recipes.schema import Recipe
from modelport.stages.int8.calibrate import open_calibration, refuse_overlap
from modelport.stages.int8.examination import Reference
from modelport.stages.int8.search import Int8Job, quantized


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model is to become. ``calibration`` and ``plan`` are what the user gave.

    ``recipe`` is the one that was named; ``options`` hold its form for the graph, the precision, and the batch that
    feeds calibration.
    """

    recipe: Recipe
    engine: Engine
    options: Options
    calibration: Path | None = None
    plan: Path | None = None
    seed: int = 0

    @property
    def precision(self) -> str:
        """The precision asked for."""
        return self.options.precision or "fp32"

    @property
    def pixels(self) -> bool:
        """Whether the graph takes uint8 pixels and normalises by itself."""
        return self.options.needed_recipe.tensors.inputs[0].dtype == "uint8"


@dataclass(frozen=True, slots=True)
class Lowered:
    """The model to run, what is to be said of it, and the result's ``quantization`` where there was one."""

    artifact: Artifact
    notes: tuple[str, ...] = ()
    record: dict[str, Any] | None = None
    made: bool = field(default=False)  # another file than the one that came in


def lowered(
    want: Wanted, model: Artifact, source: Source | None, scored: Iterable[Sample], progress: Progress
) -> Lowered:
    """Return the model in the precision wanted: as it is, converted to float16, or quantized to int8.

    ``source`` is what an int8 model is held against, None for the graph itself in float32; ``scored`` are the samples
    that must not be calibrated on. Raises UsageError where what was given does not fit the precision.
    """
    if want.calibration is not None and want.precision != "int8":
        raise UsageError(f"--calibration says nothing to {want.precision}", "leave it out, or --precision int8")
    way = want.engine.lowers.get(want.precision)
    if way is None:
        if want.plan is not None:
            raise UsageError(f"--plan says nothing to {want.precision}", "leave it out, or --precision fp16")
        return Lowered(model)
    if model.kind != "onnx" or precision_of(read_graph(model.path)) == want.precision:
        if want.calibration is not None or want.plan is not None:
            raise UsageError(
                f"{model.path} is made already: --calibration and --plan come too late", "give the float32 graph"
            )
        return Lowered(model)
    plan = PrecisionPlan() if want.plan is None else read_plan(want.plan)
    if way == "graph":
        return _half(model, plan, want)
    return _int8(want, plan, model, source, scored, progress)


def check_calibration(precision: str, calibration: Path | None, model: Path | None) -> None:
    """Raise UsageError early where int8 is asked for without images, or images without int8.

    A ``model`` that the user gives may be quantized already.
    """
    if precision == "int8" and calibration is None and model is None:
        raise _no_images()
    if precision != "int8" and calibration is not None:
        raise UsageError(f"--calibration says nothing to {precision}", "leave it out, or --precision int8")


def _no_images() -> UsageError:
    return UsageError(
        "--precision int8 needs images to calibrate on",
        "give --calibration DIR: a data set with a training split, or a folder of images; none that is scored",
    )


def _half(model: Artifact, plan: PrecisionPlan, want: Wanted) -> Lowered:
    """Convert to float16; the same file comes out each time, so that it is written over and over unchanged."""
    graph = read_graph(model.path)
    blocked = block_list(plan, graph, str(want.plan)) if want.plan else []
    # A pixel is whole in float16, its normalised value is not.
    blocked += [node.name for node in graph.graph.node if want.pixels and node.name.startswith(f"{PREFIX}/")]
    converted = to_float16(graph, blocked)
    key = digest_json([__version__, model.identity, blocked])
    path = cache_folder("float16", key[:32]) / "model.onnx"
    with written_aside(path) as aside:
        aside.write_bytes(converted.model.SerializeToString(deterministic=True))
        artifact = Artifact.of(aside, "onnx", model.digests)
    notes = ["fp16: weights and activations converted", *converted.notes]
    notes += [f"fp16 on {want.engine.name}: {why}" for why in _why_accuracy_only(want.engine, "fp16")]
    made = Artifact(path, "onnx", artifact.sha256, artifact.made_from, stands_for=model.shown)
    return Lowered(made, tuple(notes), made=True)


def speed_warnings(engine: Engine, precision: str) -> list[str]:
    """Return what to say beside the speeds of a precision that an engine runs for its accuracy alone."""
    return [f"these speeds mean nothing: {why}" for why in _why_accuracy_only(engine, precision)]


def _why_accuracy_only(engine: Engine, precision: str) -> list[str]:
    return [why for name, why in engine.available().accuracy_only if name == precision]


def _int8(
    want: Wanted,
    plan: PrecisionPlan,
    model: Artifact,
    source: Source | None,
    scored: Iterable[Sample],
    progress: Progress,
) -> Lowered:
    if want.calibration is None:
        raise _no_images()
    calibration = open_calibration(want.recipe, want.calibration, want.seed)
    refuse_overlap(calibration, scored)
    fixed = signature_of(read_graph(model.path)).inputs[0].shape[0]
    options = replace(want.options, precision="fp32", batch=fixed if isinstance(fixed, int) else want.options.batch)
    with ExitStack() as stack:
        reference: Reference
        if source is not None:
            runner = stack.enter_context(source.open(options))
            reference, said = Reference(runner.run, False), f"source model {source.artifact.sha256}"
        else:
            reference = Reference(stack.enter_context(opened(want.engine, model, options)).run, want.pixels)
            said = f"the graph in float32 on {want.engine.name}"
        job = Int8Job(want.recipe, want.engine, model, calibration, reference, said, options, want.seed, plan)
        made = quantized(job, progress)
    return Lowered(made.artifact, made.notes, made.record, made=True)
