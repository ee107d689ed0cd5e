"""ONNX files: read safely, describe, look into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modelport.core.errors import EngineError, GraphError, UsageError, raised_as, unknown
from modelport.core.files import open_regular
from modelport.core.values import UNRANKED, Array, Signature, TensorSpec, shape_fits
from modelport.model.graph import side_files
from modelport.model.graph.quantizable import constant_nodes, heavy_precisions, prevailing

if TYPE_CHECKING:
    import onnx

BATCH_AXIS = "batch"
# TensorProto.DataType: FLOAT, FLOAT16, DOUBLE and BFLOAT16 (onnx.proto).
FLOATING = frozenset({1, 10, 11, 16})
# Names under which an exported file tells what it was made from.
META_WEIGHTS, META_RECIPE, META_RECIPE_SHA, META_VERSION = (
    "modelport.weights_sha256",
    "modelport.recipe",
    "modelport.recipe_sha256",
    "modelport.version",
)


def read_graph(path: Path) -> onnx.ModelProto:
    """Return the model in an ONNX file, with the tensors that lie in files beside it.

    Raises GraphError where it is missing, damaged or no ONNX file, or where such a file is missing, cut off, or not in
    its folder.
    """
    return _read(path, whole=True)


def onnx_side_files(path: Path) -> tuple[Path, ...]:
    """Return the files beside an ONNX file that hold tensors of it. Raises GraphError as ``read_graph``."""
    if not side_files.names_side_files(path):
        return ()
    return side_files.side_files_of(_read(path, whole=False), path)


def _read(path: Path, *, whole: bool) -> onnx.ModelProto:
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise EngineError("the package onnx is not installed", "pip install 'modelport[torch]'") from error
    # Weights kept in further files are checked by onnx itself, which raises its own errors and ValueError.
    unreadable = (DecodeError, ValueError, onnx.checker.ValidationError)
    again = "export it again, or copy it again whole"
    with (
        raised_as(GraphError, f"{path}: not a readable ONNX file", again, unreadable),
        raised_as(GraphError, str(path), "check the path", OSError),
    ):
        open_regular(path, error=GraphError).close()
        if path.stat().st_size == 0:
            raise GraphError(f"{path}: the file is empty", "export it again")
        model = onnx.load(str(path), load_external_data=False)
        side_files.side_files_of(model, path)
        for tensor in side_files.external_tensors(model) if whole else ():
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
    if not model.graph.node or not model.opset_import:
        raise GraphError(
            f"{path}: holds no ONNX graph", "give a file that `modelport export` or another exporter wrote"
        )
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set that the file declares."""
    versions: list[int] = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions:
        raise GraphError("the graph declares no standard operator set", "export it again")
    return versions[0]


def signature_of(model: onnx.ModelProto) -> Signature:
    """Return the graph's inputs and outputs; an axis without a size keeps its name, or ``"?"``."""
    initialisers = {tensor.name for tensor in model.graph.initializer}
    return Signature(
        tuple(_spec(value) for value in model.graph.input if value.name not in initialisers),
        tuple(_spec(value) for value in model.graph.output),
    )


def check_signature(model: onnx.ModelProto, want: Signature, path: Path) -> None:
    """Raise GraphError unless names, dtypes and shapes are the recipe's.

    An axis may be free on either side, and the graph may have outputs that the recipe does not name.
    """
    got = signature_of(model)
    named = {spec.name for spec in want.outputs}
    read = tuple(spec for spec in got.outputs if spec.name in named) if len(got.outputs) > len(named) else got.outputs
    for kind, have, need in (("input", got.inputs, want.inputs), ("output", read, want.outputs)):
        pairs = zip(sorted(have, key=_name), sorted(need, key=_name), strict=False)
        if len(have) != len(need) or not all(_fits(a, b) for a, b in pairs):
            raise GraphError(
                f"{path}: {kind}s are {'; '.join(map(str, have))}, the recipe wants {'; '.join(map(str, need))}",
                "give the recipe that this file was exported with, or export it again",
            )


def check_shapes(model: onnx.ModelProto, shapes: Sequence[tuple[str, Sequence[int]]], path: Path) -> None:
    """Raise UsageError for shapes of inputs that the graph does not have, or that its fixed axes forbid."""
    known = {spec.name: spec for spec in signature_of(model).inputs}
    for name, shape in shapes:
        if name not in known:
            raise UsageError(f"--shape: {path} has no input '{name}'", unknown("inputs", name, known))
        if not shape_fits(shape, known[name].shape):
            sizes = ",".join(map(str, shape))
            raise UsageError(f"--shape {name}:{sizes}: {path} has {known[name]}", "give sizes that fit it")


def constants(model: onnx.ModelProto) -> Iterator[tuple[str, Array]]:
    """Yield name and value of every constant that a node of the graph really uses."""
    from onnx import numpy_helper

    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    for tensor in model.graph.initializer:
        if tensor.name in used:
            yield tensor.name, numpy_helper.to_array(tensor)
    for name, tensor in constant_nodes(model):
        if name in used:
            yield name, numpy_helper.to_array(tensor)


def metadata_of(model: onnx.ModelProto) -> dict[str, str]:
    """Return what the file says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def precision_of(model: onnx.ModelProto) -> str:
    """Return what most heavy layers compute in: ``fp32``, ``fp16``, ``bf16``, ``int8`` or ``mixed``.

    Of a graph without any, how it keeps its weights.
    """
    from onnx import TensorProto

    heavy = list(heavy_precisions(model).values())
    if heavy:
        return prevailing(heavy).partition(":")[0]
    names = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
        TensorProto.DOUBLE: "float64",
    }
    found = {names[tensor.data_type] for tensor in model.graph.initializer if tensor.data_type in names}
    return found.pop() if len(found) == 1 else "mixed" if found else "fp32"


def describe(model: onnx.ModelProto) -> dict[str, Any]:
    """Return the structure of a graph as JSON values, for ``modelport show``."""
    signature = signature_of(model)
    # Some exporters keep their weights as nodes; a Constant of whole numbers is a shape or an index, no weight.
    in_nodes = [tensor for _, tensor in constant_nodes(model) if tensor.data_type in FLOATING]
    sizes = [int(np.prod(tensor.dims)) for tensor in (*model.graph.initializer, *in_nodes)]
    return {
        "opset": opset_of(model),
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": [str(spec) for spec in signature.inputs],
        "outputs": [str(spec) for spec in signature.outputs],
        "precision": precision_of(model),
        "nodes": len(model.graph.node),
        "operators": dict(Counter(node.op_type for node in model.graph.node).most_common()),
        "initialisers": len(model.graph.initializer),
        "parameters": sum(sizes),
        "metadata": metadata_of(model),
    }


def _spec(value: Any) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    try:
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    except KeyError:
        dtype = f"onnx type {tensor.elem_type}"
    # Some converters write a free axis as the size -1 or 0.
    shape = tuple(axis.dim_value if axis.dim_value > 0 else axis.dim_param or "?" for axis in tensor.shape.dim)
    return TensorSpec(value.name, dtype, shape if tensor.HasField("shape") else UNRANKED)


def _name(spec: TensorSpec) -> str:
    return spec.name


def _fits(have: TensorSpec, need: TensorSpec) -> bool:
    """Whether a graph's tensor serves where the recipe's is wanted: an axis that is free on either side fits any.

    An output whose shape the file does not tell is known when it has run.
    """
    return (have.name, have.dtype) == (need.name, need.dtype) and shape_fits(have.shape, need.shape)
