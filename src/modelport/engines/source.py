"""The source: whatever defines the right answer. Every engine and precision is held against it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from modelport.core.artifacts import Artifact, digest_file
from modelport.core.errors import CheckpointError, UsageError
from modelport.core.files import open_regular
from modelport.engines.base import Build, Engine, Runner
from modelport.engines.registry import opened, runner_of_architecture
from modelport.engines.torch import TorchEngine, TorchRunner
from modelport.model.source import SourceModel, open_source
from modelport.recipes.schema import Recipe


@dataclass(frozen=True, slots=True)
class Source:
    """A model in float32 and what runs it. ``artifact`` is what its answers are kept under."""

    kind: Literal["checkpoint"]
    recipe: Recipe
    artifact: Artifact
    engine: Engine
    network: SourceModel | None = None  # the PyTorch network, where there is one: graphs are exported from it
    notes: tuple[str, ...] = ()  # what is to be said of where it comes from and how it was loaded

    @contextmanager
    def open(self, build: Build) -> Iterator[Runner]:
        """Open it in float32, with the recipe's own tensors, at the batch of ``build``.

        Raises CheckpointError where a checkpoint does not fit.
        """
        own = replace(build, recipe=self.recipe, precision="fp32")
        if self.network is not None:
            # It may be in memory already, of an export.
            yield TorchRunner(self.network.module, own)
            return
        with opened(self.engine, self.artifact, own) as runner:
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
