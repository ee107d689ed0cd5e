"""An engine as someone else would write it: ONNX's reference evaluator, with a kind of file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import EngineError
from modelport.core.values import Array, Signature, Tensors
from modelport.engines.base import Availability, Build, Engine, Launch, Runner
from modelport.model.graph.file import signature_of

MAGIC = b"own engine 1\n"


class OwnEngine(Engine):
    name = "own"
    consumes = frozenset({"onnx", "own"})
    suffixes: Mapping[str, str] = {".own": "own"}
    compiles_to = ".own"
    packages = ("onnx",)

    def available(self) -> Availability:
        return Availability(True, onnx.__version__, ("paper",), ("fp32",))

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        with written_aside(out) as aside:
            aside.write_bytes(MAGIC + model.path.read_bytes())
        return Artifact.of(out, "own", model.digests)

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[Runner]:
        content = model.path.read_bytes()
        if model.kind == "own" and not content.startswith(MAGIC):
            raise EngineError(f"{model.path}: no file of the own engine", "compile it again")
        yield OwnRunner(onnx.load_from_string(content.removeprefix(MAGIC)), build.batch)


class OwnRunner:
    precision, concurrency = "fp32", 1

    def __init__(self, graph: onnx.ModelProto, batch: int | None) -> None:
        whole = signature_of(graph)
        self.signature: Signature = whole if batch is None else whole.with_batch(batch)
        self._evaluator = ReferenceEvaluator(graph)

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.signature.check_inputs(inputs)
        names = [spec.name for spec in self.signature.outputs]
        return dict(zip(names, map(np.array, self._evaluator.run(names, dict(inputs))), strict=True))
