"""An engine that shows nothing but its outputs, and computes one node wrongly where it is told to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import onnx
from onnx import TensorProto, helper

from modelport.core.artifacts import Artifact
from modelport.engines.base import Availability, Build, Engine, Launch, Runner
from modelport.engines.onnxruntime.engine import OnnxRuntimeEngine
from modelport.model.graph.file import read_graph

INNER = OnnxRuntimeEngine()


class BlackBox(Engine):
    """ONNX Runtime in a file of its own kind; the node called ``wrong`` gives a tenth more than it should."""

    name = "blackbox"
    consumes = frozenset({"blackbox"})
    suffixes: Mapping[str, str] = {".box": "blackbox"}
    compiles_to = ".box"
    by_default = False
    wrong: ClassVar[str] = ""
    refused: ClassVar[str] = ""  # a node that it does not know
    opened: ClassVar[int] = 0

    def available(self) -> Availability:
        return replace(INNER.available(), precisions=("fp32",))

    def identity(self, build: Build) -> tuple[object, ...]:
        return (self.name, self.wrong)

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        graph = read_graph(model.path)
        if self.refused in [node.name for node in graph.graph.node]:
            from modelport.core.errors import EngineError

            raise EngineError(f"{self.refused} is not known here")
        out.write_bytes(spoilt(graph, self.wrong).SerializeToString())
        return Artifact.of(out, "blackbox", model.digests)

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[Runner]:
        type(self).opened += 1
        with INNER.open(replace(model, kind="onnx"), build, launch) as runner:
            yield runner


def spoilt(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a copy in which the first result of a node is multiplied by 1.1; the same where it has no such node."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = []
    for node in copy.graph.node:
        nodes.append(node)
        if node.name == name:
            out, node.output[0] = node.output[0], f"{node.output[0]}/right"
            copy.graph.initializer.append(helper.make_tensor("tenth_more", TensorProto.FLOAT, [], [1.1]))
            nodes.append(helper.make_node("Mul", [node.output[0], "tenth_more"], [out], f"{name}/wrong"))
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy
