"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelport.core import machine
from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import EngineError
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Availability, Options, Runner
from modelport.model.graph import precision_of, read_graph

PROVIDERS = ["CPUExecutionProvider"]


class OnnxRuntimeEngine:
    """Runs ONNX files. Its artifact is the graph as ONNX Runtime has optimised it for this machine."""

    name = "onnxruntime"
    consumes = frozenset({"onnx"})

    def available(self) -> Availability:
        """Say whether onnxruntime can be imported."""
        install = "pip install 'modelport[onnxruntime]'"
        try:
            import onnxruntime
        except ImportError as error:
            return Availability(False, reason=str(error), install=install)
        refused = (
            ("bf16", "ONNX Runtime's CPU provider has no bfloat16 convolution"),
            ("fp16", "ONNX Runtime's CPU provider computes float16 graphs in float32"),
        )
        return Availability(True, onnxruntime.__version__, ("CPU",), ("fp32",), refused)

    def compile(self, model: Artifact, options: Options, out: Path) -> Artifact:
        """Write the optimised graph. It is made for this processor; carry the ONNX file to another one."""
        if out.suffix != ".onnx":
            raise EngineError(f"{out}: ONNX Runtime writes .onnx files", "give --out a name that ends in .onnx")
        self._session(model, options, None)  # a graph that is refused is told apart from a disk that is full
        with written_aside(out) as aside:
            try:
                self._session(model, options, aside)
            except EngineError as error:
                raise RuntimeError(str(error)) from error
            artifact = Artifact.of(aside, "onnx", (model.sha256,))
        return Artifact(out, artifact.kind, artifact.sha256, artifact.made_from)

    @contextmanager
    def open(self, model: Artifact, options: Options) -> Iterator[Runner]:
        """Load an ONNX file. Raises EngineError where ONNX Runtime refuses it."""
        precision = precision_of(read_graph(model.path))
        yield _Runner(self._session(model, options, None), precision)

    def _session(self, model: Artifact, options: Options, write: Path | None) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads or machine.cores()
        settings.log_severity_level = 3  # errors; they are raised as well
        if write is not None:
            settings.optimized_model_filepath = str(write)
        if options.batch is not None:
            settings.add_free_dimension_override_by_name("batch", options.batch)
        try:
            return onnxruntime.InferenceSession(str(model.path), settings, providers=PROVIDERS)
        # onnxruntime's errors share no base below Exception.
        except Exception as error:
            raise EngineError(
                f"{model.path}: ONNX Runtime refuses it: {error}", "export it again, or choose another engine"
            ) from error


class _Runner:
    # One run uses every core by itself; a second in flight only waits for the same threads.
    concurrency = 1

    def __init__(self, session: Any, precision: str) -> None:
        self._session = session
        self.precision = precision
        self.signature = Signature(tuple(map(_spec, session.get_inputs())), tuple(map(_spec, session.get_outputs())))
        self._outputs = [spec.name for spec in self.signature.outputs]

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.signature.check_inputs(inputs)
        try:
            arrays = self._session.run(self._outputs, dict(inputs))
        except Exception as error:
            raise EngineError(
                f"ONNX Runtime failed: {error}", "choose another engine, or export at another opset"
            ) from error
        return dict(zip(self._outputs, arrays, strict=True))


def _spec(value: Any) -> TensorSpec:
    dtypes = {"float": "float32", "double": "float64"}
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    return TensorSpec(value.name, dtypes.get(kind, kind), tuple("?" if axis is None else axis for axis in value.shape))
