"""float32 ONNX → float16: weights and activations, but for the nodes of a block list; inputs and outputs stay."""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.errors import GraphError, raised_as
from modelport.core.text import some

if TYPE_CHECKING:
    import onnx

LARGEST = 65504.0
HALF, FULL = "tensor(float16)", "tensor(float)"
# Operators whose result has the type that an attribute names.
_BY_ATTRIBUTE = frozenset({"Cast", "Constant", "ConstantOfShape"})


@dataclass(frozen=True, slots=True)
class Converted:
    """A float16 graph, the nodes that compute in float32 there, and what is to be said."""

    model: onnx.ModelProto
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def to_float16(model: onnx.ModelProto, blocked: Collection[str] = ()) -> Converted:
    """Return a copy whose nodes compute in float16, with casts where the named nodes ``blocked`` stay in float32.

    Also in float32 stay nodes of operators that know no float16, nodes with a constant beyond its range, and the
    inputs and outputs of the graph. Raises GraphError where there is control flow, or where the result is not valid.
    """
    import onnx
    import onnx.inliner

    half = copy.deepcopy(model)
    if half.functions:
        half = onnx.inliner.inline_local_functions(half)
    if any(not value.type.tensor_type.HasField("shape") for value in half.graph.output):
        half = onnx.shape_inference.infer_shapes(half)  # some converters leave them out; the checker asks for them
    work = _Conversion(half, frozenset(blocked))
    work.convert()
    del half.graph.value_info[:]
    refused = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    with raised_as(GraphError, "the float16 graph is not valid", "keep the node named there in float32", refused):
        onnx.checker.check_model(half, full_check=True)
    return Converted(half, tuple(work.kept), tuple(work.notes))


@dataclass(slots=True)
class _Conversion:
    """Walks the graph once, keeping the float tensors in the types in which they are wanted."""

    model: onnx.ModelProto
    blocked: frozenset[str]
    kept: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _type_of: dict[str, str] = field(default_factory=dict)  # float tensors: what they are by now
    _casts: dict[tuple[str, str], str] = field(default_factory=dict)
    _nodes: list[Any] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def convert(self) -> None:
        graph = self.model.graph
        for node in graph.node:
            self._taken.update((node.name, *node.input, *node.output))
        self._taken.update(value.name for value in (*graph.initializer, *graph.input))
        floats = self._float_tensors()
        weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
        wide, lost = _beyond_range(weights.values())
        self._type_of = dict.fromkeys((*weights, *(value.name for value in graph.input if value.name in floats)), FULL)
        outputs = {value.name for value in graph.output if value.name in floats}
        for node in graph.node:
            self._node(node, floats, wide, outputs)
        del graph.node[:]
        graph.node.extend(self._nodes)
        self._convert_weights(weights)
        if lost:
            self.notes.append(f"{lost} weights are too small for float16 and became zero")
        natural = [name for name in self.kept if name not in self.blocked]
        if self.blocked:
            self.notes.append(f"in float32 by the block list: {some(sorted(self.blocked), 8)}")
        if natural:
            self.notes.append(f"in float32 because they must be: {some(natural, 8)}")

    def _node(self, node: Any, floats: set[str], wide: dict[str, float], outputs: set[str]) -> None:
        """Add a node with what it needs before it and after it."""
        from onnx import TensorProto

        touches = floats.intersection((*node.input, *node.output))
        if not touches:
            self._nodes.append(node)
            return
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise GraphError(f"node '{node.name}' ({node.op_type}): control flow is not converted", "stay with fp32")
        over = [name for name in node.input if name in wide]
        if over:
            self.notes.append(f"'{node.name}' stays in float32: '{over[0]}' reaches {wide[over[0]]:.4g}")
        kept = node.name in self.blocked or bool(over) or _constant_is_wide(node)
        wants, gives = float_types(node, self.model, kept)
        if HALF not in (*wants, *gives):
            self.kept.append(node.name)
        for place, name in enumerate(node.input):
            if name in floats and name in self._type_of and self._type_of[name] != wants[place]:
                node.input[place] = self._cast(name, wants[place])
        if node.op_type in _BY_ATTRIBUTE and HALF in gives:
            retype(node, TensorProto.FLOAT, TensorProto.FLOAT16)
        self._nodes.append(node)
        for place, name in enumerate(node.output):
            if name in floats:
                self._made(node, place, gives[place], name in outputs)

    def _made(self, node: Any, place: int, kind: str, leaves: bool) -> None:
        """Note the type of a result; one that leaves the graph leaves it as float32 under its own name."""
        name = node.output[place]
        self._type_of[name] = kind
        if leaves and kind == HALF:
            inner = self._fresh(f"{name}_fp16")
            node.output[place] = inner
            self._nodes.append(self._cast_node(inner, name, FULL))
            self._type_of[name] = FULL
            self._casts[(name, HALF)] = inner

    def _cast(self, name: str, kind: str) -> str:
        """Return the tensor in another type, made where it is first wanted. Weights are converted, not cast."""
        if (name, kind) not in self._casts:
            made = self._fresh(f"{name}_{'fp16' if kind == HALF else 'fp32'}")
            self._casts[(name, kind)] = made
            if not any(tensor.name == name for tensor in self.model.graph.initializer):
                self._nodes.append(self._cast_node(name, made, kind))
        return self._casts[(name, kind)]

    def _cast_node(self, name: str, made: str, kind: str) -> Any:
        from onnx import TensorProto, helper

        to = TensorProto.FLOAT16 if kind == HALF else TensorProto.FLOAT
        return helper.make_node("Cast", [name], [made], self._fresh(f"cast_{made}"), to=to)

    def _convert_weights(self, weights: dict[str, Any]) -> None:
        """Write the float16 copies that were wanted, and drop the float32 ones that nobody wants."""
        from onnx import numpy_helper

        graph = self.model.graph
        used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        for name, tensor in weights.items():
            made = self._casts.get((name, HALF))
            if made is None:
                continue
            with np.errstate(over="ignore"):
                half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), made)
            if name in used or any(value.name == name for value in graph.input):
                graph.initializer.append(half)
            else:
                tensor.CopyFrom(half)

    def _float_tensors(self) -> set[str]:
        """Return the names of all float32 tensors, as ONNX infers them."""
        import onnx
        from onnx import TensorProto

        found, refused = "the types of the graph cannot be inferred", onnx.shape_inference.InferenceError
        with raised_as(GraphError, found, "export it again", refused):
            graph = onnx.shape_inference.infer_shapes(self.model, strict_mode=True).graph
        values = (*graph.input, *graph.output, *graph.value_info)
        known = {value.name: value.type.tensor_type.elem_type for value in values}
        known |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        for node in graph.node:
            for name in node.output:
                if name and name not in known:
                    raise GraphError(f"node '{node.name}': the type of '{name}' is not known", "export it again")
        return {name for name, kind in known.items() if kind == TensorProto.FLOAT}

    def _fresh(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def float_types(node: Any, model: onnx.ModelProto, kept: bool) -> tuple[list[str], list[str]]:
    """Return the float type that each input and output of a node is to have, by the operator's own declaration."""
    import onnx

    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    full = [FULL] * len(node.input), [FULL] * len(node.output)
    # A result whose type an attribute names other than those known here would not follow.
    if kept or any(attribute.name == "dtype" for attribute in node.attribute):
        return full
    try:
        domain = "" if node.domain in ("", "ai.onnx") else node.domain
        schema = onnx.defs.get_schema(node.op_type, versions[domain or "ai.onnx"], domain)
    except (onnx.defs.SchemaError, KeyError):
        return full
    able = {entry.type_param_str for entry in schema.type_constraints if HALF in entry.allowed_type_strs}

    def halves(formal: Any, count: int) -> list[str]:
        # The last declared stands for all further ones where there may be any number; an operator may declare none.
        kinds = [HALF if entry.type_str in able else FULL for entry in formal] or [FULL]
        return [kinds[min(place, len(kinds) - 1)] for place in range(count)]

    return halves(schema.inputs, len(node.input)), halves(schema.outputs, len(node.output))


def retype(node: Any, have: int, want: int) -> None:
    """Let a node whose attribute names its result's type give ``want`` where it gave ``have``, types of onnx.proto."""
    from onnx import TensorProto, helper, numpy_helper

    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == have:
            attribute.i = want
        elif attribute.name == "value" and attribute.t.data_type == have:
            recast(attribute.t, want)
        elif attribute.name in ("value_float", "value_floats") and have == TensorProto.FLOAT:
            values = np.array(helper.get_attribute_value(attribute), helper.tensor_dtype_to_np_dtype(want))
            attribute.CopyFrom(helper.make_attribute("value", numpy_helper.from_array(values)))


def recast(tensor: onnx.TensorProto, kind: int) -> None:
    """Give a tensor another type of onnx.proto, in place."""
    from onnx import helper, numpy_helper

    array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _constant_is_wide(node: Any) -> bool:
    from onnx import TensorProto, numpy_helper

    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            return _reach(numpy_helper.to_array(attribute.t)) > LARGEST
        if attribute.name in ("value_float", "value_floats"):
            return _reach(np.array([attribute.f, *attribute.floats])) > LARGEST
    return False


def _beyond_range(weights: Any) -> tuple[dict[str, float], int]:
    """Return the largest magnitude of each tensor that float16 cannot hold, and how many weights would become zero."""
    from onnx import numpy_helper

    wide: dict[str, float] = {}
    lost = 0
    for tensor in weights:
        array = numpy_helper.to_array(tensor)
        reach = _reach(array)
        if reach > LARGEST:
            wide[tensor.name] = reach
        else:
            with np.errstate(over="ignore"):
                lost += int(np.count_nonzero((array != 0) & (array.astype(np.float16) == 0)))
    return wide, lost


def _reach(array: Any) -> float:
    """Return the largest finite magnitude; infinities are float16's as well."""
    finite = array[np.isfinite(array)]
    return float(np.abs(finite).max()) if finite.size else 0.0
