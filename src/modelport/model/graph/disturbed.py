"""A copy of a graph whose results are off by as much as a precision rounds them: what that explains of the outputs.

The arithmetic stays float32. After each node that computes, noise is added, drawn for every element, of the standard
deviation that the precision's roundoff has; 8 bits round to steps of the tensor's range as well. So the graph itself
tells how much of it reaches the outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelport.core.errors import GraphError, raised_as
from modelport.model.graph.flow import captures

if TYPE_CHECKING:
    import onnx

# They move values or choose among them, and round nothing.
EXACT = frozenset(
    (
        *("Abs", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "Equal", "Expand"),
        *("Flatten", "Gather", "GatherElements", "GatherND", "Greater", "Identity", "Less", "Max", "MaxPool", "Min"),
        *("Neg", "NonMaxSuppression", "OneHot", "Pad", "Range", "Relu", "Reshape", "ScatterElements", "ScatterND"),
        *("Shape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze", "Where"),
    )
)


@dataclass(frozen=True, slots=True)
class Roundoff:
    """Normal noise of ``share`` of a tensor's root mean square, and rounding to steps of ``step`` of its range."""

    share: float
    step: float = 0.0


# fp32: 2**-24 for each rounding, some hundred of them in a sum that another order adds up otherwise.
# fp16 and bf16: unit roundoffs of 2**-11 and 2**-8, of the inputs, the weights and the result.
# int8: 255 steps for each tensor; weights per channel lie within about four standard deviations, so that their step is
# a 32nd of one, and errors are even within it (standard deviation 1/sqrt(12)).
ROUNDOFFS: Mapping[str, Roundoff] = {
    "fp32": Roundoff(10 * 2.0**-24),
    "fp16": Roundoff(2.0**-11),
    "bf16": Roundoff(2.0**-8),
    "int8": Roundoff(1 / 32 / 12**0.5, 1 / 255),
}
# Of a tensor of one value the range is zero, and nothing is rounded.
LEAST_STEP = 1e-30


def disturbed(model: onnx.ModelProto, precision: str, seed: int = 0) -> onnx.ModelProto:
    """Return a copy with noise of the precision's roundoff behind each node that computes.

    Local functions are inlined; nodes inside control flow are left as they are. Raises GraphError where the types of
    the tensors cannot be inferred.
    """
    import onnx.inliner

    found = "the types of the graph's tensors cannot be inferred"
    # ValueError: a graph of more than 2 GB.
    with raised_as(GraphError, found, "export it again", (onnx.shape_inference.InferenceError, ValueError)):
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        inferred = onnx.shape_inference.infer_shapes(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    floats = _float_tensors(inferred) & _data(copy)
    nodes: list[Any] = []
    for index, node in enumerate(copy.graph.node):
        nodes.append(node)
        if node.op_type in EXACT or node.domain not in ("", "ai.onnx"):
            continue
        for place, name in enumerate(node.output):
            if name in floats:
                node.output[place] = f"{name}/exact"
                nodes += _noise(node.output[place], name, ROUNDOFFS[precision], seed * 1_000_003 + index)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _float_tensors(inferred: onnx.ModelProto) -> set[str]:
    from onnx import TensorProto

    values = (*inferred.graph.value_info, *inferred.graph.output)
    return {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}


def _data(model: onnx.ModelProto) -> set[str]:
    """Return the tensors that hang on the values of the inputs: arithmetic on their sizes must stay exact."""
    held = {tensor.name for tensor in model.graph.initializer}
    found = {value.name for value in model.graph.input} - held
    for node in model.graph.node:
        if node.op_type not in ("Shape", "Size") and (found.intersection(node.input) or captures(node)):
            found.update(node.output)
    return found


def _noise(source: str, out: str, size: Roundoff, seed: int) -> Iterator[Any]:
    """Yield the nodes that make ``out`` of ``source``, rounded as ``size`` says."""
    from onnx import TensorProto, helper

    def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [name], f"{out}/noise/{kind}/{name}", **attributes)

    def constant(name: str, value: float) -> Any:
        return node("Constant", [], name, value=helper.make_tensor(name, TensorProto.FLOAT, [], [value]))

    at = f"{out}/noise"
    yield node("Mul", [source, source], f"{at}/square")
    yield node("ReduceMean", [f"{at}/square"], f"{at}/mean", keepdims=0)
    yield node("Sqrt", [f"{at}/mean"], f"{at}/rms")
    yield constant(f"{at}/share", size.share)
    yield node("Mul", [f"{at}/rms", f"{at}/share"], f"{at}/of_rms")
    yield node("RandomNormalLike", [source], f"{at}/drawn", seed=float(seed % 2**24))
    yield node("Mul", [f"{at}/drawn", f"{at}/of_rms"], f"{at}/added")
    if not size.step:
        yield node("Add", [source, f"{at}/added"], out)
        return
    yield node("Add", [source, f"{at}/added"], f"{at}/noisy")
    yield node("ReduceMax", [source], f"{at}/high", keepdims=0)
    yield node("ReduceMin", [source], f"{at}/low", keepdims=0)
    yield node("Sub", [f"{at}/high", f"{at}/low"], f"{at}/range")
    yield constant(f"{at}/steps", size.step)
    yield node("Mul", [f"{at}/range", f"{at}/steps"], f"{at}/width")
    yield constant(f"{at}/least", LEAST_STEP)
    yield node("Max", [f"{at}/width", f"{at}/least"], f"{at}/step")
    yield node("Div", [f"{at}/noisy", f"{at}/step"], f"{at}/in_steps")
    yield node("Round", [f"{at}/in_steps"], f"{at}/whole")
    yield node("Mul", [f"{at}/whole", f"{at}/step"], out)
