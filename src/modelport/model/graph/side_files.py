"""The files beside an ONNX file that are part of it: weights that lie outside of the graph."""

from __future__ import annotations

import math
import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError, raised_as
from modelport.core.files import open_regular

if TYPE_CHECKING:
    import onnx

# How a file says that a tensor lies outside of it: key 1 and value 2 of a StringStringEntryProto (onnx.proto).
_LOCATION = b"\x0a\x08location\x12"
_AGAIN = "put it there, or export the model again into one file"


def names_side_files(path: Path) -> bool:
    """Whether an ONNX file can hold a tensor that lies in another file: where not, it need not be parsed to know."""
    with open_regular(path, error=GraphError) as stream:
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(_LOCATION) >= 0
        except ValueError:  # an empty file
            return False


def side_files_of(model: onnx.ModelProto, path: Path) -> tuple[Path, ...]:
    """Return the files that hold tensors of the graph at ``path``, each once, in the order of their names.

    Raises GraphError, naming both files, where one is missing, too short, or lies outside of the model's folder.
    """
    found: dict[str, Path] = {}
    for tensor in external_tensors(model):
        told = {entry.key: entry.value for entry in tensor.external_data}
        location = told.get("location", "")
        if location not in found:
            found[location] = _inside(path, location)
        _check_span(tensor, told, found[location], path)
    return tuple(found[location] for location in sorted(found))


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of the model, in whatever subgraph or function, that lies in another file."""
    from onnx import TensorProto

    graphs = [model.graph, *(graph for info in model.training_info for graph in (info.initialization, info.algorithm))]
    nodes = [node for function in model.functions for node in function.node]
    for tensor in (*_of_graphs(graphs), *_of_nodes(nodes)):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield tensor


def _inside(path: Path, location: str) -> Path:
    """Return the file that a graph names, once it is sure that it lies in the graph's own folder."""
    folder, named = path.parent, Path(location)
    try:
        outside = not location or "\0" in location or named.is_absolute()
        outside = outside or not (folder / named).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links that lead in a circle
        outside = True
    if outside:
        raise GraphError(
            f"{path}: names weights outside of its folder: '{location[:200]}'",
            "export it again: its weights must lie beside it",
        )
    if not (folder / named).exists():
        raise GraphError(f"{path}: its weights are missing: {folder / named}", _AGAIN)
    open_regular(folder / named, None, GraphError, _AGAIN).close()
    return folder / named


def _check_span(tensor: onnx.TensorProto, told: dict[str, str], file: Path, path: Path) -> None:
    """Raise GraphError unless the whole tensor lies within the file."""
    with raised_as(GraphError, f"{path}: tensor '{tensor.name}' has no place in {file}", _AGAIN, ValueError):
        offset, needed = int(told.get("offset", 0)), _bytes_of(tensor)
        length = int(told["length"]) if "length" in told else needed
    if offset < 0 or length < needed:
        raise GraphError(
            f"{path}: tensor '{tensor.name}' has {length} bytes from {offset} of {file}, {needed} are needed",
            "export the model again",
        )
    check_length(file, offset + length, path)


def check_length(file: Path, needed: int, path: Path) -> None:
    """Raise GraphError unless a file of weights has at least ``needed`` bytes. ``path`` is the model that names it."""
    size = file.stat().st_size
    if size < needed:
        raise GraphError(
            f"{path}: its weights are cut off: {file} has {size} bytes, {needed} are needed",
            "copy both files again whole",
        )


def _bytes_of(tensor: onnx.TensorProto) -> int:
    """Return the size of a tensor's values in a file. Raises ValueError for a type that lies in none."""
    import onnx

    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError as error:
        raise ValueError(f"onnx type {tensor.data_type}") from error
    bits = re.search(r"(?:int|float)([24])(?:e|$)", dtype.name)  # two or four values share a byte
    each = int(bits[1]) if bits else 8 * int(dtype.itemsize)
    values: int = math.prod(tensor.dims)
    return -(-values * each // 8)


def _of_graphs(graphs: Iterable[Any]) -> Iterator[Any]:
    for graph in graphs:
        yield from graph.initializer
        yield from _of_sparse(graph.sparse_initializer)
        yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield from _of_sparse([attribute.sparse_tensor])
            yield from _of_sparse(attribute.sparse_tensors)
            yield from _of_graphs([attribute.g] if attribute.HasField("g") else [])
            yield from _of_graphs(attribute.graphs)


def _of_sparse(sparse: Iterable[Any]) -> Iterator[Any]:
    for tensor in sparse:
        yield tensor.values
        yield tensor.indices
