"""A graph as faults see and change it: its nodes by name, who makes and takes each tensor, shapes and constants."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.values import Array
from modelport.model.graph.outline import KEPT_VALUES, outline
from modelport.model.graph.quantizable import constant_nodes, name_nodes

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | None, ...]


class Draft:
    """A graph that may be looked at and changed; it is the caller's own copy."""

    def __init__(self, model: onnx.ModelProto, is_outline: bool = False) -> None:
        name_nodes(model)
        self.is_outline = is_outline
        self.model, self.graph = model, model.graph
        self.nodes = {node.name: node for node in model.graph.node}
        self.outputs = {value.name for value in model.graph.output}

    @classmethod
    def outlined(cls, model: onnx.ModelProto) -> Draft:
        """Return one to look at: large constants have a shape and no value."""
        return cls(outline(model), is_outline=True)

    @classmethod
    def copied(cls, model: onnx.ModelProto) -> Draft:
        """Return one to change; ``model`` is left as it is."""
        return cls(copy.deepcopy(model))

    # What it holds.

    @cached_property
    def opset(self) -> int:
        """The version of the standard operator set; 0 where none is declared."""
        return max((entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), default=0)

    @cached_property
    def makers(self) -> dict[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {name: node for node in self.graph.node for name in node.output if name}

    @cached_property
    def positions(self) -> dict[str, int]:
        """Where in the graph, as it was given, the node stands that makes each tensor."""
        return {name: place for place, node in enumerate(self.graph.node) for name in node.output if name}

    @cached_property
    def takers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that take each tensor, in order."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    @cached_property
    def live(self) -> set[str]:
        """The names of the nodes that an output hangs on."""
        wanted, found = set(self.outputs), set[str]()
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                found.add(node.name)
                wanted.update(node.input)
                for attribute in node.attribute:
                    wanted.update(name for inner in attribute.g.node for name in inner.input)
        return found

    @cached_property
    def constants(self) -> dict[str, Any]:
        """The tensors that are constant, by name."""
        made = dict(constant_nodes(self.model))
        return {tensor.name: tensor for tensor in self.graph.initializer} | made

    @cached_property
    def types(self) -> dict[str, Any]:
        """Each tensor's type as far as ONNX's own inference tells it."""
        import onnx

        try:
            graph = onnx.shape_inference.infer_shapes(outline(self.model), data_prop=True).graph
        except (onnx.shape_inference.InferenceError, ValueError):
            graph = self.graph
        return {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}

    def shape(self, name: str) -> Shape | None:
        """Return a tensor's shape, None for an axis of free size; None where the rank is not known."""
        constant = self.constants.get(name)
        if constant is not None:
            return tuple(constant.dims)
        told = self.types.get(name)
        if told is None or not told.HasField("shape"):
            return None
        return tuple(axis.dim_value if axis.dim_value > 0 else None for axis in told.shape.dim)

    def dtype(self, name: str) -> int:
        """Return a tensor's TensorProto.DataType; 0 where it is not known."""
        constant = self.constants.get(name)
        if constant is not None:
            return int(constant.data_type)
        told = self.types.get(name)
        return 0 if told is None else int(told.elem_type)

    def floating(self, name: str) -> bool:
        """Whether a tensor is float32 or float16."""
        return self.dtype(name) in (1, 10)

    def value(self, name: str) -> Array | None:
        """Return a constant's value; None where it is no constant, or was left out of an outline."""
        from onnx import numpy_helper

        constant = self.constants.get(name)
        left_out = self.is_outline and constant is not None and math.prod(constant.dims) > KEPT_VALUES
        return None if constant is None or left_out else numpy_helper.to_array(constant)

    def attribute(self, node: onnx.NodeProto, name: str, default: Any = None) -> Any:
        """Return an attribute's value; text as str."""
        from onnx import helper

        for attribute in node.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """Return a node's inputs that are no constants."""
        return [name for name in node.input if name and name not in self.constants]

    def rescaled_behind(self, node: onnx.NodeProto) -> bool:
        """Whether all that take a node's output divide it by its own spread, so that no factor arrives."""
        takers = self.takers.get(node.output[0], [])
        own = ("InstanceNormalization", "LayerNormalization", "GroupNormalization")
        return bool(takers) and all(taker.op_type in own for taker in takers)

    # How it is changed.

    def set(self, node: onnx.NodeProto, **attributes: Any) -> None:
        """Set attributes of a node; one of None is taken away."""
        from onnx import helper

        kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
        del node.attribute[:]
        node.attribute.extend(kept)
        node.attribute.extend(
            helper.make_attribute(name, value) for name, value in attributes.items() if value is not None
        )

    def become(self, node: onnx.NodeProto, operator: str, inputs: Sequence[str], **attributes: Any) -> None:
        """Make a node another operator under the same name and first output."""
        del node.attribute[:], node.input[:], node.output[1:]
        node.op_type, node.domain = operator, ""
        node.input.extend(inputs)
        self.set(node, **attributes)

    def constant(self, name: str, value: Array) -> str:
        """Add a constant and return its name, which is made new."""
        from onnx import numpy_helper

        taken = {*self.constants, *self.makers, *(value.name for value in self.graph.input)}
        while name in taken:
            name += "_"
        self.model.ir_version = max(self.model.ir_version, 4)  # before, a constant had to be an input as well
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        self.constants[name] = self.graph.initializer[-1]
        return name

    def number(self, node: onnx.NodeProto, word: str, value: float, like: str) -> str:
        """Add a scalar of the dtype of the tensor ``like``."""
        dtype = np.float16 if self.dtype(like) == 10 else np.float32
        return self.constant(f"{node.name}/{word}", np.array(value, dtype))

    def put(self, node: onnx.NodeProto, place: int, value: Array) -> None:
        """Give a node another constant as an input; under the same name where no other node takes it."""
        from onnx import numpy_helper

        name = node.input[place]
        held = self.constants.get(name)
        alone = len(self.takers[name]) == 1 and list(node.input).count(name) == 1 and name not in self.outputs
        if held is not None and alone:
            held.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), held.name))
        else:
            node.input[place] = self.constant(f"{name}/{node.name}", value)

    def before(self, node: onnx.NodeProto, place: int, operator: str, *more: str, **attributes: Any) -> str:
        """Put a new node before an input of ``node``; ``more`` are its further inputs. Returns the new tensor."""
        from onnx import helper

        made = f"{node.name}/{operator.lower()}_{place}"
        new = helper.make_node(operator, [node.input[place], *more], [made], made, **attributes)
        self._insert(new, self._position(node))
        node.input[place] = made
        return made

    def after(self, node: onnx.NodeProto, operator: str, *more: str, **attributes: Any) -> None:
        """Put a new node behind the first output of ``node``, which keeps its name for those that take it."""
        from onnx import helper

        name = node.output[0]
        apart = f"{name}/before_{operator.lower()}"
        while apart in self.makers:
            apart += "_"
        node.output[0] = apart
        new = helper.make_node(operator, [apart, *more], [name], f"{node.name}/{operator.lower()}", **attributes)
        while new.name in self.nodes:
            new.name += "_"
        self._insert(new, self._position(node) + 1)
        self.makers[apart] = node

    def behind(self, node: onnx.NodeProto, *steps: tuple[Any, ...]) -> None:
        """Put several nodes behind a node, in order: (operator, further inputs, attributes) each."""
        for operator, more, attributes in reversed(steps):
            self.after(node, operator, *more, **attributes)

    def drop(self, node: onnx.NodeProto, instead: str) -> None:
        """Take a node away; those that took its first output take ``instead``.

        Where the output is one of the graph's, the node becomes an Identity.
        """
        if node.output[0] in self.outputs:
            self.become(node, "Identity", [instead])
            return
        for taker in self.takers.get(node.output[0], ()):
            for place, name in enumerate(taker.input):
                if name == node.output[0]:
                    taker.input[place] = instead
        self.graph.node.remove(node)

    def _position(self, node: onnx.NodeProto) -> int:
        return next(index for index, other in enumerate(self.graph.node) if other.name == node.name)

    def _insert(self, node: onnx.NodeProto, position: int) -> None:
        self.graph.node.insert(position, node)
        self.nodes[node.name] = self.graph.node[position]
        self.makers[node.output[0]] = self.graph.node[position]


def runs_through(draft: Draft) -> bool:
    """Whether a changed graph's shapes still fit each other, and its outputs have the shapes that they are said to."""
    import onnx

    try:
        made = outline(draft.model)
        del made.graph.value_info[:]
        onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError):
        return False
    return True
