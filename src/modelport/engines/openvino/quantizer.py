"""Quantization by NNCF: FakeQuantize nodes in an OpenVINO model."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.values import Tensors
from modelport.engines.openvino.fake_quantize import Editor
from modelport.engines.openvino.files import write_network
from modelport.engines.privacy import ABSENT
from modelport.engines.quantizer import Calibrating, Int8Model, quiet
from modelport.model.graph.quantizable import heavy_nodes


class NncfQuantizer:
    """NNCF, for OpenVINO models."""

    library = "NNCF"
    packages: tuple[str, ...] = ("nncf", "openvino")
    install = "pip install 'modelport[int8]'"
    # All that was seen, or the means of each image's extremes.
    methods: tuple[str, ...] = ("minmax", "mean")

    def calibrate(self, job: Calibrating) -> Int8Model:
        """Find the ranges by NNCF's own statistics."""
        return NncfModel(job)


class NncfModel:
    """NNCF's quantization of an OpenVINO model; a layer goes back by taking its FakeQuantize nodes out."""

    def __init__(self, job: Calibrating) -> None:
        nncf = _nncf()
        import openvino
        from openvino._offline_transformations import apply_moc_transformations

        self._model = job.model
        network = openvino.Core().read_model(str(job.named))
        # Batch norms go into their convolutions, shapes that are computed become constants: as OpenVINO does itself.
        apply_moc_transformations(network, cf=True)
        self._edit = Editor(network, job.graph.graph.node, openvino.opset13.constant)
        rows = [dict(inputs) for inputs in _rows(network, job.feed())]
        with quiet():
            self._quantized = nncf.quantize(
                network,
                nncf.Dataset(rows),
                preset=nncf.QuantizationPreset.MIXED,
                target_device=nncf.TargetDevice.CPU,
                subset_size=len(rows),
                fast_bias_correction=True,
                ignored_scope=nncf.IgnoredScope(names=self._edit.tail, validate=False),
                advanced_parameters=_nncf_settings(nncf, job.method),
            )
        self.heavy = tuple(heavy_nodes(job.graph))
        order = {node.name: place for place, node in enumerate(job.graph.graph.node)}
        found = self._edit.layers(self._quantized)
        self.layers = tuple(sorted(found, key=lambda name: order.get(name, len(order))))
        self.method = {
            "library": f"nncf {version('nncf')}",
            "form": "FakeQuantize, preset mixed" + (", fast bias correction" if job.method == "mean" else ""),
            "ranges": "minmax" if job.method == "minmax" else "means of each image's minimum and maximum",
            "weights": "int8, symmetric, per channel",
            "activations": "uint8 or int8, symmetric or asymmetric by layer",
        }

    def write(self, kept: Collection[str], out: Path) -> Artifact:
        from openvino._offline_transformations import compress_quantize_weights_transformation

        network = self._edit.returned(self._quantized, kept)
        compress_quantize_weights_transformation(network)
        return write_network(network, out, self._model.digests)


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
        step = 1 if free else count
        for row in range(0, count, step):
            yield {name: array[row : row + step] for name, array in inputs.items()}


def _nncf() -> Any:
    """Import NNCF without the part of it that reports its use to a statistics service."""
    held = sys.modules.get(ABSENT)
    sys.modules[ABSENT] = None  # type: ignore[assignment]  # importing it now raises ImportError
    try:
        with quiet():
            import nncf

            nncf.set_log_level(logging.ERROR)
    finally:
        sys.modules[ABSENT] = held  # type: ignore[assignment]
    return nncf
