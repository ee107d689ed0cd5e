"""A model → what its recipe must say: inputs and outputs with sizes, and what could only be guessed."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.errors import UsageError
from modelport.core.values import Signature, TensorSpec
from modelport.engines.base import Build
from modelport.engines.registry import model_artifact, opened, reference_engine
from modelport.engines.torch import answers_of
from modelport.evaluate.feeds import Shapes, image_axes, random_feeds, settled
from modelport.evaluate.pairing import paired_inputs
from modelport.model.architectures import build_network
from modelport.model.architectures.preprocessing import Preprocessing
from modelport.model.graph.file import BATCH_AXIS, check_shapes, metadata_of, read_graph, signature_of
from modelport.model.program import load_program
from modelport.recipes.tables import Model

# What converters of detectors call inputs that tell sizes, and what they hold for an image of the input's own size.
SIZES, SCALES = ("im_shape", "image_shape", "img_shape", "orig_target_sizes"), ("scale_factor", "scale")


@dataclass(frozen=True, slots=True)
class Described:
    """A model's tensors, the first axis of each the batch. ``guessed`` tells why, by what was guessed."""

    sample: TensorSpec  # the input that an image decides
    constants: tuple[tuple[TensorSpec, float | list[float]], ...]  # the other inputs, with what they may hold
    outputs: tuple[TensorSpec, ...]
    guessed: dict[str, str]

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
    return Described(sample, constants, read, guessed)


def describe_program(path: Path) -> Described:
    """Return the tensors of a ``.pt2`` file, run once on zeros. Raises CheckpointError, EngineError."""
    module, facts, _ = load_program(path)
    guessed: dict[str, str] = {}
    shape = tuple(axis if isinstance(axis, int) else _side(place) for place, axis in enumerate(facts.shape))
    if any(isinstance(axis, str) for axis in facts.shape[1:]):
        guessed["size"] = "axes are free, this is a size that runs"
    return _described(module, str(path), shape, guessed)


def describe_network(architecture: str, told: Sequence[tuple[str, tuple[int, ...]]]) -> Described:
    """Return the tensors of a user's own network, built as its function returns it and run once on zeros.

    Raises UsageError where its module is not trusted, RecipeError where it cannot be built, EngineError.
    """
    guessed: dict[str, str] = {}
    if any(name != "input" for name, _ in told):
        raise UsageError("--shape: a network's input is called 'input' here", "give --shape input:1,3,224,224")
    shape = dict(told).get("input")
    if shape is None:
        shape = (1, 3, 224, 224)
        guessed["size"] = "a network does not tell the size of its images; --shape input:1,3,H,W does"
    return _described(build_network(Model(architecture=architecture)), architecture, shape, guessed)


def describe_library(architecture: str, facts: Preprocessing) -> Described:
    """Return the tensors of a classifier of timm or torchvision, as the library tells them."""
    if facts.classes is None:
        raise UsageError(f"{architecture}: its library tells no classes", "write the recipe by hand (docs/recipes.md)")
    sample = TensorSpec("input", "float32", (BATCH_AXIS, facts.channels, *facts.size))
    return Described(sample, (), (TensorSpec("output", "float32", (BATCH_AXIS, facts.classes)),), {})


def _described(module: Any, name: str, shape: tuple[int, ...], guessed: dict[str, str]) -> Described:
    answers = answers_of(module, name, shape)
    names = ["output"] if len(answers) == 1 else [f"output{number}" for number in range(len(answers))]
    outputs = [TensorSpec(one, dtype, size) for one, (dtype, size) in zip(names, answers, strict=True)]
    sample = TensorSpec("input", "float32", shape)
    return Described(_batched(sample), (), tuple(map(_batched, outputs)), guessed)


def _side(place: int) -> int:
    """Return a size for a free axis of (N, C, H, W)."""
    return 1 if place == 0 else 3 if place == 1 else 224


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
