"""What an engine and a runner are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from modelport.core.artifacts import Artifact
from modelport.core.values import Array, Signature, Tensors
from modelport.recipes.schema import Recipe


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether an engine can be used here; where not, ``reason`` and ``install`` say why and what to do."""

    usable: bool
    version: str = ""
    devices: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()  # executed on this machine, the safest first
    refused: tuple[tuple[str, str], ...] = ()  # (precision, why not here)
    reason: str = ""
    install: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is to be compiled and run. ``batch`` None leaves the batch axis free."""

    recipe: Recipe
    precision: str = "fp32"
    batch: int | None = None
    threads: int | None = None  # None: all cores

    @property
    def signature(self) -> Signature:
        """The recipe's tensors at this batch size."""
        whole = self.recipe.signature
        return whole if self.batch is None else whole.with_batch(self.batch)


class Runner(Protocol):
    """A model ready to run. Thread-safe: several workers call ``run`` at once."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs as the model really has them."""

    @property
    def concurrency(self) -> int:
        """How many runs in flight serve this runner best."""

    @property
    def precision(self) -> str:
        """The precision that really executes, read back from the engine."""

    def run(self, inputs: Tensors) -> dict[str, Array]:
        """Run once and block; the caller owns the arrays. Raises SignatureError for a wrong input."""


class Engine(Protocol):
    """A way to execute models."""

    name: str
    consumes: frozenset[str]  # kinds of artifact that open() takes

    def available(self) -> Availability:
        """Say whether it can be used here. Never raises."""

    def compile(self, model: Artifact, options: Options, out: Path) -> Artifact:
        """Write the artifact that this engine loads fastest. Raises EngineError."""

    def open(self, model: Artifact, options: Options) -> AbstractContextManager[Runner]:
        """Load a model. Raises EngineError, also where the precision is not executed here."""
