"""A graph cut behind a node: the model of all before, whose outputs are the tensors that live across the cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelport.core.values import Array, Tensors
from modelport.model.graph.flow import Flow, Step
from modelport.model.graph.window import window_model

if TYPE_CHECKING:
    import onnx


def prefix(flow: Flow, place: int, feeds: Tensors, outputs: Sequence[str] | None = None) -> onnx.ModelProto:
    """Return the model up to the node at ``place`` of ``flow.varying``, for exactly these inputs.

    ``outputs`` None: every tensor that a later node reads or that leaves the graph. What no output hangs on is left
    out.
    """
    from onnx import helper

    wanted = living(flow, place) if outputs is None else list(outputs)
    steps = _behind(flow, flow.varying[: place + 1], wanted)
    read = {name for step in steps for name in step.reads}
    given = {name: array for name, array in feeds.items() if name in read}
    model: onnx.ModelProto = window_model(flow, steps, given, wanted)
    kinds = flow.kinds(feeds)
    for value in model.graph.output:
        if (kind := kinds.get(value.name)) is not None and kind.elem_type:
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind.elem_type, kind.shape))
    return model


def alone(flow: Flow, step: Step, feeds: Tensors) -> onnx.ModelProto:
    """Return the model of one node; ``feeds`` are the tensors that flow into it."""
    import onnx

    model: onnx.ModelProto = window_model(flow, [step], feeds, step.gives)
    inferred = onnx.shape_inference.infer_shapes(model).graph.output
    for value, known in zip(model.graph.output, inferred, strict=True):
        value.type.CopyFrom(known.type)
    return model


def fed(model: onnx.ModelProto, feeds: Tensors) -> dict[str, Array]:
    """Return those of the tensors that a cut model takes: an input that nothing before the cut reads is none of it."""
    return {value.name: feeds[value.name] for value in model.graph.input}


def living(flow: Flow, place: int) -> list[str]:
    """Return the tensors made up to a node that are read behind it, or are outputs of the graph."""
    steps = flow.varying
    made = [name for step in steps[: place + 1] for name in step.gives]
    later = {name for step in steps[place + 1 :] for name in step.reads} | set(flow.outputs)
    return [name for name in made if name in later]


def _behind(flow: Flow, steps: Sequence[Step], outputs: Sequence[str]) -> list[Step]:
    """Return those of the steps that the outputs hang on, in order."""
    needed, kept = set(outputs), list[Step]()
    for step in reversed(steps):
        if needed.intersection(step.gives):
            kept.append(step)
            needed.update(step.reads)
    return kept[::-1]
