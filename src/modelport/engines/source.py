"""The source: whatever defines the right answer. Every engine and precision is held against it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from modelport.core.artifacts import Artifact, digest_file, digest_json
from modelport.core.errors import CheckpointError, UsageError
from modelport.core.files import open_regular
from modelport.core.values import shape_fits
from modelport.engines.base import Build, Engine, Launch, Runner
from modelport.engines.registry import model_artifact, opened, reference_engine, runner_of_architecture
from modelport.engines.torch import TorchEngine, TorchRunner
from modelport.model.graph.file import precision_of, read_graph, signature_of
from modelport.model.program import SUFFIX, program_facts
from modelport.model.source import SourceModel, load_source, open_source, source_as_built
from modelport.model.weights.torchscript import is_torchscript, torchscript_error
from modelport.recipes.schema import Recipe


@dataclass(frozen=True, slots=True)
class Source:
    """A model in float32 and what runs it."""

    kind: Literal["checkpoint", "module", "program", "onnx"]
    recipe: Recipe
    artifact: Artifact
    engine: Engine
    network: SourceModel | None = None  # the PyTorch network, where there is one: graphs are exported from it
    notes: tuple[str, ...] = ()  # what is to be said of where it comes from and how it was loaded
    batch: int | None = None  # the only one that it takes; None: any

    @property
    def title(self) -> str:
        """What it is called beside its figures."""
        if self.kind != "onnx":
            return f"source model, {'PyTorch' if self.network is not None else self.engine.name} fp32"
        return f"{self.artifact.path.name}, {self.engine.name} fp32 without graph optimizations"

    @property
    def digest(self) -> str:
        """What its answers are kept under: the same for the same answers."""
        if self.network is not None:
            return self.network.identity
        if self.kind == "checkpoint":
            return self.artifact.sha256
        return digest_json([self.artifact.identity, self.engine.name, self.engine.available().version])

    @contextmanager
    def open(self, build: Build) -> Iterator[Runner]:
        """Open it in float32, with the recipe's own tensors, at the batch of ``build``.

        Raises CheckpointError where a checkpoint does not fit.
        """
        own = replace(build, recipe=self.recipe, precision="fp32", batch=self.batch or build.batch)
        if self.network is not None:
            # It may be in memory already, of an export.
            yield TorchRunner(self.network.module, own)
            return
        with opened(self.engine, self.artifact, own, Launch(plain=True)) as runner:
            yield runner

    @property
    def exportable(self) -> SourceModel:
        """The network that graphs are exported from. Raises UsageError where there is none."""
        if self.network is None:
            raise UsageError(
                f"{self.recipe.name}: its network is no PyTorch module, nothing can be exported",
                f"choose --engine {self.engine.name}",
            )
        return self.network


def source_from_checkpoint(recipe: Recipe, weights: Path, sha256: str | None = None) -> Source:
    """Return the source that a checkpoint is, digested; it is read when it is first run or exported.

    ``sha256`` is its digest where that is known already. Raises CheckpointError where the file is missing.
    """
    engine = runner_of_architecture(recipe.network.architecture)
    if engine is None:
        network = open_source(recipe, weights, sha256)
        return Source("checkpoint", recipe, network.checkpoint, TorchEngine(), network)
    open_regular(weights, error=CheckpointError, fix="check --weights").close()
    return Source("checkpoint", recipe, Artifact(weights, "checkpoint", sha256 or digest_file(weights)), engine)


def source_from_module(recipe: Recipe) -> Source:
    """Return the source that the user's own network is as its function returns it.

    Raises RecipeError or UsageError where it cannot be built.
    """
    network = source_as_built(recipe)
    said = (
        f"{recipe.network.architecture} as its function returns it defines the right answer: the recipe names no "
        f"weights ([weights]), and none were given (--weights); sha256 of its state dict {network.checkpoint.sha256}"
    )
    return Source("module", recipe, network.checkpoint, TorchEngine(), network, notes=(said,))


def source_from_program(recipe: Recipe, path: Path) -> Source:
    """Return the source that a ``.pt2`` file is: a program that torch.export saved, run by PyTorch.

    Raises CheckpointError where it is missing, damaged, not plain, or does not take the recipe's input.
    """
    network = load_source(recipe, path)
    want = recipe.signature.inputs[0]
    have = program_facts(path).shape
    if not shape_fits(have, want.shape):
        raise CheckpointError(
            f"{path}: takes an input of shape ({', '.join(map(str, have))}), the recipe wants {want}",
            "export the program with an example of that shape, or mend tensors.inputs",
        )
    said = (
        f"{path.name}, a program of torch.export run by PyTorch in float32, defines the right answer: it is proved "
        "that its answers arrive, not that they are the published model's"
    )
    return Source("program", recipe, network.checkpoint, TorchEngine(), network, notes=(said,), batch=network.batch)


def source_from_file(recipe: Recipe, path: Path) -> Source:
    """Return the source that ``--source`` names, by its suffix. Raises UsageError for a file of another kind."""
    if path.suffix.lower() == SUFFIX:
        return source_from_program(recipe, path)
    if path.suffix.lower() != ".onnx":
        _refuse_torchscript(path)
        raise UsageError(
            f"--source {path}: no model that runs by itself",
            "give a .pt2 or .onnx file; weights of the recipe's network go with --weights",
        )
    return source_from_onnx(recipe, path)


def _refuse_torchscript(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if is_torchscript(archive.namelist()):
                raise torchscript_error(str(path))


def source_from_onnx(recipe: Recipe, path: Path) -> Source:
    """Return the source that an ONNX file in float32 is, on the reference runtime without graph optimizations.

    Raises UsageError for a file in another precision, GraphError for none that can be read, EngineError where the
    runtime is missing.
    """
    graph = read_graph(path)
    if (precision := precision_of(graph)) != "fp32":
        raise UsageError(
            f"{path} computes in {precision}: it does not define the right answer",
            "give --source FILE.onnx, the float32 model that it was made from",
        )
    axes = signature_of(graph).inputs[0].shape
    engine, fixed = reference_engine(), axes[0] if axes and isinstance(axes[0], int) else None
    said = (
        f"{path.name} in float32 on {engine.name}, without graph optimizations, defines the right answer: it is proved "
        "that its answers arrive, not that they are the published model's"
    )
    return Source("onnx", recipe, model_artifact(path), engine, notes=(said,), batch=fixed)
