"""Quantization to int8 after training, by the engines' own libraries: NNCF for OpenVINO, ONNX Runtime's static QDQ."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import platform
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from modelport.core import machine
from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import EngineError
from modelport.core.values import Tensors
from modelport.engines.onnxruntime.qdq_weights import Int8Weight, give_weights, int8_weights
from modelport.engines.openvino.fake_quantize import Editor
from modelport.model.graph.file import opset_of, read_graph
from modelport.model.graph.quantizable import after_the_last_heavy, heavy_nodes, name_nodes, quantized_nodes

# Below it QuantizeLinear has no axis, and weights could not have a scale per channel.
OLDEST_OPSET = 13
# Ways to find the ranges: all that was seen, or without the outliers. Which is better depends on the network.
METHODS = {"openvino": ("minmax", "mean"), "onnxruntime": ("minmax", "percentile")}
SUFFIXES = {"openvino": ".xml", "onnxruntime": ".onnx"}
PACKAGES = {"openvino": ("nncf", "openvino"), "onnxruntime": ("onnxruntime",)}
PERCENTILE = 99.99
# What ONNX Runtime's CPU provider computes in 8 bits, or passes on without computing.
QDQ_OPERATORS = (
    *("Conv", "Gemm", "MatMul", "Add", "Concat", "Relu", "Clip"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Resize"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"),
)

Feed = Callable[[], Iterable[Tensors]]


class Int8Model(Protocol):
    """A calibrated model, of which any layers can stay in float32."""

    layers: tuple[str, ...]  # what is quantized, by its name in the ONNX graph, in the graph's order
    heavy: tuple[str, ...]  # the layers of the ONNX graph that carry its arithmetic, quantized or not
    method: dict[str, Any]  # how it was made, as JSON values

    def write(self, kept: Collection[str], out: Path) -> Artifact:
        """Write the model with the layers ``kept`` in float32. Raises EngineError, OutputError."""


def calibrated(engine: str, method: str, model: Artifact, feed: Feed, work: Path) -> Int8Model:
    """Find the ranges of a float32 ONNX graph's tensors on the batches of ``feed``.

    ``work`` is a folder for what is written on the way; it must outlive the result. Raises EngineError where the
    engine quantizes nothing, its library is missing or fails, or the graph's opset is too old.
    """
    if engine not in METHODS:
        raise EngineError(f"'{engine}' has no quantization", f"choose --engine {' or '.join(METHODS)}")
    graph = read_graph(model.path)
    if opset_of(graph) < OLDEST_OPSET:
        raise EngineError(
            f"{model.path}: opset {opset_of(graph)} cannot say how weights are quantized per channel",
            f"export it again with --opset {OLDEST_OPSET} or newer",
        )
    name_nodes(graph)
    named = work / "named.onnx"
    named.write_bytes(graph.SerializeToString())
    try:
        if engine == "openvino":
            return _NncfModel(model, graph, named, feed, method)
        return _QdqModel(model, graph, named, feed, method, work)
    except (EngineError, MemoryError):
        raise
    # The libraries' errors share no base below Exception.
    except Exception as error:
        if type(error).__module__.startswith("modelport."):
            raise
        raise EngineError(
            f"{model.path}: {'NNCF' if engine == 'openvino' else 'ONNX Runtime'} cannot quantize it: {error}",
            "choose another engine, or stay with --precision fp32",
        ) from error


def versions(engine: str) -> dict[str, str]:
    """Return the versions of what quantizes for an engine. Raises EngineError where it is not installed."""
    try:
        return {package: version(package) for package in PACKAGES[engine]}
    except ImportError as error:
        install = "pip install 'modelport[int8]'" if engine == "openvino" else "pip install 'modelport[onnxruntime]'"
        raise EngineError(f"int8 for '{engine}' needs {error.name}, which is not installed", install) from error


class _QdqModel:
    """ONNX Runtime's static quantization: pairs of QuantizeLinear and DequantizeLinear around the layers."""

    def __init__(self, model: Artifact, graph: Any, named: Path, feed: Feed, method: str, work: Path) -> None:
        with _quiet():
            from onnxruntime.quantization import quant_pre_process
            from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

            prepared = work / "prepared.onnx"
            quant_pre_process(str(named), str(prepared), skip_symbolic_shape=True)
            self._model = model
            self._prepared = load_model_with_shape_infer(prepared)
            self._ranges = _ranges(prepared, feed, method, work)
        # Dot products of u8 and s8 overflow 16 bits on x86 without VNNI unless a bit is left out; ARM wants s8 and s8.
        self._signed = platform.machine().lower() in ("aarch64", "arm64")
        self._reduced = not self._signed and not machine.has_vnni()
        self._never = after_the_last_heavy(self._prepared)
        self.heavy = tuple(heavy_nodes(graph))
        self._weights = dict[str, Int8Weight]()
        whole = self._quantized(())
        self._weights = int8_weights(whole, self._prepared)
        # What follows the last heavy layer reads its 8-bit result, and computes in float32.
        self.layers = tuple(name for name in quantized_nodes(whole) if name not in self._never)
        self.method = {
            "library": f"onnxruntime.quantization {version('onnxruntime')}",
            "form": "static QDQ",
            "ranges": "minmax" if method == "minmax" else f"percentile {PERCENTILE}",
            "weights": "int8, symmetric, per channel" + (", 7 bits" if self._reduced else ""),
            "activations": "int8, symmetric" if self._signed else "uint8, asymmetric",
        }

    def write(self, kept: Collection[str], out: Path) -> Artifact:
        quantized = self._quantized(kept)
        with written_aside(out) as aside:
            aside.write_bytes(quantized.SerializeToString())
            artifact = Artifact.of(aside, "onnx", self._model.digests)
        return Artifact(out, artifact.kind, artifact.sha256, artifact.made_from)

    def _quantized(self, kept: Collection[str]) -> Any:
        with _quiet():
            from onnxruntime.quantization import QDQQuantizer, QuantType

            model = copy.deepcopy(self._prepared)
            give_weights(model, self._weights, kept)
            quantizer = QDQQuantizer(
                model,
                True,
                self._reduced,
                QuantType.QInt8,
                QuantType.QInt8 if self._signed else QuantType.QUInt8,
                copy.deepcopy(self._ranges),
                [],
                [*kept, *self._never],
                list(QDQ_OPERATORS),
                # A product of two activations (attention, mixing) is quantized as well as one with weights.
                {"WeightSymmetric": True, "ActivationSymmetric": self._signed},
            )
            quantizer.quantize_model()
        return quantizer.model.model


def _ranges(prepared: Path, feed: Feed, method: str, work: Path) -> Any:
    """Run the graph with every tensor as an output, and return what ONNX Runtime makes of it."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, inputs: Tensors) -> None:
            self._left: list[Tensors] = [inputs]

        def get_next(self) -> Any:
            return self._left.pop() if self._left else None

    chosen = CalibrationMethod.MinMax if method == "minmax" else CalibrationMethod.Percentile
    settings = {} if method == "minmax" else {"percentile": PERCENTILE, "symmetric": False}
    calibrator = create_calibrator(
        prepared, list(QDQ_OPERATORS), str(work / "augmented.onnx"), calibrate_method=chosen, extra_options=settings
    )
    # A batch at a time: the histograms' calibrator holds every tensor of all that it is given at once.
    for inputs in feed():
        calibrator.collect_data(Reader(inputs))
    return calibrator.compute_data()


class _NncfModel:
    """NNCF's quantization of an OpenVINO model; a layer goes back by taking its FakeQuantize nodes out."""

    def __init__(self, model: Artifact, graph: Any, named: Path, feed: Feed, method: str) -> None:
        nncf = _nncf()
        import openvino
        from openvino._offline_transformations import apply_moc_transformations

        self._model = model
        network = openvino.Core().read_model(str(named))
        # Batch norms go into their convolutions, shapes that are computed become constants: as OpenVINO does itself.
        apply_moc_transformations(network, cf=True)
        self._edit = Editor(network, graph.graph.node, openvino.opset13.constant)
        rows = [dict(inputs) for inputs in _rows(network, feed())]
        with _quiet():
            self._quantized = nncf.quantize(
                network,
                nncf.Dataset(rows),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(rows),
                fast_bias_correction=True,
                ignored_scope=nncf.IgnoredScope(names=self._edit.tail, validate=False),
                advanced_parameters=_nncf_settings(nncf, method),
            )
        self.heavy = tuple(heavy_nodes(graph))
        order = {node.name: place for place, node in enumerate(graph.graph.node)}
        found = self._edit.layers(self._quantized)
        self.layers = tuple(sorted(found, key=lambda name: order.get(name, len(order))))
        self.method = {
            "library": f"nncf {version('nncf')}",
            "form": "FakeQuantize, preset mixed" + (", fast bias correction" if method == "mean" else ""),
            "ranges": "minmax" if method == "minmax" else "means of each image's minimum and maximum",
            "weights": "int8, symmetric, per channel",
            "activations": "uint8 or int8, symmetric or asymmetric by layer",
        }

    def write(self, kept: Collection[str], out: Path) -> Artifact:
        import openvino
        from openvino._offline_transformations import compress_quantize_weights_transformation

        network = self._edit.returned(self._quantized, kept)
        compress_quantize_weights_transformation(network)
        with written_aside(out) as aside:
            openvino.save_model(network, str(aside), compress_to_fp16=False)
            weights = Artifact.of(aside.with_suffix(".bin"), "openvino-weights", self._model.digests)
            graph = Artifact.of(aside, "openvino", (*self._model.digests, weights.sha256))
        part = Artifact(out.with_suffix(".bin"), weights.kind, weights.sha256, weights.made_from)
        return Artifact(out, graph.kind, graph.sha256, graph.made_from, (part,))


def _nncf_settings(nncf: Any, method: str) -> Any:
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    settings: dict[str, Any] = {}
    if method == "minmax":
        settings["activations_range_estimator_params"] = RangeEstimatorParametersSet.MINMAX
    if machine.has_vnni():
        # Sums of products are 32 bits wide: no bit of the first layer's weights need be left out.
        settings["overflow_fix"] = nncf.OverflowFix.DISABLE
    return nncf.AdvancedQuantizationParameters(
        disable_bias_correction=method == "minmax",
        # Weights stay float32 behind their FakeQuantize: so they can come back.
        backend_params={"compress_weights": False},
        **settings,
    )


def _rows(network: Any, batches: Iterable[Tensors]) -> Iterator[Tensors]:
    """Yield the batches row by row where the graph takes one row: NNCF averages the ranges of what it gets."""
    free = all(port.partial_shape[0].is_dynamic or port.partial_shape[0].get_length() == 1 for port in network.inputs)
    for inputs in batches:
        count = len(next(iter(inputs.values())))
        if not free:
            yield inputs
            continue
        for row in range(count):
            yield {name: array[row : row + 1] for name, array in inputs.items()}


def _nncf() -> Any:
    """Import NNCF without the part of it that reports its use to a statistics service."""
    versions("openvino")
    held = sys.modules.get("openvino_telemetry")
    if "nncf" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it now raises ImportError
    try:
        with _quiet():
            import nncf

            nncf.set_log_level(logging.ERROR)
    finally:
        if held is not None:
            sys.modules["openvino_telemetry"] = held
        elif sys.modules.get("openvino_telemetry", held) is None:
            sys.modules.pop("openvino_telemetry", None)
    return nncf


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
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
