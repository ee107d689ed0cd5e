"""OpenVINO on the CPU."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from modelport.core import machine
from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import EngineError
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Availability, Options, Runner

DEVICE = "CPU"
# What carries nearly all the arithmetic; their precision is the precision of the run.
HEAVY_LAYERS = {"Convolution", "GroupConvolution", "MatMul", "FullyConnected", "Deconvolution"}
PRECISION_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}


class OpenVinoEngine:
    """Runs ONNX files and OpenVINO's own (.xml and .bin)."""

    name = "openvino"
    consumes = frozenset({"onnx", "openvino"})

    def available(self) -> Availability:
        """Say whether openvino can be imported and what its CPU plugin executes."""
        install = "pip install 'modelport[openvino]'"
        try:
            import openvino
        except ImportError as error:
            return Availability(False, reason=str(error), install=install)
        core = openvino.Core()
        if DEVICE not in core.available_devices:
            return Availability(False, reason="OpenVINO finds no CPU device", install=install)
        capable = "BF16" in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES") and machine.has_bf16()
        precisions = ("fp32", "bf16") if capable else ("fp32",)
        refused: tuple[tuple[str, str], ...] = (
            ("fp16", "asked for f16, OpenVINO's CPU plugin runs another precision on this processor"),
        )
        if not capable:
            refused += (("bf16", machine.NO_BF16),)
        version = openvino.get_version().partition("-")[0]
        return Availability(True, version, tuple(core.available_devices), precisions, refused)

    def compile(self, model: Artifact, options: Options, out: Path) -> Artifact:
        """Write OpenVINO's files (.xml, .bin beside it). Weights stay float32: the precision is chosen on opening."""
        import openvino

        if out.suffix != ".xml":
            raise EngineError(f"{out}: OpenVINO writes .xml files", "give --out a name that ends in .xml")
        with written_aside(out) as aside:
            openvino.save_model(_read(model, options.batch), str(aside), compress_to_fp16=False)
            weights = Artifact.of(aside.with_suffix(".bin"), "openvino-weights", (model.sha256,))
            graph = Artifact.of(aside, "openvino", (model.sha256, weights.sha256))
        part = Artifact(out.with_suffix(".bin"), weights.kind, weights.sha256, weights.made_from)
        return Artifact(out, graph.kind, graph.sha256, graph.made_from, (part,))

    @contextmanager
    def open(self, model: Artifact, options: Options) -> Iterator[Runner]:
        """Load a model and compile it for this processor. Raises EngineError where OpenVINO refuses it."""
        import openvino

        # Without the hint the plugin takes bf16 by itself where the processor has it.
        config = {
            "INFERENCE_PRECISION_HINT": "bf16" if options.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": options.threads or machine.cores(),
        }
        network = _read(model, options.batch)
        try:
            compiled = openvino.Core().compile_model(network, DEVICE, config)
        except RuntimeError as error:
            raise EngineError(
                f"{model.path}: OpenVINO refuses it: {error}", "export it again, or choose another engine"
            ) from error
        yield _Runner(compiled)


class _Runner:
    def __init__(self, compiled: Any) -> None:
        self.concurrency = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.signature = Signature(tuple(map(_spec, compiled.inputs)), tuple(map(_spec, compiled.outputs)))
        self.precision = _executed_precision(compiled)
        self._requests: queue.Queue[Any] = queue.Queue()
        for _ in range(self.concurrency):
            self._requests.put(compiled.create_infer_request())

    def run(self, inputs: Tensors) -> dict[str, Array]:
        self.signature.check_inputs(inputs)
        request = self._requests.get()
        try:
            request.infer(dict(inputs), share_inputs=True)
            # The request's memory is used again by the next run: the caller gets a copy.
            return {spec.name: request.get_tensor(spec.name).data.copy() for spec in self.signature.outputs}
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed: {error}", "choose another engine, or export at another opset"
            ) from error
        finally:
            self._requests.put(request)


def _read(model: Artifact, batch: int | None) -> Any:
    import openvino

    try:
        network = openvino.Core().read_model(str(model.path))
        free = [port for port in network.inputs if port.partial_shape[0].is_dynamic]
        if batch is not None and free:
            network.reshape({port.get_any_name(): [batch, *list(port.partial_shape)[1:]] for port in free})
    except RuntimeError as error:
        raise EngineError(
            f"{model.path}: OpenVINO cannot read it: {error}", "export it again, or copy it again whole"
        ) from error
    return network


def _spec(port: Any) -> TensorSpec:
    shape = tuple(axis.get_length() if axis.is_static else "?" for axis in port.partial_shape)
    return TensorSpec(port.get_any_name(), str(port.element_type.to_dtype()), shape)


def _executed_precision(compiled: Any) -> str:
    """Return the precision of the heavy layers in the graph that really executes."""
    found = set()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if "layerType" in info and info["layerType"].astype(str) in HEAVY_LAYERS:
            found.add(info["runtimePrecision"].astype(str))
    names = {PRECISION_NAMES.get(name, name) for name in found}
    return names.pop() if len(names) == 1 else "mixed: " + ", ".join(sorted(names)) if names else "fp32"
