"""OpenVINO on the CPU."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError, raised_as
from modelport.core.values import UNRANKED, Array, Signature, Tensors, TensorSpec
from modelport.engines.base import Availability, Build, Engine, Launch, Runner
from modelport.engines.openvino.files import weights_beside, write_network
from modelport.engines.openvino.quantizer import NncfQuantizer
from modelport.engines.quantizer import Quantizer
from modelport.engines.time_limit import within_limit
from modelport.model.graph.quantizable import prevailing

DEVICE = "CPU"
# What carries nearly all the arithmetic; their precision is the precision of the run.
HEAVY_LAYERS = {"Convolution", "GroupConvolution", "MatMul", "FullyConnected", "Deconvolution"}
PRECISION_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}


class OpenVinoEngine(Engine):
    """Runs ONNX files and OpenVINO's own (.xml and .bin)."""

    name = "openvino"
    consumes = frozenset({"onnx", "openvino"})
    suffixes: Mapping[str, str] = {".xml": "openvino"}
    compiles_to = ".xml"
    companions = (".bin",)
    lowers: Mapping[str, str] = {"fp16": "graph", "int8": "quantizer"}
    quantizer: Quantizer = NncfQuantizer()
    packages = ("openvino", "nncf")
    serves_several = True

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
        precisions = ("fp32", "bf16", "int8") if capable else ("fp32", "int8")
        refused: tuple[tuple[str, str], ...] = (
            ("fp16", "asked for f16, OpenVINO's CPU plugin runs another precision on this processor"),
        )
        if not capable:
            refused += (("bf16", machine.NO_BF16),)
        version = openvino.get_version().partition("-")[0]
        return Availability(True, version, tuple(core.available_devices), precisions, refused)

    def parts(self, path: Path) -> tuple[Path, ...]:
        """Return the ``.bin`` beside an ``.xml``, where it has one."""
        weights = weights_beside(path)
        return () if weights is None else (weights,)

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        """Write OpenVINO's files (.xml, .bin beside it). Weights stay float32: the precision is chosen on opening."""
        if out.suffix != ".xml":
            raise EngineError(f"{out}: OpenVINO writes .xml files", "give --out a name that ends in .xml")
        return write_network(_read(model, build), out, model.digests)

    @contextmanager
    def open(self, model: Artifact, build: Build, launch: Launch) -> Iterator[Runner]:
        """Load a model and compile it for this processor. Raises EngineError where OpenVINO refuses it."""
        yield _compiled(_read(model, build), model, build, launch, ())

    @contextmanager
    def open_with(self, model: Artifact, build: Build, launch: Launch, outputs: Sequence[str]) -> Iterator[Runner]:
        """Load a model with further outputs: tensors keep the names that they had in ONNX. Raises EngineError."""
        network = _read(model, build)
        own = {name for port in (*network.inputs, *network.outputs) for name in port.get_names()}
        have = {name for node in network.get_ordered_ops() for port in node.outputs() for name in port.get_names()}
        taps = [name for name in outputs if name in have - own]
        if taps:
            network.add_outputs(taps)
        yield _compiled(network, model, build, launch, taps)


def _compiled(network: Any, model: Artifact, build: Build, launch: Launch, taps: Sequence[str]) -> _Runner:
    """Return a runner of a network whose last outputs are ``taps``."""
    import openvino

    # Without the hint the plugin takes bf16 by itself where the processor has it.
    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if build.precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY" if launch.in_flight == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": launch.threads or machine.cores(),
    }
    if launch.in_flight != 1:
        # A run that is bound to a core would wait there for a decoder while another core idles.
        config["ENABLE_CPU_PINNING"] = False
    if launch.in_flight is not None:
        config["NUM_STREAMS"] = launch.in_flight
    _refuse_indices_out_of_range(network, model)
    with raised_as(EngineError, f"{model.path}: OpenVINO refuses it", "export it again, or choose another engine"):
        compiled = openvino.Core().compile_model(network, DEVICE, config)
    # A compiled output bears the names of all tensors that were folded into it, so they are taken from the graph.
    named = network.outputs[: len(network.outputs) - len(taps)]
    return _Runner(compiled, [*(_name(port) for port in (*network.inputs, *named)), *taps])


class _Runner:
    def __init__(self, compiled: Any, names: Sequence[str]) -> None:
        """``names``: of the inputs and then the outputs, in order."""
        self.concurrency = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        count = len(compiled.inputs)
        self.signature = Signature(
            tuple(map(_spec, compiled.inputs, names[:count])), tuple(map(_spec, compiled.outputs, names[count:]))
        )
        self.precision = _executed_precision(compiled)
        self._requests = queue.SimpleQueue[Any]()
        for _ in range(self.concurrency):
            self._requests.put(compiled.create_infer_request())

    def run(self, inputs: Tensors) -> dict[str, Array]:
        import openvino

        self.signature.check_inputs(inputs)
        # The request only points at these arrays: they must outlive the run.
        feeds = [_shareable(inputs[spec.name]) for spec in self.signature.inputs]
        request = self._requests.get()
        try:
            with raised_as(EngineError, "OpenVINO failed", "choose another engine, or export at another opset"):
                # By index, in the caller's memory and without a dictionary of results: less than half of what
                # infer(dict) costs beside a small model.
                for index, array in enumerate(feeds):
                    request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))
                with within_limit(request.cancel):
                    request.start_async()
                    request.wait()
                # The request's memory is used again by the next run: the caller gets a copy.
                outputs = enumerate(self.signature.outputs)
                return {spec.name: request.get_output_tensor(index).data.copy() for index, spec in outputs}
        finally:
            self._requests.put(request)


def _read(model: Artifact, build: Build) -> Any:
    import openvino

    with raised_as(EngineError, f"{model.path}: OpenVINO cannot read it", "export it again, or copy it again whole"):
        network = openvino.Core().read_model(str(model.path))
        shapes: dict[str, list[Any]] = {name: list(shape) for name, shape in build.shapes}
        told = () if build.recipe is None else build.recipe.whole_signature.inputs
        sizes = {spec.name: spec.shape for spec in told}
        for port in network.inputs:
            name, axes = _name(port), list(port.partial_shape)
            wanted = [build.batch, *sizes.get(name, axes)[1:]]
            settled = [
                size if axis.is_dynamic and isinstance(size, int) else axis
                for axis, size in zip(axes, wanted, strict=False)
            ]
            if settled != axes:
                shapes.setdefault(name, settled)
        if shapes:
            network.reshape(shapes)
    return network


def _refuse_indices_out_of_range(network: Any, model: Artifact) -> None:
    """Raise EngineError for a Gather whose constant indices lie outside of its axis: OpenVINO would answer zeros.

    Indices that are computed, or an axis that is free, cannot be told before the run.
    """
    for node in network.get_ordered_ops():
        if node.get_type_name() != "Gather":
            continue
        indices, axis = (node.input_value(place).get_node() for place in (1, 2))
        if indices.get_type_name() != "Constant" or axis.get_type_name() != "Constant":
            continue
        length = node.input_value(0).get_partial_shape()[int(axis.get_data().item())]
        values = indices.get_data()
        if length.is_dynamic or not values.size:
            continue
        size = length.get_length()
        worst = int(values.max() if values.max() >= size else values.min())
        if not -size <= worst < size:
            raise EngineError(
                f"{model.path}: the Gather '{node.get_friendly_name()}' takes index {worst} of an axis of {size}",
                "mend the graph: ONNX allows indices from -SIZE to SIZE - 1",
            )


def _shareable(array: Array) -> Array:
    """Return the array as OpenVINO reads it in place: contiguous and writable, though nothing is written."""
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else np.array(array, order="C")


def _name(port: Any) -> str:
    """Return what the file calls an input or output; without its last Identity a tensor has its own name, too."""
    names, node = port.get_names(), str(port.get_node().get_friendly_name()).removesuffix("/sink_port_0")
    return node if node in names or not names else str(port.get_any_name())


def _spec(port: Any, name: str) -> TensorSpec:
    dtype = str(port.element_type.to_dtype())
    if port.partial_shape.rank.is_dynamic:
        return TensorSpec(name, dtype, UNRANKED)
    return TensorSpec(name, dtype, tuple(axis.get_length() if axis.is_static else "?" for axis in port.partial_shape))


def _executed_precision(compiled: Any) -> str:
    """Return the precision of most heavy layers in the graph that really executes."""
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        if "layerType" in info and info["layerType"].astype(str) in HEAVY_LAYERS:
            found.append(info["runtimePrecision"].astype(str))
    return prevailing([PRECISION_NAMES.get(name, name) for name in found])
