"""Export, and hold what was written against the source by running it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from modelport import __version__
from modelport.core.artifacts import Artifact, cache_folder, digest_file, digest_json, write_json, written_aside
from modelport.core.errors import EngineError, GraphError
from modelport.core.progress import Progress
from modelport.core.values import Check
from modelport.engines.base import Engine, Options
from modelport.engines.registry import availabilities, get_engine, opened
from modelport.engines.torch import TorchRunner
from modelport.model.export import DEFAULT_OPSET, export_onnx
from modelport.model.source import SourceModel

# Largest difference from the source in float32, as a share of the source's largest output: sums in another order.
PARITY = 1e-4


def export_checked(
    source: SourceModel, out: Path, opset: int, batch: int | None, progress: Progress
) -> tuple[Artifact, list[Check]]:
    """Write ``out`` once the graph has passed every check, its outputs against the source's among them.

    A free batch axis is tried at two sizes. Raises GraphError where a check fails; then ``out`` is untouched.
    """
    engine = _checking_engine()
    progress.note(f"exporting {source.recipe.name} at opset {opset}, batch {batch or 'dynamic'}")
    with written_aside(out) as aside:
        artifact, checks = export_onnx(source, aside, opset=opset, batch=batch)
        checks.append(outputs_match(source, artifact, engine, (batch,) if batch else (1, 3)))
    return replace(artifact, path=out), checks


def export_cached(source: SourceModel, progress: Progress) -> tuple[Artifact, list[Check]]:
    """Return the dynamic-batch graph of the current opset from the cache, exporting it on first use.

    The key holds the weights, the recipe and the versions of everything that writes; the file's digest is
    checked on every use.
    """
    writers = {package: version(package) for package in ("torch", "onnx", "onnxscript")}
    key = digest_json([source.checkpoint.sha256, source.recipe.digest, DEFAULT_OPSET, __version__, writers])
    folder = cache_folder("exports", key[:32])
    path, record = folder / "model.onnx", folder / "checks.json"
    known = _read_record(record)
    if known and path.is_file() and digest_file(path) == known["sha256"]:
        return Artifact(path, "onnx", known["sha256"], (source.checkpoint.sha256,)), [
            Check(**row) for row in known["checks"]
        ]
    artifact, checks = export_checked(source, path, DEFAULT_OPSET, None, progress)
    write_json(record, {"sha256": artifact.sha256, "checks": [check.to_json() for check in checks]})
    return artifact, checks


def outputs_match(source: SourceModel, model: Artifact, engine: Engine, batches: Sequence[int]) -> Check:
    """Hold the outputs of a model file, on seeded inputs in fp32, against the source's. Raises GraphError."""
    worst = 0.0
    for batch in batches:
        options = Options(source.recipe, "fp32", batch)
        shapes = {spec.name: spec.shape for spec in options.signature.inputs}
        rng = np.random.default_rng(batch)
        inputs = {
            name: rng.standard_normal([int(axis) for axis in shape], dtype=np.float32) for name, shape in shapes.items()
        }
        want = TorchRunner(source.module, options).run(inputs)
        with opened(engine, model, options) as runner:
            got = runner.run(inputs)
        for name, reference in want.items():
            scale = float(np.abs(reference).max()) or 1.0
            difference = float(np.abs(got[name] - reference).max()) / scale
            # NaN compares false with everything: ask for what is good, not for what is bad.
            if not difference <= PARITY:
                raise GraphError(
                    f"{model.path}: output '{name}' differs from the source by {difference:.2g} of its maximum, "
                    f"at batch {batch}",
                    "the graph is not this model; export it again, or choose another --opset",
                )
            worst = max(worst, difference)
    sizes = " and ".join(str(batch) for batch in batches)
    return Check(
        "outputs_match_source",
        "pass",
        worst,
        PARITY,
        f"largest difference over the largest output, batch {sizes}, by {engine.name}",
    )


def _checking_engine() -> Engine:
    here = availabilities()
    for name in ("onnxruntime", "openvino"):
        if here[name].usable:
            return get_engine(name)
    raise EngineError(
        "no engine here can run the written graph, so it cannot be checked",
        f"{here['onnxruntime'].install} (or [openvino])",
    )


def _read_record(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"sha256", "checks"} <= set(record) else None
