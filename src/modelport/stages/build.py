"""What an engine loads fastest, kept by the digest of what it was compiled from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from modelport import __version__
from modelport.core.artifacts import Artifact, cache_folder, digest_json, read_record, write_record
from modelport.core.errors import ModelportError
from modelport.core.progress import SILENT, Progress
from modelport.engines.base import Build, Engine
from modelport.engines.registry import model_artifact
from modelport.stages.trail import Made


def built(engine: Engine, model: Artifact, build: Build, progress: Progress = SILENT) -> Made:
    """Return what ``engine`` made of an ONNX file, compiled on first use; other files as they are.

    A free batch stays free, so that every batch size shares one file. The key holds the model, the engine's version,
    the recipe's sizes and the processor; the digests of all files are checked on every use. Raises EngineError where
    the engine refuses the model.
    """
    suffix = engine.compiles_to if engine.compiles_here else None
    # A float16 graph is for other devices: the engines here run a twin of it.
    if model.kind != "onnx" or suffix is None or build.precision == "fp16":
        return Made(model)
    # Axes that the graph leaves free are compiled for the recipe's sizes.
    told = () if build.recipe is None else build.recipe.whole_signature.inputs
    sizes = [[spec.name, *spec.shape[1:]] for spec in told]
    key = digest_json([model.identity, *engine.identity(build), sizes, build.shapes, __version__])
    folder = cache_folder("compiled", key[:32])
    path, record = folder / f"model{suffix}", folder / "digests.json"
    kept = _kept(record, path)
    if kept is None:
        kept = engine.compile(model, replace(build, batch=None), path)
        write_record(record, {file.path.name: file.sha256 for file in (kept, *kept.parts)})
    else:
        progress.detail(f"compiled model from the cache: {path}")
    parts = tuple(replace(part, made_from=model.digests) for part in kept.parts)
    return Made(replace(kept, made_from=model.digests, stands_for=model.shown, parts=parts))


def _kept(record: Path, path: Path) -> Artifact | None:
    """Return the artifact where each of its files is there with the digest that was written down."""
    known = read_record(record)
    try:
        found = model_artifact(path) if known else None
    except ModelportError:
        return None
    files = () if found is None else (found, *found.parts)
    return found if known == {file.path.name: file.sha256 for file in files} else None
