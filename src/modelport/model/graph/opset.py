"""A graph in another version of the standard operators, by ONNX's own converter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelport.core.errors import GraphError, raised_as
from modelport.model.graph.file import opset_of

if TYPE_CHECKING:
    import onnx


def to_opset(model: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    """Return the model of ``path`` in another opset; what it answers is still to be held against it.

    Raises GraphError where the converter has no way.
    """
    from onnx import version_converter

    found = f"{path}: opset {opset_of(model)} cannot be converted to {opset}"
    with raised_as(GraphError, found, f"export it again with --opset {opset} or newer"):
        converted: onnx.ModelProto = version_converter.convert_version(model, opset)
    return converted
