"""Quantization by ONNX Runtime: static QDQ, calibrated on its own CPU provider.

Weights that its quantizer has brought to int8 once are given to it again as they are. Its loop over the channels of all
weights takes most of the time of one model (1.0 of 1.1 s for a ResNet-50), and a search for sensitive layers makes
dozens from the same weights. The quantizer leaves a weight alone that comes out of a DequantizeLinear already.
"""

from __future__ import annotations

import copy
import platform
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.core import machine
from modelport.core.artifacts import Artifact, write_artifact
from modelport.core.values import Tensors
from modelport.engines.quantizer import Calibrating, Int8Model, quiet
from modelport.model.graph.quantizable import after_the_last_heavy, heavy_nodes, quantized_nodes

if TYPE_CHECKING:
    import onnx

PERCENTILE = 99.99
# What ONNX Runtime's CPU provider computes in 8 bits, or passes on without computing.
QDQ_OPERATORS = (
    *("Conv", "Gemm", "MatMul", "Add", "Concat", "Relu", "Clip"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Resize"),
    *("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"),
)


class QdqQuantizer:
    """ONNX Runtime's own; it comes with the engine."""

    library = "ONNX Runtime"
    packages: tuple[str, ...] = ("onnxruntime",)
    install = "pip install 'modelport[onnxruntime]'"
    # All that was seen, or without the outliers.
    methods: tuple[str, ...] = ("minmax", "percentile")

    def calibrate(self, job: Calibrating) -> Int8Model:
        """Find the ranges by running the graph with every tensor as an output."""
        return QdqModel(job)


class QdqModel:
    """ONNX Runtime's static quantization: pairs of QuantizeLinear and DequantizeLinear around the layers."""

    def __init__(self, job: Calibrating) -> None:
        with quiet():
            from onnxruntime.quantization import quant_pre_process
            from onnxruntime.quantization.quant_utils import load_model_with_shape_infer

            prepared = job.work / "prepared.onnx"
            quant_pre_process(str(job.named), str(prepared), skip_symbolic_shape=True)
            self._model = job.model
            self._prepared = load_model_with_shape_infer(prepared)
            self._ranges = _ranges(prepared, job)
        # Dot products of u8 and s8 overflow 16 bits on x86 without VNNI unless a bit is left out; ARM wants s8 and s8.
        self._signed = platform.machine().lower() in ("aarch64", "arm64")
        self._reduced = not self._signed and not machine.has_vnni()
        self._never = after_the_last_heavy(self._prepared)
        self.heavy = tuple(heavy_nodes(job.graph))
        self._weights = dict[str, Int8Weight]()
        whole = self._quantized(())
        self._weights = int8_weights(whole, self._prepared)
        # What follows the last heavy layer reads its 8-bit result, and computes in float32.
        self.layers = tuple(name for name in quantized_nodes(whole) if name not in self._never)
        self.method = {
            "library": f"onnxruntime.quantization {version('onnxruntime')}",
            "form": "static QDQ",
            "ranges": "minmax" if job.method == "minmax" else f"percentile {PERCENTILE}",
            "weights": "int8, symmetric, per channel" + (", 7 bits" if self._reduced else ""),
            "activations": "int8, symmetric" if self._signed else "uint8, asymmetric",
        }

    def write(self, kept: Collection[str], out: Path) -> Artifact:
        return write_artifact(out, "onnx", self._quantized(kept).SerializeToString(), self._model.digests)

    def _quantized(self, kept: Collection[str]) -> Any:
        with quiet():
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


def _ranges(prepared: Path, job: Calibrating) -> Any:
    """Run the graph with every tensor as an output, and return what ONNX Runtime makes of it."""
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, inputs: Tensors) -> None:
            self._left: list[Tensors] = [inputs]

        def get_next(self) -> Any:
            return self._left.pop() if self._left else None

    chosen = CalibrationMethod.MinMax if job.method == "minmax" else CalibrationMethod.Percentile
    settings = {} if job.method == "minmax" else {"percentile": PERCENTILE, "symmetric": False}
    calibrator = create_calibrator(
        prepared, list(QDQ_OPERATORS), str(job.work / "augmented.onnx"), calibrate_method=chosen, extra_options=settings
    )
    # A batch at a time: the histograms' calibrator holds every tensor of all that it is given at once.
    for inputs in job.feed():
        calibrator.collect_data(Reader(inputs))
    return calibrator.compute_data()


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """A weight per channel in int8: the node that makes floats of it, and that node's constants."""

    dequantize: onnx.NodeProto
    constants: tuple[onnx.TensorProto, ...]


def int8_weights(quantized: onnx.ModelProto, float32: onnx.ModelProto) -> dict[str, Int8Weight]:
    """Return the weights of the graph ``float32`` as the quantizer has left them in ``quantized``, by layer.

    A layer is a node that takes its weight as the second input. Those with one scale for all channels are left out:
    they take no time.
    """
    from onnx import TensorProto

    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    makers = {
        node.output[0]: node
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    weights = {tensor.name for tensor in float32.graph.initializer}
    reads = {node.name: node.input[1] for node in float32.graph.node if len(node.input) > 1}
    found = {}
    for node in quantized.graph.node:
        maker = makers.get(node.input[1]) if len(node.input) > 1 else None
        if maker is None or reads.get(node.name) not in weights:
            continue
        parts = tuple(constants[name] for name in maker.input)
        if parts[0].data_type == TensorProto.INT8 and len(parts[1].dims) == 1:
            found[node.name] = Int8Weight(maker, parts)
    return found


def give_weights(model: onnx.ModelProto, weights: dict[str, Int8Weight], kept: Collection[str]) -> None:
    """Let every layer but those ``kept`` in float32 read its weight in int8, in place."""
    import onnx

    graph, given = model.graph, dict[str, Int8Weight]()
    for node in graph.node:
        weight = weights.get(node.name)
        if weight is not None and node.name not in kept:
            node.input[1] = weight.dequantize.output[0]
            given[weight.dequantize.output[0]] = weight
    for name, weight in given.items():
        graph.initializer.extend(weight.constants)
        # The quantizer warns of a tensor whose type it does not find.
        graph.value_info.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, weight.constants[0].dims)
        )
    # Made before it is read.
    nodes = [*(weight.dequantize for weight in given.values()), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
