"""PyTorch → ONNX, with the recipe's tensor names, and checked before anyone may use it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport import __version__
from modelport.core.artifacts import Artifact, written_aside
from modelport.core.errors import GraphError, UsageError, raised_as
from modelport.core.text import plain
from modelport.core.values import Check
from modelport.model.graph import file as graphs
from modelport.model.graph import tail
from modelport.model.graph.kinship import kinship
from modelport.model.graph.modules import keep_scopes
from modelport.model.graph.proof import prove_weights
from modelport.model.graph.tail import AS_IT_IS, Ending
from modelport.model.quiet import quiet_torch
from modelport.model.source import SourceModel
from modelport.model.weights.roles import arrays_of
from modelport.recipes.schema import Recipe
from modelport.recipes.tables import Tensor

if TYPE_CHECKING:
    import onnx
    import torch

DEFAULT_OPSET = 20
OLDEST_OPSET = 11
NEWEST_OPSET = 21
# Counts up with what is written beside the arithmetic: graphs that are kept in another form are made again.
FORM = "name scopes"
# The current exporter writes nothing below this, whatever it is asked for.
FIRST_CURRENT_OPSET = 18
# Fused attention, as transformers call it. The TorchScript exporter spells it out from opset 14 on, in operators that
# each older opset has too: its Softmax is over the last axis, where the older meaning of that operator is the same.
ATTENTION = "aten::scaled_dot_product_attention"
ATTENTION_OPSET = 14


def export_onnx(
    source: SourceModel, out: Path, *, opset: int = DEFAULT_OPSET, batch: int | None = None, ending: Ending = AS_IT_IS
) -> tuple[Artifact, list[Check]]:
    """Write ``out`` and return it with the checks that it passed: structure, opset, signature, weights.

    ``batch`` None leaves the first axis free. ``ending`` says where doubles among a network's candidates are
    suppressed. Below opset 18 the TorchScript exporter writes, else the current one.
    Raises UsageError for an opset that neither writes, GraphError where a check fails; then ``out`` is untouched.
    """
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UsageError(f"opset {opset} cannot be written", f"choose {OLDEST_OPSET} to {NEWEST_OPSET}; ATC takes 11")
    with written_aside(out) as aside:
        artifact = write_onnx(source, aside, opset=opset, batch=batch, ending=ending)
        checks = check_graph(source, aside, opset, batch, ending)
    return replace(artifact, path=out), checks


def write_onnx(
    source: SourceModel, out: Path, *, opset: int = DEFAULT_OPSET, batch: int | None = None, ending: Ending = AS_IT_IS
) -> Artifact:
    """Write ``out`` as ``export_onnx`` does, and check nothing. Raises GraphError where the exporter cannot."""
    example = example_input(source, batch or 2)
    with written_aside(out) as aside:
        with _quiet_exporter():
            _write(source, example, aside, opset, ending.candidates, dynamic=batch is None)
        _finish(source, aside, ending)
        artifact = Artifact.of(aside, "onnx", (source.checkpoint.sha256,))
    return replace(artifact, path=out)


def recipe_of_form(recipe: Recipe, ending: Ending) -> Recipe:
    """Return the recipe with the outputs that the exported form has: a detector's candidates where the host decides."""
    if ending.append is not None:
        return recipe
    candidates = [
        Tensor(name=tail.BOXES, dtype="float32", shape=[graphs.BATCH_AXIS, "candidates", 4]),
        Tensor(
            name=tail.SCORES,
            dtype="float32",
            shape=[graphs.BATCH_AXIS, "candidates", recipe.dataset.classes or "classes"],
        ),
    ]
    return recipe.model_copy(update={"tensors": recipe.tensors.model_copy(update={"outputs": candidates})})


def check_graph(
    source: SourceModel, path: Path, opset: int | None, batch: int | None, ending: Ending = AS_IT_IS
) -> list[Check]:
    """Hold a file against the source model: ONNX checker, opset, signature, weights. Raises GraphError."""
    import onnx

    graph = graphs.read_graph(path)
    refused = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    with raised_as(GraphError, f"{path}: the ONNX checker refuses it", "choose another --opset", refused):
        onnx.checker.check_model(graph if ending.twin is None else ending.twin(graph), full_check=True)
    written = graphs.opset_of(graph)
    if opset is not None and written != opset:
        raise GraphError(f"{path}: opset {written} was written, {opset} was asked for", f"ask for --opset {written}")
    form = recipe_of_form(source.recipe, ending).whole_signature
    wanted = form if batch is None else form.with_batch(batch)
    graphs.check_signature(graph, wanted, path)
    found = prove_weights(source.module, graph, example_input(source, 1))
    proof = found.check()
    if proof.verdict != "pass":
        kin = kinship(arrays_of(source.module.state_dict()), found.lost, graphs.constants(graph))
        raise GraphError(
            f"{path}: the weights of {source.checkpoint.shown} did not arrive: {proof.why}"
            + (f"; {kin}" if kin else ""),
            "this graph was made from other weights; export it again from these",
        )
    return [
        Check("onnx_checker", "pass", "valid", "valid", "onnx.checker.check_model with shape inference"),
        Check("opset", "pass", written, opset or written, "read back from the written file"),
        proof,
    ]


def example_input(source: SourceModel, batch: int) -> torch.Tensor:
    """Return a float32 input of the recipe's shape, standard normal and always the same."""
    import torch

    spec = source.recipe.signature.with_batch(batch).inputs[0]
    shape = [axis for axis in spec.shape if isinstance(axis, int)]
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _write(source: SourceModel, example: torch.Tensor, path: Path, opset: int, candidates: bool, dynamic: bool) -> None:
    import torch

    # The module's own: a detector's outputs are its candidates.
    own = recipe_of_form(source.recipe, tail.ON_HOST if candidates else AS_IT_IS).signature
    inputs, outputs = [spec.name for spec in own.inputs], [spec.name for spec in own.outputs]
    settings: dict[str, Any] = {"opset_version": opset, "input_names": inputs, "output_names": outputs}
    if opset < FIRST_CURRENT_OPSET:
        axes = {name: {0: graphs.BATCH_AXIS} for name in (*inputs, *outputs)}
        settings |= {"dynamo": False, "dynamic_axes": axes if dynamic else None}
    else:
        shapes = ({0: torch.export.Dim.DYNAMIC},)
        settings |= {"dynamo": True, "dynamic_shapes": shapes if dynamic else None, "external_data": False}
        settings |= {"verbose": False}
    try:
        with _attention_spelled_out(opset):
            torch.onnx.export(source.module, (example,), str(path), **settings)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        # A network may do whatever it likes, and the exporters' errors share no base.
        raise GraphError(
            f"{source.recipe.name}: PyTorch's exporter cannot write this network: {_cause(error)}",
            "the network must be traceable (torch.export), without branches that hang on values; or give an ONNX file "
            "of it: --source FILE.onnx",
        ) from error


@contextlib.contextmanager
def _attention_spelled_out(opset: int) -> Iterator[None]:
    """Let the TorchScript exporter write fused attention below opset 14 as it does from there on."""
    if opset >= ATTENTION_OPSET:
        yield
        return
    import torch
    from torch.onnx.symbolic_opset14 import scaled_dot_product_attention

    torch.onnx.utils.register_custom_op_symbolic(ATTENTION, scaled_dot_product_attention, opset)
    try:
        yield
    finally:
        torch.onnx.utils.unregister_custom_op_symbolic(ATTENTION, opset)


def _cause(error: BaseException) -> str:
    """Return the innermost reason of an exporter's error, in its first line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return plain(f"{type(error).__name__}: {lines[0] if lines else ''}", 400)


def _finish(source: SourceModel, path: Path, ending: Ending) -> None:
    """Append a detector's tail, name the batch axis, drop what tells of this machine, write down the origin."""
    import onnx

    model = graphs.read_graph(path)
    _name_batch_axis(model)
    if ending.candidates:
        tail.settle_outputs(model)
        if ending.append is not None:
            ending.append(model)
    for node in model.graph.node:
        keep_scopes(node)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    origin = {
        graphs.META_VERSION: __version__,
        graphs.META_RECIPE: source.recipe.name,
        graphs.META_RECIPE_SHA: source.recipe.digest,
        graphs.META_WEIGHTS: source.checkpoint.sha256,
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, origin)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _name_batch_axis(model: onnx.ModelProto) -> None:
    """Give the free first axis its name wherever the exporter's own stands (``s77``)."""
    first: Any = model.graph.input[0].type.tensor_type.shape.dim[0]
    own = first.dim_param
    if not own:
        return
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param == own:
                axis.dim_param = graphs.BATCH_AXIS


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporters' talk (advice to developers, torchvision's absence) from the user; errors still pass."""
    import torch

    # At an error the TorchScript exporter prints the whole graph, past Python's own stdout.
    told = torch._C._jit_is_onnx_log_enabled()
    torch._C._jit_set_onnx_log_enabled(False)
    try:
        with quiet_torch("torch.onnx"), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        torch._C._jit_set_onnx_log_enabled(told)
