"""What an engine and a runner are."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
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
    accuracy_only: tuple[tuple[str, str], ...] = ()  # (precision, why its speed here means nothing)


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is to be compiled and run. ``batch`` None leaves the batch axis free.

    Without a recipe a model is opened with its own signature, and ``precision`` None takes whatever it runs in.
    """

    recipe: Recipe | None = None
    precision: str | None = "fp32"
    batch: int | None = None
    threads: int | None = None  # None: all cores
    device: int = 0
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) where free axes are to be fixed
    alone: bool = False  # one run at a time: all cores serve it, instead of several runs in flight
    concurrency: int | None = None  # runs in flight, the cores shared among them; None: as the engine thinks best
    soc: str | None = None  # the chip to compile for; None: the one in this machine
    plan: Path | None = None  # a precision plan
    input_type: str | None = None  # float32 or uint8; None: the recipe's

    @property
    def signature(self) -> Signature:
        """The recipe's tensors at this batch size. Raises EngineError where there is no recipe."""
        whole = self.needed_recipe.signature
        return whole if self.batch is None else whole.with_batch(self.batch)

    @property
    def needed_recipe(self) -> Recipe:
        """The recipe, for whoever cannot do without. Raises EngineError where there is none."""
        if self.recipe is None:
            raise EngineError("the model cannot be opened without its recipe", "name the recipe of this model")
        return self.recipe


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


@dataclass(frozen=True, slots=True)
class DeviceTimes:
    """The clocks of one run on a device with memory of its own, in milliseconds."""

    h2d_ms: float  # inputs to the device
    compute_ms: float
    d2h_ms: float  # outputs back


@runtime_checkable
class TimedRunner(Protocol):
    """What a runner offers besides ``Runner`` where it can tell the copies from the computing."""

    def run_timed(self, inputs: Tensors) -> tuple[dict[str, Array], DeviceTimes]:
        """Run as ``run`` does, and tell the clocks apart."""


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
