"""A model file → what its recipe must say: inputs and outputs with sizes, and what could only be guessed."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.core.errors import UsageError
from modelport.core.values import Signature, TensorSpec
from modelport.engines.base import Build
from modelport.engines.registry import model_artifact, opened, reference_engine
from modelport.evaluate.feeds import Shapes, image_axes, random_feeds, settled
from modelport.evaluate.pairing import paired_inputs
from modelport.model.graph.file import BATCH_AXIS, check_shapes, metadata_of, read_graph, signature_of

# What converters of detectors call inputs that tell sizes, and what they hold for an image of the input's own size.
SIZES, SCALES = ("im_shape", "image_shape", "img_shape", "orig_target_sizes"), ("scale_factor", "scale")


@dataclass(frozen=True, slots=True)
class Described:
    """A model's tensors, the first axis of each the batch. ``guessed`` tells why, by what was guessed."""

    sample: TensorSpec  # the input that an image decides
    constants: tuple[tuple[TensorSpec, float | list[float]], ...]  # the other inputs, with what they may hold
    outputs: tuple[TensorSpec, ...]
    guessed: dict[str, str]
    precision: str = "fp32"

    @property
    def layout(self) -> str:
        """Where the channels stand: ``NCHW`` or ``NHWC``."""
        axes = image_axes(self.sample.shape)
        return "NHWC" if axes is not None and axes[2] == 3 else "NCHW"

    @property
    def image(self) -> tuple[int, int, int]:
        """Height, width and channels of the input. Raises UsageError where it is no image of fixed size."""
        axes = image_axes(self.sample.shape)
        if axes is None or not all(isinstance(self.sample.shape[place], int) for place in axes):
            raise UsageError(
                f"the input {self.sample} is no batch of images",
                "give --shape, or write the recipe by hand (docs/recipes.md)",
            )
        height, width, channels = (int(self.sample.shape[place]) for place in axes)
        return height, width, channels


def describe_onnx(path: Path, told: Sequence[tuple[str, tuple[int, ...]]]) -> Described:
    """Return an ONNX file's tensors; ``told`` has the shapes of inputs that the user gives.

    Free axes take the size that the file's metadata tells, else one that runs: that is a guess. The outputs are those
    of a run on random values. Raises GraphError, UsageError, EngineError.
    """
    graph = read_graph(path)
    check_shapes(graph, told, path)
    signature = signature_of(graph)
    guessed: dict[str, str] = {}
    shapes = dict(told) | {
        name: shape for name, shape in _sizes_told(signature, metadata_of(graph)).items() if name not in dict(told)
    }
    model, engine = model_artifact(path), reference_engine()
    pairs = paired_inputs(signature.inputs, signature.inputs).pairs
    with opened(engine, model, Build(precision=None)) as runner:

        def runs(wanted: Shapes) -> None:
            runner.run(next(random_feeds(wanted, pairs, 1, 0).stream()))

        chosen, notes = settled(pairs, shapes, runs)
        free = [spec for spec in signature.inputs if any(isinstance(axis, str) for axis in spec.shape[1:])]
        if notes and free:
            guessed["size"] = "height and width are free, this is a size that runs; --shape gives another"
        feed = next(random_feeds(chosen, pairs, 1, 0).stream())
        answers = runner.run(feed)
        precision = runner.precision
    inputs = [TensorSpec(spec.name, spec.dtype, chosen[spec.name]) for spec in signature.inputs]
    sample = _sample_of(inputs, path)
    others = [spec for spec in inputs if spec.name != sample.name]
    rows = sample.shape[0]
    outputs = [
        TensorSpec(spec.name, str(answers[spec.name].dtype), answers[spec.name].shape) for spec in signature.outputs
    ]
    read = tuple(_batched(spec) for spec in outputs if spec.shape and spec.shape[0] == rows)
    if not read:
        raise UsageError(f"{path}: no output has a row for each of the input", "give a model that answers each image")
    sample = _batched(sample)
    constants = tuple((_batched(spec), _constant(spec, sample, guessed)) for spec in others)
    return Described(sample, constants, read, guessed, precision)


def _sizes_told(signature: Signature, metadata: dict[str, str]) -> dict[str, tuple[int, ...]]:
    """Return the input's shape that Ultralytics' exporter writes down as ``imgsz``, where there is one."""
    try:
        height, width = ast.literal_eval(metadata.get("imgsz", ""))
    except (ValueError, SyntaxError, TypeError):
        return {}
    spec = signature.inputs[0]
    axes = image_axes(spec.shape)
    if axes is None or not all(isinstance(side, int) and 0 < side <= 16_384 for side in (height, width)):
        return {}
    sides = {axes[0]: height, axes[1]: width}
    shape = [sides.get(place, axis) if isinstance(axis, str) else axis for place, axis in enumerate(spec.shape)]
    return {spec.name: tuple(1 if isinstance(axis, str) else axis for axis in shape)}


def _sample_of(inputs: Sequence[TensorSpec], path: Path) -> TensorSpec:
    """Return the input that takes images: the one of four axes, else the only one. Raises UsageError."""
    images = [spec for spec in inputs if image_axes(spec.shape) is not None]
    found = images if images else list(inputs)
    if len(found) != 1:
        told = "; ".join(map(str, inputs)) or "none"
        raise UsageError(
            f"{path}: which of its inputs takes the image? {told}", "write the recipe by hand (docs/recipes.md)"
        )
    return found[0]


def _constant(spec: TensorSpec, sample: TensorSpec, guessed: dict[str, str]) -> float | list[float]:
    axes = image_axes(sample.shape) or (2, 3, 1)
    height, width = (float(sample.shape[place]) for place in axes[:2])
    last = spec.shape[-1] if spec.shape else 1
    guessed[spec.name] = "what the publisher's code feeds it is not told by the file"
    if spec.name in SIZES and last == 2:
        return [height, width]
    if spec.name in SCALES and last == 2:
        return [1.0, 1.0]
    return 0.0


def _batched(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.name, spec.dtype, (BATCH_AXIS, *spec.shape[1:])) if spec.shape else spec
