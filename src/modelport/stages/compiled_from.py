"""Which graph a compiled file was made from: a stale one is named before it is timed or judged."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelport.core.artifacts import Artifact, cache_folder, read_record, write_record
from modelport.core.errors import ModelportError, OutputError
from modelport.engines.registry import model_artifact

# Seconds by which a graph must be newer than what was compiled from it: some file systems keep whole ones, or two.
LATER = 3.0


def remember(made: Artifact, source: Artifact) -> None:
    """Keep what a file was compiled from, under its own digest."""
    # Without the record a stale file is told by its time alone: the model is made all the same.
    with contextlib.suppress(OutputError):
        write_record(_record(made), {"path": str(source.path.absolute()), "sha256": list(source.digests)})


def stale_notes(model: Artifact) -> list[str]:
    """Return what is to be said of a given file that was compiled from another graph than lies there now.

    Where this machine compiled it, by digests; else by the times of the file and an ONNX file of its name beside it,
    unless that has the digests too.
    """
    known: dict[str, Any] = {}
    with contextlib.suppress(OutputError):
        known = read_record(_record(model)) or {}
    path, digests = known.get("path"), known.get("sha256")
    graph = model.path.with_suffix(".onnx")
    if isinstance(path, str) and isinstance(digests, list) and _is_file(Path(path)):
        return _by_digest(model, Path(path), digests)
    if graph == model.path or not _is_file(graph):
        return []
    if isinstance(digests, list) and not _by_digest(model, graph, digests):
        return []  # both were moved, or copied
    if graph.stat().st_mtime <= model.path.stat().st_mtime + LATER:
        return []
    return [
        f"{model.path.name} is older than {graph.name} beside it: it may be compiled from an earlier graph; compile it "
        "again"
    ]


def _is_file(path: Path) -> bool:
    """Whether a file lies there; not where the name is too long to be one, or its folder may not be entered."""
    try:
        return path.is_file()
    except OSError:
        return False


def _by_digest(model: Artifact, path: Path, digests: Sequence[Any]) -> list[str]:
    """Hold the digests of the graph and of its files of weights against those that it was compiled from."""
    try:
        now = model_artifact(path)
    except (ModelportError, OSError):
        return []  # what lies there now is no graph that can be read
    for part, was in zip((now, *now.parts), digests, strict=False):
        if part.sha256 != was:
            changed = "that" if part is now else part.path.name
            return [
                f"{model.path.name} is stale: it was compiled from {path.name} when {changed} had the sha256 "
                f"{str(was)[:12]}…, which now has {part.sha256[:12]}…; compile it again"
            ]
    return []


def _record(model: Artifact) -> Path:
    return cache_folder("compiled-from") / f"{model.identity[:32]}.json"
