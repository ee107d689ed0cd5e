"""OpenVINO's files: the network (.xml) and its weights (.bin)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import GraphError
from modelport.core.files import read_regular
from modelport.model.graph.side_files import check_length

# An .xml holds no weights.
MAX_XML_BYTES = 1024 * 1024 * 1024
_CONSTANT = re.compile(rb'<data\b[^>]*\boffset="(\d{1,18})"[^>]*\bsize="(\d{1,18})"')


def write_network(network: Any, out: Path, made_from: tuple[str, ...]) -> Artifact:
    """Write a network, its weights in float32 beside it, and return both. Raises OutputError."""
    import openvino

    with written_aside(out) as aside:
        openvino.save_model(network, str(aside), compress_to_fp16=False)
        weights = Artifact.of(aside.with_suffix(".bin"), "openvino-weights", made_from)
        graph = Artifact.of(aside, "openvino", (*made_from, weights.sha256))
    return replace(graph, path=out, parts=(replace(weights, path=out.with_suffix(".bin")),))


def weights_beside(path: Path) -> Path | None:
    """Return the ``.bin`` beside an ``.xml``, None where the network has no constants and there is none.

    Raises GraphError, naming both files, where it is missing or shorter than the ``.xml`` says.
    """
    beside = path.with_suffix(".bin")
    content = read_regular(path, MAX_XML_BYTES, GraphError)
    needed = max((int(offset) + int(size) for offset, size in _CONSTANT.findall(content)), default=0)
    if not beside.is_file():
        if needed:
            raise GraphError(f"{path}: its weights are missing: {beside}", "copy the .bin to its side")
        return None
    check_length(beside, needed, path)
    return beside
