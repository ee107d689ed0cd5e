"""``export``: a checkpoint → an ONNX file with the recipe's tensor names, held against the source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from modelport.core.errors import UsageError, unknown
from modelport.core.progress import Progress, stage
from modelport.engines.registry import endings
from modelport.model.graph.export import DEFAULT_OPSET
from modelport.recipes.load import load_recipe
from modelport.stages.export import export_checked
from modelport.stages.source import source_of


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What ``export`` was asked for; None of ``weights`` is the recipe's own, of ``opset`` a current one."""

    recipe: str
    out: Path
    weights: Path | None = None
    opset: int | None = None
    batch: int | None = None  # None: the axis stays free
    nms: str = "graph"
    pixels: bool = False  # uint8 in, normalised by the graph
    variant: str | None = None
    checkpoint_key: str | None = None  # of the state dict in it, where it holds several


def export(request: ExportRequest, progress: Progress) -> dict[str, Any]:
    """Write the graph once it has passed every check, and return ``modelport.export/1``.

    Raises UsageError for a request that cannot be served, GraphError where a check fails; then ``out`` is untouched.
    """
    if request.out.suffix != ".onnx":
        raise UsageError(f"--out {request.out}: an ONNX file ends in .onnx", "rename it")
    recipe = load_recipe(request.recipe).with_variant(request.variant).with_checkpoint_key(request.checkpoint_key)
    known = endings()
    if request.nms not in known:
        raise UsageError(f"--nms {request.nms}", unknown("choices", request.nms, known))
    with stage(progress, "source"):
        source = source_of(recipe, request.weights, progress)
    opset = DEFAULT_OPSET if request.opset is None else request.opset
    ending = known[request.nms]
    with stage(progress, "graph, held against the source"):
        artifact, checks = export_checked(
            source.exportable, request.out, opset, request.batch, progress, ending, pixels=request.pixels
        )
    return {
        "schema": "modelport.export/1",
        "artifacts": [*source.artifact.to_json(), *artifact.to_json()],
        "checks": [asdict(check) for check in checks],
        "notes": list(source.notes),
    }
