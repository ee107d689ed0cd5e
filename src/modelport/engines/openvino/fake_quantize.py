"""Layers of an OpenVINO model that NNCF has quantized: which they are, and how they go back to float32.

Works on OpenVINO's own node objects and imports nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

HEAVY = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"})
HEAVY_TYPES = HEAVY | {"MatMul"}
# Operators that only move values: what is 8 bits before them is so behind them.
PASSING = frozenset(
    (
        *("MaxPool", "Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze"),
        *("Split", "VariadicSplit", "StridedSlice", "Slice"),
    )
)
# The same by ONNX's names, and what OpenVINO folds into their weights and biases.
ONNX_HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FOLDED = frozenset({"BatchNormalization", "Mul", "Add", "Sub", "Div"})
# What OpenVINO appends to the name of a layer whose bias became a node of its own.
BARE = "/WithoutBiases"


def onnx_names(nodes: Iterable[Any]) -> dict[str, str]:
    """Return the ONNX node's name by the names that OpenVINO may give to its layer."""
    names: dict[str, str] = {}
    for node in nodes:
        names |= dict.fromkeys((*node.output, node.name, node.name + BARE), node.name)
    return names


def folded_names(nodes: Iterable[Any]) -> dict[str, str]:
    """Return the ONNX heavy node's name by the tensors that it makes, a batch norm and the like applied or not.

    OpenVINO folds these into the layer's weights, whose name it then forgets; the tensor keeps its own.
    """
    makers: dict[str, str] = {}
    made: set[str] = set()
    for node in nodes:
        inputs = [name for name in node.input if name in made]
        if node.op_type in ONNX_HEAVY:
            makers[node.output[0]] = node.name
        elif node.op_type in FOLDED and len(inputs) == 1 and inputs[0] in makers:
            makers[node.output[0]] = makers[inputs[0]]
        made.update(node.output)
    return makers


class Editor:
    """Takes quantization out of copies of a model.

    ``network`` is the float32 model, ``nodes`` are those of its ONNX graph, ``constant`` makes a node.
    """

    def __init__(self, network: Any, nodes: Sequence[Any], constant: Callable[..., Any]) -> None:
        self._names = onnx_names(nodes)
        makers = folded_names(nodes)
        for op in network.get_ordered_ops():
            if op.get_type_name() in HEAVY_TYPES and op.get_friendly_name() not in self._names:
                known = (makers[tensor] for tensor in _tensors(op) if tensor in makers)
                self._names |= {op.get_friendly_name(): name for name in known}
        self._constant = constant
        self._original = {
            op.get_friendly_name(): op for op in network.get_ordered_ops() if op.get_type_name() == "Constant"
        }
        self.tail = _tail(network)

    def name_of(self, op: Any) -> str:
        """Return the name of the ONNX node that an operator came from; its own where there is none."""
        own: str = op.get_friendly_name()
        return self._names.get(own, own)

    def layers(self, network: Any) -> set[str]:
        """Return the names of the layers that take a quantized input."""
        return {self.name_of(taker) for fake in _fakes(network) if _data(fake) for taker in _takers(fake)}

    def returned(self, network: Any, kept: Collection[str]) -> Any:
        """Return a copy of the quantized model in which the layers ``kept`` compute in float32, with their weights."""
        copy = network.clone()
        kept = frozenset(kept)
        for op in copy.get_ordered_ops():
            if op.get_type_name() in HEAVY_TYPES and self.name_of(op) in kept:
                self._restore_bias(op)
        for fake in _fakes(copy):
            if all(self.name_of(taker) in kept for taker in _takers(fake)):
                fake.output(0).replace(fake.input_value(0))
                continue
            for port in list(fake.output(0).get_target_inputs()):
                takers = list(_reached(port))
                if takers and all(self.name_of(taker) in kept for taker in takers):
                    port.replace_source_output(fake.input_value(0))
        copy.validate_nodes_and_infer_types()
        return copy

    def _restore_bias(self, op: Any) -> None:
        """Put back the bias that was corrected for the errors of quantization."""
        for port in op.output(0).get_target_inputs():
            add = port.get_node()
            if add.get_type_name() != "Add":
                continue
            for source in add.input_values():
                for old in _constants(source.get_node()):
                    self._restore(old)

    def _restore(self, old: Any) -> None:
        if old.get_element_type().to_dtype() != np.float32:
            return
        original = self._original.get(old.get_friendly_name())
        # A bias that the model had not was put in to be corrected: without the correction it is zero.
        value = np.zeros_like(old.data) if original is None else np.array(original.data)
        new = self._constant(value.reshape(old.data.shape))
        new.set_friendly_name(old.get_friendly_name())
        old.output(0).replace(new.output(0))


def _fakes(network: Any) -> list[Any]:
    return [op for op in network.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]


def _data(fake: Any) -> bool:
    """Whether it quantizes data and not weights."""
    return not list(_constants(fake.input_value(0).get_node()))


def _takers(op: Any) -> Iterator[Any]:
    """Yield the layers that an operator's results reach, through operators that only move values."""
    for output in op.outputs():
        for port in output.get_target_inputs():
            yield from _reached(port)


def _reached(port: Any) -> Iterator[Any]:
    taker = port.get_node()
    if taker.get_type_name() in PASSING:
        yield from _takers(taker)
    elif taker.get_type_name() not in ("FakeQuantize", "Result", "ShapeOf"):
        yield taker


def _tensors(op: Any) -> Iterator[str]:
    """Yield the names of the tensor that a layer makes, and of it with its bias."""
    yield from op.output(0).get_names()
    for port in op.output(0).get_target_inputs():
        if port.get_node().get_type_name() == "Add":
            yield from port.get_node().output(0).get_names()


def _constants(op: Any) -> Iterator[Any]:
    """Yield the constant that an operator is, or reshapes or converts; none where it depends on data."""
    while op.get_type_name() in ("Reshape", "Convert", "Unsqueeze", "Squeeze", "Transpose"):
        op = op.input_value(0).get_node()
    if op.get_type_name() == "Constant":
        yield op


def _tail(network: Any) -> list[str]:
    """Return the operators that no heavy layer follows: eight bits are too few for what makes the answer."""
    leads: set[str] = set()
    tail = []
    for op in reversed(network.get_ordered_ops()):
        name = op.get_friendly_name()
        heavy = op.get_type_name() in HEAVY_TYPES
        takers = (port.get_node().get_friendly_name() for output in op.outputs() for port in output.get_target_inputs())
        if heavy or any(taker in leads for taker in takers):
            leads.add(name)
        elif op.get_type_name() not in ("Constant", "Result", "Parameter"):
            tail.append(name)
    return tail
