"""Export, and hold what was written against the source by running it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from modelport import __version__
from modelport.core.artifacts import (
    Artifact,
    cache_folder,
    digest_file,
    digest_json,
    read_record,
    write_record,
    written_aside,
)
from modelport.core.errors import GraphError, UsageError
from modelport.core.progress import Progress
from modelport.core.values import Array, Check
from modelport.data.prepare.arithmetic import Arithmetic
from modelport.engines.base import Build, Engine
from modelport.engines.registry import opened, reference_engine
from modelport.engines.torch import TorchRunner
from modelport.model.graph.export import DEFAULT_OPSET, FORM, export_onnx, recipe_of_form
from modelport.model.graph.file import read_graph, signature_of
from modelport.model.graph.pixel_input import recipe_of_pixels, write_pixel_graph
from modelport.model.graph.tail import AS_IT_IS, IN_GRAPH, Ending
from modelport.model.source import SourceModel
from modelport.recipes.chain import form_of, pixel_shape
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of


def export_checked(
    source: SourceModel,
    out: Path,
    opset: int,
    batch: int | None,
    progress: Progress,
    ending: Ending = IN_GRAPH,
    *,
    pixels: bool = False,
) -> tuple[Artifact, list[Check]]:
    """Write ``out`` once the graph has passed every check, its outputs against the source's among them.

    A free batch axis is tried at two sizes. With ``pixels`` the graph takes uint8 and normalises by itself.
    Raises GraphError where a check fails, UsageError for an ``ending`` that suppresses what the recipe's model does
    not give; then ``out`` is untouched.
    """
    engine, ending = reference_engine(), own_ending(source.recipe, ending)
    progress.note(f"exporting {source.recipe.name} at opset {opset}, batch {batch or 'dynamic'}")
    # What the network itself cannot take or give is said of the network, not of a graph.
    TorchRunner(source.module, Build(source.recipe, "fp32", batch)).run(trial_inputs(source, batch or 1))
    with written_aside(out) as aside:
        artifact, checks = export_onnx(source, aside, opset=opset, batch=batch, ending=ending)
        sizes = (batch,) if batch else (1, 3)
        if ending.twin is not None:
            checks.append(_twin_matches(source, artifact, engine, sizes, ending))
        else:
            checks.append(outputs_match(source, artifact, engine, sizes, ending))
        if pixels:
            made, check = take_pixels(artifact, source.recipe, aside, ending)
            artifact, checks = replace(made, made_from=(source.checkpoint.sha256,)), [*checks, check]
    return replace(artifact, path=out), checks


def own_ending(recipe: Recipe, asked: Ending) -> Ending:
    """Return the ending of a recipe's graph. Raises UsageError for one that suppresses what its model does not give."""
    if task_of(recipe).gives_candidates:
        return asked
    if asked is not IN_GRAPH:
        raise UsageError(f"--nms {asked.word}: {recipe.name} is no detector", "leave --nms out")
    return AS_IT_IS


def export_cached(source: SourceModel, progress: Progress) -> tuple[Artifact, list[Check]]:
    """Return the dynamic-batch graph of the current opset from the cache, exporting it on first use.

    The key holds the weights, the recipe, the form and the versions of everything that writes; the file's digest is
    checked on every use.
    """
    writers = {package: version(package) for package in ("torch", "onnx", "onnxscript")}
    key = digest_json([source.identity, source.recipe.digest, DEFAULT_OPSET, FORM, __version__, writers])
    folder = cache_folder("exports", key[:32])
    path, record = folder / "model.onnx", folder / "checks.json"
    known = _read_record(record)
    if known and path.is_file() and digest_file(path) == known["sha256"]:
        progress.detail(f"graph from the cache: {path}")
        return Artifact(path, "onnx", known["sha256"], (source.checkpoint.sha256,)), [
            Check(**row) for row in known["checks"]
        ]
    artifact, checks = export_checked(source, path, DEFAULT_OPSET, source.batch, progress)
    write_record(record, {"sha256": artifact.sha256, "checks": [check.to_json() for check in checks]})
    return artifact, checks


def take_pixels(model: Artifact, recipe: Recipe, out: Path, ending: Ending = IN_GRAPH) -> tuple[Artifact, Check]:
    """Write the graph with uint8 pixels as its input, once it answers as the graph it was made from does.

    Both get the same pixels, the one before and the other after the host's normalisation. Raises GraphError where
    they differ by more than rounding; then ``out`` is untouched.
    """
    if ending.twin is not None:
        raise UsageError(
            f"--input-type uint8 with --nms {ending.word}: the device normalises {ending.normalises}",
            f"export float32, then `modelport compile --engine {ending.word} --input-type uint8`",
        )
    engine, task = reference_engine(), task_of(recipe)
    form = recipe_of_form(recipe, ending)
    fixed = signature_of(read_graph(model.path)).inputs[0].shape[0]
    batch = fixed if isinstance(fixed, int) else task.trial_batch
    pixels = trial_pixels(recipe, batch)
    name = recipe.tensors.sample.name
    with written_aside(out) as aside:
        made = write_pixel_graph(model, recipe, aside)
        with opened(engine, model, Build(form, "fp32", batch)) as runner:
            want = runner.run({name: normalised(recipe, pixels)})
        with opened(engine, made, Build(recipe_of_pixels(form), "fp32", batch)) as runner:
            got = runner.run({name: pixels})
        if ending.append is None:
            want, got = (task.outputs_of(list(outputs.values())) for outputs in (want, got))
        difference = task.difference(got, want)
        if not difference <= task.tolerated:
            raise GraphError(
                f"{out}: with the normalisation inside, the outputs differ by {difference:.2g}, "
                f"{task.tolerated:g} is allowed",
                "export with --input-type float32",
            )
    why = f"{task.difference_means}: normalised by the graph and by the host, batch {batch}, by {engine.name}"
    return replace(made, path=out), Check("pixels_match_host", "pass", difference, task.tolerated, why)


def pixels_cached(model: Artifact, recipe: Recipe) -> tuple[Artifact, Check]:
    """Return the graph that takes pixels from the cache, made and checked on first use."""
    key = digest_json([model.identity, recipe.digest, __version__, version("onnx")])
    folder = cache_folder("exports", key[:32])
    path, record = folder / "pixels.onnx", folder / "checks.json"
    known = _read_record(record)
    if known and path.is_file() and digest_file(path) == known["sha256"]:
        return Artifact(path, "onnx", known["sha256"], model.digests), Check(**known["checks"][0])
    artifact, check = take_pixels(model, recipe, path)
    write_record(record, {"sha256": artifact.sha256, "checks": [check.to_json()]})
    return artifact, check


def trial_pixels(recipe: Recipe, batch: int) -> Array:
    """Return random pixels of the recipe's input, uint8 (batch, H, W, C), the same for the same batch."""
    shape = batch, *pixel_shape(recipe.preprocess, recipe.signature.inputs[0])
    return np.random.default_rng(batch).integers(0, 256, shape, np.uint8)


def normalised(recipe: Recipe, pixels: Array) -> Array:
    """Return what the host makes of pixels (N, H, W, C): float32 (N, C, H, W), or (N, H, W, C) as the recipe says."""
    planes = Arithmetic(recipe.preprocess).applied(pixels.transpose(0, 3, 1, 2))
    channels_last = form_of(recipe.preprocess).layout == "NHWC"
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)) if channels_last else planes


def outputs_match(
    source: SourceModel, model: Artifact, engine: Engine, batches: Sequence[int], ending: Ending = IN_GRAPH
) -> Check:
    """Hold the outputs of a model file, on seeded inputs in fp32, against the source's. Raises GraphError."""
    worst = 0.0
    task = task_of(source.recipe)
    allowed = task.tolerated * ending.looser
    for batch in batches:
        inputs = trial_inputs(source, batch)
        want = TorchRunner(source.module, Build(source.recipe, "fp32", batch)).run(inputs)
        with opened(engine, model, Build(recipe_of_form(source.recipe, ending), "fp32", batch)) as runner:
            got = runner.run(inputs)
        if ending.append is None:
            got = task.outputs_of(list(got.values()))
        difference = task.difference(got, want)
        # NaN compares false with everything: ask for what is good, not for what is bad.
        if not difference <= allowed:
            raise GraphError(
                f"{model.path}: the outputs differ from the source's by {difference:.2g} at batch {batch}, "
                f"{allowed:g} is allowed",
                "the graph is not this model; export it again, or choose another --opset",
            )
        worst = max(worst, difference)
    sizes = " and ".join(str(batch) for batch in batches)
    why = f"{task.difference_means}, batch {sizes}, by {engine.name}"
    return Check("outputs_match_source", "pass", worst, allowed, why)


def trial_inputs(source: SourceModel, batch: int) -> dict[str, Array]:
    """Return inputs to compare on: standard normal, float32, the same for the same batch size."""
    rng = np.random.default_rng(batch)
    specs = source.recipe.signature.with_batch(batch).inputs
    return {spec.name: rng.standard_normal([int(axis) for axis in spec.shape], dtype=np.float32) for spec in specs}


def _twin_matches(
    source: SourceModel, artifact: Artifact, engine: Engine, sizes: Sequence[int], ending: Ending
) -> Check:
    """Compare the graph with the device's own node replaced by the standard one, which an engine here can run."""
    with tempfile.TemporaryDirectory(dir=artifact.path.parent) as folder:
        twin = Path(folder) / "twin.onnx"
        assert ending.twin is not None
        twin.write_bytes(ending.twin(read_graph(artifact.path)).SerializeToString())
        check = outputs_match(source, Artifact.of(twin, "onnx"), engine, sizes, ending)
    return replace(check, why=f"{check.why}; with the device's NMS node replaced by the standard one")


def _read_record(path: Path) -> dict[str, Any] | None:
    record = read_record(path)
    return record if record is not None and {"sha256", "checks"} <= set(record) else None
