"""Quantization to int8 after training: what an engine's quantizer is, and the border in front of them."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
from modelport.core.values import Tensors
from modelport.model.graph.file import opset_of, read_graph
from modelport.model.graph.quantizable import name_nodes

# Below it QuantizeLinear has no axis, and weights could not have a scale per channel.
OLDEST_OPSET = 13

Feed = Callable[[], Iterable[Tensors]]


class Int8Model(Protocol):
    """A calibrated model, of which any layers can stay in float32."""

    layers: tuple[str, ...]  # what is quantized, by its name in the ONNX graph, in the graph's order
    heavy: tuple[str, ...]  # the layers of the ONNX graph that carry its arithmetic, quantized or not
    method: dict[str, Any]  # how it was made, as JSON values

    def write(self, kept: Collection[str], out: Path) -> Artifact:
        """Write the model with the layers ``kept`` in float32. Raises EngineError, OutputError."""


class Quantizer(Protocol):
    """The library by which an engine's models become int8."""

    library: str  # as people call it
    packages: tuple[str, ...]  # the distributions that take part: a change of theirs makes other models
    install: str
    methods: tuple[str, ...]  # ways to find the ranges, the first is tried first; which is better hangs on the network

    def calibrate(self, job: Calibrating) -> Int8Model:
        """Find the ranges of the graph's tensors. May raise whatever its library raises."""


@dataclass(frozen=True, slots=True)
class Calibrating:
    """A float32 graph and what it is calibrated on."""

    model: Artifact
    graph: Any  # the ModelProto, every node of it named
    named: Path  # the same as a file
    feed: Feed
    method: str  # one of the quantizer's
    work: Path  # a folder for what is written on the way; it must outlive the result


def calibrated(quantizer: Quantizer, method: str, model: Artifact, feed: Feed, work: Path) -> Int8Model:
    """Find the ranges of a float32 ONNX graph's tensors on the batches of ``feed``.

    ``work`` is a folder for what is written on the way; it must outlive the result. Raises EngineError where the
    library is missing or fails, or the graph's opset is too old.
    """
    graph = read_graph(model.path)
    if opset_of(graph) < OLDEST_OPSET:
        raise EngineError(
            f"{model.path}: opset {opset_of(graph)} cannot say how weights are quantized per channel",
            f"export it again with --opset {OLDEST_OPSET} or newer",
        )
    versions(quantizer)
    name_nodes(graph)
    named = work / "named.onnx"
    named.write_bytes(graph.SerializeToString())
    try:
        return quantizer.calibrate(Calibrating(model, graph, named, feed, method, work))
    except (EngineError, MemoryError):
        raise
    # The libraries' errors share no base below Exception.
    except Exception as error:
        if type(error).__module__.startswith("modelport."):
            raise
        raise EngineError(
            f"{model.path}: {quantizer.library} cannot quantize it: {error}",
            "choose another engine, or stay with --precision fp32",
        ) from error


def versions(quantizer: Quantizer) -> dict[str, str]:
    """Return the versions of what quantizes. Raises EngineError where it is not installed."""
    try:
        return {package: version(package) for package in quantizer.packages}
    except ImportError as error:
        raise EngineError(
            f"int8 by {quantizer.library} needs {error.name}, which is not installed", quantizer.install
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' talk (bars, advice to developers) from the user; errors still pass."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(before)
