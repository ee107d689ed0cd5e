"""How tensors flow through a graph: its nodes in order with all that each reads, its constants, makers and takers."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.errors import GraphError
from modelport.core.values import Array
from modelport.model.graph.quantizable import name_nodes

if TYPE_CHECKING:
    import onnx

# Inference of shapes is given constants up to so many elements: shapes, axes, indices.
SMALL = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One node. Control flow is one step: what its subgraphs take from outside counts among what it reads."""

    index: int
    node: Any  # NodeProto, a copy
    reads: tuple[str, ...]
    gives: tuple[str, ...]

    @property
    def op(self) -> str:
        """Its operator."""
        return str(self.node.op_type)

    @property
    def name(self) -> str:
        """Its name; made where the file has none."""
        return str(self.node.name)


@dataclass(frozen=True, slots=True)
class Kind:
    """What inference tells of a tensor. ``elements`` None: not known."""

    elem_type: int
    elements: int | None
    is_tensor: bool = True
    shape: tuple[int, ...] | None = None

    @property
    def size(self) -> int | None:
        """Bytes, None where not known."""
        from onnx import helper

        if self.elements is None or not self.is_tensor or not self.elem_type:
            return None
        try:
            return self.elements * int(np.dtype(helper.tensor_dtype_to_np_dtype(self.elem_type)).itemsize)
        except KeyError:
            return None


@dataclass(frozen=True, slots=True)
class Flow:
    """A graph as its tensors flow: local functions inlined, constants out of the nodes, every node named."""

    steps: Sequence[Step]  # each after what it reads
    constants: Mapping[str, onnx.TensorProto]
    inputs: Sequence[Any]  # ValueInfoProto, without those that are constants
    outputs: Sequence[str]
    named: Mapping[str, Step]
    maker: Mapping[str, Step]
    takers: Mapping[str, Sequence[Step]]
    fixed: frozenset[str]  # tensors that no input has a part in: constants and what is computed of them alone
    opsets: Sequence[Any]
    ir_version: int

    @staticmethod
    def of(model: onnx.ModelProto) -> Flow:
        """Return the flow of a model, which is left as it is. Raises GraphError where its nodes form a circle."""
        import onnx.inliner

        graph = (onnx.inliner.inline_local_functions(model) if model.functions else model).graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        steps = []
        for node in _named_nodes(graph):
            made = constant_of(node)
            if made is not None:
                constants[node.output[0]] = made
            else:
                steps.append(node)
        inputs = [value for value in graph.input if value.name not in constants]
        known = {*constants, *(value.name for value in inputs)}
        ordered = in_order(steps, known)
        maker = {name: step for step in ordered for name in step.gives}
        takers = defaultdict(list)
        fixed = set(constants)
        for step in ordered:
            for name in step.reads:
                takers[name].append(step)
            if fixed.issuperset(step.reads):
                fixed.update(step.gives)
        return Flow(
            ordered, constants, inputs, [value.name for value in graph.output],
            {step.name: step for step in ordered}, maker, dict(takers), frozenset(fixed),
            list(model.opset_import), model.ir_version,
        )  # fmt: skip

    def steps_named(self, names: Iterable[str]) -> list[Step]:
        """Return the steps of these names, in order."""
        return sorted((self.named[name] for name in names), key=lambda step: step.index)

    @property
    def varying(self) -> list[Step]:
        """The steps that an input has a part in."""
        return [step for step in self.steps if not self.fixed.issuperset(step.gives)]

    def behind_constants(self, steps: Iterable[Step]) -> list[Step]:
        """Return the steps that compute of constants alone what ``steps`` read, in order."""
        found: dict[int, Step] = {}
        ahead = [name for step in steps for name in step.reads]
        while ahead:
            step = self.maker.get(name := ahead.pop())
            if name in self.fixed and step is not None and step.index not in found:
                found[step.index] = step
                ahead += step.reads
        return [found[index] for index in sorted(found)]

    def kinds(self, feeds: Mapping[str, Array]) -> dict[str, Kind]:
        """Return what ONNX infers of the tensors when these inputs are given; what it cannot infer is left out."""
        import onnx

        graph = self.light(feeds)
        try:
            graph = onnx.shape_inference.infer_shapes(graph, strict_mode=False, data_prop=True)
        except Exception:
            return {}  # an operator that ONNX does not know, or a graph at odds with itself: running tells
        return {value.name: _kind(value) for value in (*graph.graph.input, *graph.graph.value_info)}

    def light(self, feeds: Mapping[str, Array]) -> onnx.ModelProto:
        """Return the model for inference of shapes: large constants are inputs, so that nothing heavy is copied."""
        from onnx import helper

        small = {name: tensor for name, tensor in self.constants.items() if math.prod(tensor.dims) <= SMALL}
        large = [
            helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
            for name, tensor in self.constants.items()
            if name not in small
        ]
        inputs = [given(name, array) for name, array in feeds.items()]
        graph = helper.make_graph(
            [step.node for step in self.steps], "light", [*inputs, *large], [], list(small.values())
        )
        return helper.make_model(graph, opset_imports=self.opsets, ir_version=self.ir_version)


def in_order(nodes: Iterable[Any], known: Collection[str]) -> list[Step]:
    """Return a step for each node, each after what it reads, otherwise in the order that they had.

    ``known`` is what there is before the first. Raises GraphError where a node reads what nothing gives, or where they
    form a circle.
    """
    steps = [_step(index, node) for index, node in enumerate(nodes)]
    made = {name: step for step in steps for name in step.gives}
    waits = {step.index: len({made[name].index for name in step.reads if name in made}) for step in steps}
    after = defaultdict(list)
    for step in steps:
        for index in {made[name].index for name in step.reads if name in made}:
            after[index].append(step.index)
        for name in step.reads:
            if name not in made and name not in known:
                raise GraphError(f"node '{step.name}' reads '{name}', which nothing gives", "export it again")
    ready = [index for index, count in waits.items() if not count]
    heapq.heapify(ready)
    order: list[Step] = []
    while ready:
        step = steps[heapq.heappop(ready)]
        order.append(Step(len(order), step.node, step.reads, step.gives))
        for index in after[step.index]:
            waits[index] -= 1
            if not waits[index]:
                heapq.heappush(ready, index)
    if len(order) < len(steps):
        raise GraphError("the nodes of the graph form a circle", "export it again")
    return order


def given(name: str, array: Array) -> Any:
    """Return the declaration of an input that takes exactly this array."""
    from onnx import helper

    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def captures(node: Any) -> set[str]:
    """Return the names that the subgraphs of a node take from outside."""
    found: set[str] = set()
    for graph in _subgraphs(node):
        own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
        for inner in graph.node:
            found |= ({name for name in inner.input if name} | captures(inner)) - own
            own.update(inner.output)
        found |= {value.name for value in graph.output} - own
    return found


def _subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _step(index: int, node: Any) -> Step:
    names = [name for name in node.input if name]
    reads = dict.fromkeys([*names, *sorted(captures(node))])
    return Step(index, node, tuple(reads), tuple(name for name in node.output if name))


def _named_nodes(graph: Any) -> Sequence[Any]:
    """Return copies of the nodes, each with a name of its own. Weights are not copied."""
    import onnx

    named = onnx.ModelProto()
    named.graph.node.extend(graph.node)
    name_nodes(named)
    return list(named.graph.node)


def constant_of(node: Any) -> onnx.TensorProto | None:
    """Return the tensor of a Constant node; None for other nodes, and for strings and sparse tensors."""
    from onnx import TensorProto, helper, numpy_helper

    standard = node.op_type == "Constant" and node.domain in ("", "ai.onnx")
    if not standard or len(node.attribute) != 1 or not node.output:
        return None
    (attribute,) = node.attribute
    if attribute.name == "value":
        named = TensorProto()
        named.CopyFrom(attribute.t)
        named.name = node.output[0]
        return named
    dtype = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if attribute.name not in dtype:
        return None
    values = np.array(helper.get_attribute_value(attribute), dtype[attribute.name])
    tensor: onnx.TensorProto = numpy_helper.from_array(values, node.output[0])
    return tensor


def _kind(value: Any) -> Kind:
    if value.type.WhichOneof("value") != "tensor_type":
        return Kind(0, None, False)
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or any(not axis.HasField("dim_value") for axis in tensor.shape.dim):
        return Kind(tensor.elem_type, None)
    shape = tuple(int(axis.dim_value) for axis in tensor.shape.dim)
    return Kind(tensor.elem_type, math.prod(shape), shape=shape)
