"""The nodes of a graph as what they say: operator, settings with their defaults, weights, and the tensors they read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.values import Array
from modelport.model.graph.file import FLOATING, opset_of
from modelport.model.graph.flow import constant_of
from modelport.model.graph.outline import outline
from modelport.model.graph.passing import PASSING, named_nodes, passes, root

if TYPE_CHECKING:
    import onnx

# What may be computed of constants here: operators whose result is no larger than what they take.
FOLDED = frozenset(("Identity", "Cast", "DequantizeLinear", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"))
DEEPEST = 8  # constants of constants of constants …
# Float constants of these names are settings, however long.
SETTINGS = frozenset(("roi", "scales", "min", "max", "constant_value", "ratio", "pads", "values", "epsilon"))
# Names of the same input, or attribute, in other opsets.
RENAMED = {"mean": "input_mean", "var": "input_var", "K": "k", "input_as_shape": "input", "num_classes": "depth"}
# Inputs that may be exchanged without a change of the result.
COMMUTATIVE = frozenset(("Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Xor", "Equal"))
# What ONNX's reference evaluator was seen to raise of nodes that are at odds with themselves.
REFUSED = (LookupError, TypeError, ValueError, ArithmeticError, AssertionError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Operation:
    """One node: what it computes, with which settings and weights, of what."""

    name: str
    op: str  # with its domain where that is not ONNX's own
    settings: Mapping[str, Any]  # attributes with their defaults, and the constant inputs that are no weights
    weights: Mapping[str, Array]  # constants that are no settings, by the operator's own name of the input
    constants: Mapping[str, str]  # the names of the tensors of both, by the operator's name of the input
    inputs: tuple[str, ...]  # tensors that flow in, as they were before casts and quantization
    outputs: tuple[str, ...]
    opset: int
    computed: bool = False  # its weights were computed here, of several
    defaults: Mapping[str, Any] = field(default_factory=dict)  # of its attributes


class Reading:
    """A graph to be looked into by the names of its nodes and tensors. The model is left as it is."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = _inlined(model)
        self.opset = opset_of(model)
        self.nodes = named_nodes(self.model)
        self.maker = {output: name for name, node in self.nodes.items() for output in node.output if output}
        self._kept = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self.entries = {value.name for value in self.model.graph.input} - self._kept.keys()
        self._makers = {output: self.nodes[name] for output, name in self.maker.items()}
        self._values: dict[str, Array | None] = {}
        self._weights: dict[str, bool] = {}

    @cached_property
    def takers(self) -> Mapping[str, list[str]]:
        """The names of the nodes that read a tensor."""
        found: dict[str, list[str]] = {}
        for name, node in self.nodes.items():
            for taken in node.input:
                found.setdefault(taken, []).append(name)
        return found

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The sizes of each tensor as far as ONNX infers them; 0 where one is free."""
        import onnx

        try:
            graph = onnx.shape_inference.infer_shapes(outline(self.model)).graph
        except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
            graph = self.model.graph  # at odds with itself, or unknown to ONNX: what the file declares is all there is
        return {
            value.name: tuple(max(0, axis.dim_value) for axis in value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.output, *graph.value_info)
            if value.type.tensor_type.HasField("shape")
        }

    def root(self, tensor: str) -> str:
        """Return the tensor of which this one is a copy but for its precision."""
        return root(tensor, self._makers)

    def constant(self, tensor: str, depth: int = DEEPEST) -> Array | None:
        """Return the value of a constant, or of what little is computed of constants alone; None for other tensors."""
        if tensor not in self._values:
            self._values[tensor] = self._constant(tensor, depth)
        return self._values[tensor]

    def _constant(self, tensor: str, depth: int) -> Array | None:
        if tensor in self._kept:
            return _array(self._kept[tensor])
        node = self.nodes[self.maker[tensor]] if tensor in self.maker else None
        if node is None:
            return None
        if (own := constant_of(node)) is not None:
            return _array(own)
        if node.op_type not in FOLDED or not depth:
            return None
        taken = {name: self.constant(name, depth - 1) for name in node.input if name}
        if not taken or any(value is None for value in taken.values()):
            return None
        return _evaluated(node, taken, self.opset)

    def constant_input(self, node: onnx.NodeProto, place: int) -> Array | None:
        """Return the value of the constant that a node takes at this place; None where it takes none there."""
        return self.constant(node.input[place]) if len(node.input) > place else None

    def is_weight(self, tensor: str) -> bool:
        """Whether a tensor is a float constant of several axes that the file keeps."""
        if tensor not in self._weights:
            kept = self._kept.get(tensor)
            if kept is None and tensor in self.maker:
                kept = constant_of(self.nodes[self.maker[tensor]])
            self._weights[tensor] = kept is not None and kept.data_type in FLOATING and len(kept.dims) > 1
        return self._weights[tensor]

    def constants(self) -> Iterable[tuple[str, Array]]:
        """Yield the name and the value of every float constant of more than one element."""
        for tensor in chain(self._kept.values(), map(constant_of, self.nodes.values())):
            if tensor is not None and tensor.data_type in FLOATING and math.prod(tensor.dims) > 1:
                yield tensor.name, _array(tensor)

    def operations(self, names: Iterable[str], *, lowered: bool) -> list[Operation]:
        """Return the nodes of a unit, without its constants and without what passes values on.

        ``lowered``: casts between floats and quantization are what the precision asks for, and are left out too.
        """
        found = []
        for name in names:
            node = self.nodes.get(name)
            if node is None or node.op_type == "Constant" or node.op_type in PASSING:
                continue
            if lowered and passes(node, floats_only=True):
                continue
            if any(self.constant(one) is None for one in node.output):
                found.append(self.operation(name))
        return found

    def operation(self, name: str) -> Operation:
        """Return one node with its constants looked up and its defaults filled in."""
        node = self.nodes[name]
        schema = self._schema(node)
        defaults = _defaults(schema)
        settings = defaults | _attributes(node)
        weights: dict[str, Array] = {}
        constants: dict[str, str] = {}
        flowing = []
        for place, tensor in enumerate(node.input):
            value = self.constant(tensor) if tensor else None
            if value is None:
                flowing += [self.root(tensor)] if tensor else []
                continue
            key = _formal(node, schema, place)
            constants[key] = tensor
            if _is_weight(value) and key not in SETTINGS:
                weights[key] = value
            else:
                # One number is the same in any shape; of indices and sizes the shape says how many there are.
                settings[key] = value.item() if value.dtype.kind == "f" and value.size == 1 else value.tolist()
        _fill(node, settings, weights, self.opset)
        first = next(iter(node.input), "")
        if node.op_type == "Transpose" and "perm" not in settings and first in self.shapes:
            settings["perm"] = list(range(len(self.shapes[first])))[::-1]
        op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        given = (settings, weights, constants, tuple(flowing), tuple(node.output))
        return Operation(name, op, *given, self.opset, defaults=defaults)

    def _schema(self, node: onnx.NodeProto) -> Any:
        import onnx

        versions = {entry.domain or "ai.onnx": entry.version for entry in self.model.opset_import}
        domain = "" if node.domain in ("", "ai.onnx") else node.domain
        try:
            return onnx.defs.get_schema(node.op_type, versions[domain or "ai.onnx"], domain)
        except (onnx.defs.SchemaError, KeyError):
            return None  # an operator of a vendor's: what it leaves out is not known


def _is_weight(value: Array) -> bool:
    """Whether a constant is compared as a tensor: floats, and whole numbers that are no list of sizes or axes."""
    return value.size > 1 and (value.dtype.kind == "f" or (value.dtype.kind in "iub" and value.ndim > 1))


def _defaults(schema: Any) -> dict[str, Any]:
    """Return what an operator's attributes are where they are left out."""
    from onnx import helper

    declared = ((key, entry.default_value) for key, entry in schema.attributes.items()) if schema else ()
    return {key: _plain_value(helper.get_attribute_value(value)) for key, value in declared if value.name}


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    return {entry.name: _plain_value(helper.get_attribute_value(entry)) for entry in node.attribute}


def _formal(node: onnx.NodeProto, schema: Any, place: int) -> str:
    """Return the operator's own name of an input; the last declared stands for all further ones."""
    if schema is None or not schema.inputs:
        return f"input {place}"
    if node.op_type in COMMUTATIVE or (node.op_type in ("Sub", "Div", "Pow", "Mod") and place):
        return "constant"
    name: str = schema.inputs[min(place, len(schema.inputs) - 1)].name
    return RENAMED.get(name, name)


def _fill(node: onnx.NodeProto, settings: dict[str, Any], weights: Mapping[str, Array], opset: int) -> None:
    """Write what a node leaves to be derived, and give what several opsets spell otherwise one spelling."""
    if "W" in weights and node.op_type in ("Conv", "ConvTranspose"):
        settings.setdefault("kernel_shape", list(weights["W"].shape[2:]))
    if isinstance(settings.get("kernel_shape"), list):
        spatial = len(settings["kernel_shape"])
        for key, value in (("strides", [1] * spatial), ("dilations", [1] * spatial), ("pads", [0] * 2 * spatial)):
            settings.setdefault(key, value)
    if node.op_type == "BatchNormalization":
        # Before opset 14 further outputs said the same.
        settings["training_mode"] = settings.get("training_mode", 0) or int(sum(map(bool, node.output)) > 1)
        for unread in ("spatial", *([] if settings["training_mode"] else ["momentum"])):
            settings.pop(unread, None)
    if node.op_type == "Pad" and "value" in settings:
        settings["constant_value"] = settings.pop("value")
    if node.op_type == "Pad":
        settings.setdefault("constant_value", 0.0)
    if node.op_type == "Resize" and opset < 11:
        settings.update(coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    for key in ("roi", "scales", "sizes"):
        if key in settings and not settings[key]:
            del settings[key]  # an empty tensor stands for an input that is left out


def _plain_value(value: Any) -> Any:
    """Return an attribute's value as Python's own: text, numbers and lists; a subgraph as its bytes."""
    import onnx

    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, onnx.TensorProto):
        return _array(value).tolist()
    if isinstance(value, onnx.GraphProto | onnx.SparseTensorProto | onnx.TypeProto):
        return value.SerializeToString(deterministic=True)
    return value if isinstance(value, str | int | float) else [_plain_value(entry) for entry in value]


def _array(tensor: onnx.TensorProto) -> Array:
    """Return a tensor's values; narrow floats that NumPy lacks as float32."""
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _evaluated(node: onnx.NodeProto, taken: Mapping[str, Any], opset: int) -> Array | None:
    """Return what a node of constants gives, as ONNX's reference computes it; None where it cannot."""
    from onnx.reference import ReferenceEvaluator

    try:
        made: Any = ReferenceEvaluator(node, opsets={"": opset}).run(None, dict(taken))
        return np.asarray(made[0])
    except REFUSED:
        return None  # then the node is compared as one that computes


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx.inliner

    return onnx.inliner.inline_local_functions(model) if model.functions else model
