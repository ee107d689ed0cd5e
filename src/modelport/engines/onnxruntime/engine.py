"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelport.core import machine
from modelport.core.artifacts import Artifact, write_artifact, written_aside
from modelport.core.errors import EngineError, raised_as
from modelport.core.values import UNRANKED, Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Availability, Build, Engine, Launch, Runner
from modelport.engines.onnxruntime.quantizer import QdqQuantizer
from modelport.engines.quantizer import Quantizer
from modelport.engines.time_limit import within_limit
from modelport.model.graph.file import precision_of, read_graph
from modelport.model.graph.float16_twin import leaves_in_float16, rounded_twin

PROVIDERS = ["CPUExecutionProvider"]
# It quantizes the float32 weights of a layer that stands between 8-bit ones: such a layer was kept for its accuracy.
UNWANTED = ["WeightBiasQuantization"]
HALF_NOTE = "ONNX Runtime's CPU provider has no float16 arithmetic: float32, each result rounded to float16"


class OnnxRuntimeEngine(Engine):
    """Runs ONNX files. Its artifact is the graph as ONNX Runtime has optimised it for this machine."""

    name = "onnxruntime"
    consumes = frozenset({"onnx"})
    compiles_to = ".onnx"
    lowers: Mapping[str, str] = {"fp16": "graph", "int8": "quantizer"}
    quantizer: Quantizer = QdqQuantizer()
    packages = ("onnxruntime",)
    reference_of_onnx = True
    serves_several = True

    def available(self) -> Availability:
        """Say whether onnxruntime can be imported."""
        install = "pip install 'modelport[onnxruntime]'"
        try:
            import onnxruntime
        except ImportError as error:
            return Availability(False, reason=str(error), install=install)
        refused = (("bf16", "ONNX Runtime's CPU provider has no bfloat16 convolution"),)
        slow = (("fp16", HALF_NOTE),)
        precisions = ("fp32", "fp16", "int8")
        return Availability(True, onnxruntime.__version__, ("CPU",), precisions, refused, accuracy_only=slow)

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        """Write the optimised graph. It is made for this processor; carry the ONNX file to another one."""
        if out.suffix != ".onnx":
            raise EngineError(f"{out}: ONNX Runtime writes .onnx files", "give --out a name that ends in .onnx")
        graph = read_graph(model.path)
        if precision_of(graph) == "fp16":
            # Optimised for this processor it would be float32: it is a file for devices that compute float16.
            content = _whole(model, graph) if model.parts else model.path.read_bytes()
            return write_artifact(out, "onnx", content, model.digests)
        # Given the path, ONNX Runtime would leave the weights of other files where they are, out of the copy's reach.
        whole = _whole(model, graph) if model.parts else None
        _session(model, graph, build, Launch(), whole)  # a graph that is refused is told apart from a disk that is full
        with written_aside(out) as aside:
            try:
                _session(model, graph, build, Launch(), whole, aside)
            except EngineError as error:
                raise RuntimeError(str(error)) from error
            artifact = Artifact.of(aside, "onnx", model.digests)
        return replace(artifact, path=out)

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[Runner]:
        """Load an ONNX file. Raises EngineError where ONNX Runtime refuses it."""
        graph = read_graph(model.path)
        precision, content = precision_of(graph), None
        if precision == "fp16" and not leaves_in_float16(graph):
            # Left to itself, ONNX Runtime keeps float32 between the nodes: no result would be rounded or overflow.
            content = rounded_twin(graph).SerializeToString()
        # ONNX Runtime itself tells a tensor without a shape and a single number alike.
        unranked = {value.name for value in graph.graph.output if not value.type.tensor_type.HasField("shape")}
        yield _Runner(_session(model, graph, build, launch, content), precision, launch.in_flight or 1, unranked)


def _session(
    model: Artifact, graph: Any, build: Build, launch: Launch, content: bytes | None, write: Path | None = None
) -> Any:
    """Return a session of the file, or of ``content`` where given; its optimised graph is written to ``write``."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    # Every run in flight computes in its caller's thread; the pool that they share has the other cores.
    callers = launch.in_flight or 1
    settings.intra_op_num_threads = max(1, (launch.threads or machine.cores()) - callers + 1)
    settings.log_severity_level = 3  # errors; they are raised as well
    if launch.plain:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if write is not None:
        settings.optimized_model_filepath = str(write)
    for name in () if build.batch is None else _names_of_batch(graph):
        settings.add_free_dimension_override_by_name(name, build.batch)
    source = content or str(model.path)
    with raised_as(EngineError, f"{model.path}: ONNX Runtime refuses it", "export it again, or choose another engine"):
        return onnxruntime.InferenceSession(source, settings, providers=PROVIDERS, disabled_optimizers=UNWANTED)


def _whole(model: Artifact, graph: Any) -> bytes:
    """Return a graph with the weights that lie beside it as one file."""
    from google.protobuf.message import EncodeError

    found = f"{model.path}: with its weights it is too large for one file"
    with raised_as(EngineError, found, "choose --engine openvino", (EncodeError, ValueError)):
        content: bytes = graph.SerializeToString(deterministic=True)
    return content


class _Runner:
    def __init__(self, session: Any, precision: str, concurrency: int, unranked: Collection[str]) -> None:
        """``unranked``: the outputs of which the file tells no shape."""
        import onnxruntime

        self._session = session
        self._run_options = onnxruntime.RunOptions
        # Unless the cores were shared out, one run uses all of them, and a second only waits for the same threads.
        self.concurrency = concurrency
        self.precision = precision
        told = [_spec(value) for value in session.get_outputs()]
        outputs = [replace(spec, shape=UNRANKED) if spec.name in unranked and not spec.shape else spec for spec in told]
        self.signature = Signature(tuple(map(_spec, session.get_inputs())), tuple(outputs))
        self._outputs = [spec.name for spec in outputs]

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.signature.check_inputs(inputs)
        settings = self._run_options()
        # What fails is raised, with the words that would be logged: an error is told once. 4: fatal.
        settings.log_severity_level = 4

        def stop() -> None:
            settings.terminate = True

        failed = raised_as(EngineError, "ONNX Runtime failed", "choose another engine, or export at another opset")
        with failed, within_limit(stop):
            arrays = self._session.run(self._outputs, dict(inputs), settings)
        return dict(zip(self._outputs, arrays, strict=True))


def _names_of_batch(graph: Any) -> set[str]:
    """Return what the free first axes of the inputs are called; a nameless one stays free and takes any batch.

    So does one whose name an input's other axis carries too: ONNX Runtime fixes by name, and would fix that axis,
    a picture's height say, to the batch size.
    """
    shapes = [[axis.dim_param for axis in entry.type.tensor_type.shape.dim] for entry in graph.graph.input]
    others = {name for shape in shapes for name in shape[1:]}
    return {shape[0] for shape in shapes if shape and shape[0]} - others


def _spec(value: Any) -> TensorSpec:
    dtypes = {"float": "float32", "double": "float64"}
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    return TensorSpec(value.name, dtypes.get(kind, kind), tuple("?" if axis is None else axis for axis in value.shape))
