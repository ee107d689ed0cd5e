"""Which layers of a graph carry its arithmetic, which only shape its answer, and in what they are computed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

# What carries nearly all the arithmetic; their precision is the precision of the graph.
HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# A runtime's own forms of them, as they stand in a graph that it has optimised.
HEAVY_FLOAT = frozenset({"FusedConv", "FusedGemm", "FusedMatMul", "NhwcFusedConv"})
HEAVY_INT8 = frozenset(
    ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")
)
# What may stand between a layer and the quantisation of its result.
_ACTIVATIONS = frozenset({"Relu", "Clip"})


def name_nodes(model: onnx.ModelProto) -> int:
    """Give every node without a name of its own one; return how many there were."""
    seen: set[str] = {node.name for node in model.graph.node if node.name}
    given, used = 0, set[str]()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in used:
            name = f"{node.op_type}_{index}"
            while name in seen:
                name += "_"
            node.name = name
            seen.add(name)
            given += 1
        used.add(node.name)
    return given


def heavy_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the layers that carry the arithmetic, in the graph's order."""
    return [node.name for node in model.graph.node if node.op_type in HEAVY | HEAVY_FLOAT | HEAVY_INT8]


def after_the_last_heavy(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that no heavy layer follows: what makes the answer of the last ones (boxes, probabilities).

    Eight bits are too few for them, and they cost next to nothing.
    """
    leads: set[str] = set()  # tensors from which a heavy layer is reached
    found = []
    for node in reversed(model.graph.node):
        if node.op_type in HEAVY or leads.intersection(node.output):
            leads.update(node.input)
        else:
            found.append(node.name)
    return found[::-1]


def quantized_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes of a QDQ graph that take an 8-bit input, in the graph's order."""
    makers = {name: node for node in model.graph.node for name in node.output}
    pairs = ((name, makers.get(node.input[0])) for name, node in makers.items() if node.op_type == "DequantizeLinear")
    # What a node has made or an input brought, not a constant.
    quantized = {name for name, maker in pairs if maker is not None and maker.op_type == "QuantizeLinear"}
    ends = ("QuantizeLinear", "DequantizeLinear")
    return [n.name for n in model.graph.node if n.op_type not in ends and quantized.intersection(n.input)]


def heavy_precisions(model: onnx.ModelProto) -> dict[str, str]:
    """Return fp32, fp16, bf16 or int8 by heavy layer.

    A layer whose weights are no constants tells nothing and is left out. One is int8 where its data and weights come
    from 8 bits and, for a convolution, its result goes there: without that a runtime computes it in float32.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    takers = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            takers[name].append(node)
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds |= {name: tensor.data_type for name, tensor in constant_nodes(model)}
    found = {}
    for node in model.graph.node:
        if node.op_type in HEAVY_INT8:
            found[node.name or node.output[0]] = "int8"
        elif node.op_type in HEAVY | HEAVY_FLOAT:
            word = "int8" if _runs_in_8_bits(node, makers, takers) else _float_of(node, kinds)
            if word:
                found[node.name or node.output[0]] = word
    return found


def constant_nodes(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Yield the name and the tensor of each constant that is a node, as some exporters keep them."""
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                yield node.output[0], attribute.t


def prevailing(precisions: list[str]) -> str:
    """Return the precision that more than half of the layers have, else ``mixed`` and what there is; fp32 for none.

    A few layers in a higher one do not change what a model is called, but fp32 means all of them.
    """
    counts = Counter(precisions).most_common()
    if not counts:
        return "fp32"
    if len(counts) == 1 or (counts[0][1] * 2 > len(precisions) and counts[0][0] != "fp32"):
        return counts[0][0]
    return "mixed: " + ", ".join(sorted(name for name, _ in counts))


def _runs_in_8_bits(
    node: onnx.NodeProto, makers: dict[str, onnx.NodeProto], takers: dict[str, list[onnx.NodeProto]]
) -> bool:
    made = [makers.get(name) for name in node.input[:2]]
    if any(maker is None or maker.op_type != "DequantizeLinear" for maker in made):
        return False
    after = takers[node.output[0]]
    while len(after) == 1 and after[0].op_type in _ACTIVATIONS:
        after = takers[after[0].output[0]]
    closed = any(taker.op_type == "QuantizeLinear" for taker in after)
    return closed or node.op_type in ("Gemm", "MatMul")


def _float_of(node: onnx.NodeProto, kinds: dict[str, int]) -> str:
    from onnx import TensorProto

    names: dict[int, str] = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.DOUBLE: "float64",
    }
    return next((names[kinds[name]] for name in node.input if kinds.get(name) in names), "")
