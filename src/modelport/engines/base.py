"""What an engine and a runner are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.errors import EngineError
from modelport.core.values import Array, Signature, Tensors
from modelport.engines.quantizer import Quantizer
from modelport.model.graph.precision_plan import ResolvedPlan
from modelport.model.graph.tail import Ending
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
class Build:
    """What a model is made into. ``batch`` None leaves the batch axis free.

    Without a recipe a model is opened with its own signature, and ``precision`` None takes whatever it runs in.
    """

    recipe: Recipe | None = None  # in the graph's form: with the tensors that the graph really has
    precision: str | None = "fp32"
    batch: int | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()  # (input, its whole shape) where free axes are to be fixed
    own: object | None = None  # what one engine's compiler alone is told

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


@dataclass(frozen=True, slots=True)
class Launch:
    """How a model is run. ``in_flight`` None: as many runs at once as the engine thinks best; 1: all cores serve it."""

    threads: int | None = None  # of all runs together; None: all cores
    in_flight: int | None = None
    device: int = 0  # of an engine that has several
    plain: bool = (
        False  # no rewriting of the graph, where the engine does it by itself: for what others are held against
    )


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


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """How an engine would compile a model. ``words`` is the vendor's command, empty where modelport does it itself."""

    precision: str
    batch: int | None
    words: tuple[str, ...] = ()
    files: tuple[tuple[str, Path, str], ...] = ()  # what the command is pointed to: (its option, path, text)
    notes: tuple[str, ...] = ()
    input_type: str | None = None  # float32 or uint8, where the plan decides it


class Engine:
    """A way to execute models. One is a class in its own folder, and a line in ``registry.py``.

    Everything that is true of one engine alone stands here; no other room asks for an engine's name.
    """

    name: str
    # Kinds of artifact that open() takes: "checkpoint", "onnx", and the engine's own.
    consumes: frozenset[str] = frozenset()
    # The engine's own kinds of file, by their suffix.
    suffixes: Mapping[str, str] = {}
    # The suffix of what compile() writes from ONNX; None where nothing is compiled.
    compiles_to: str | None = None
    # The suffixes of files that compile() writes beside it.
    companions: tuple[str, ...] = ()
    # Whether compile() needs the engine to be usable here; a vendor's compiler may need no device.
    compiles_here: bool = True
    # What `compile` takes beside recipe, graph, precision and batch.
    build_options: frozenset[str] = frozenset({"calibration", "plan"})
    # Precisions that take another graph than the float32 one: "graph" (weights converted), "quantizer".
    lowers: Mapping[str, str] = {}
    quantizer: Quantizer | None = None
    # The form of the recipes' table that has the engine's name; None where recipes say nothing to this engine alone.
    recipe_table: type[BaseModel] | None = None
    # Distributions whose versions a result tells.
    packages: tuple[str, ...] = ()
    # Networks that it runs by itself, without PyTorch: what a recipe calls its architecture.
    architectures: frozenset[str] = frozenset()
    # Chosen where nobody names an engine; never what only pretends to run models.
    by_default: bool = True
    # Runs ONNX as its authors do: written graphs are checked on it first.
    reference_of_onnx: bool = False
    # Several runs in flight may serve better than one on all cores.
    serves_several: bool = False
    # Has devices with numbers and memory of their own.
    has_devices: bool = False
    # Takes inputs of other shapes than those it was compiled for.
    reshapes: bool = True
    # Where a detector's doubles are suppressed, beside graph and host: by nodes of the engine's own devices.
    endings: tuple[Ending, ...] = ()

    def available(self) -> Availability:
        """Say whether it can be used here. Never raises."""
        raise NotImplementedError

    def usable(self) -> Availability:
        """Return what it says of itself. Raises EngineError, with what to install, where it cannot be used here."""
        here = self.available()
        if not here.usable:
            raise EngineError(f"the engine '{self.name}' is not usable here: {here.reason}", here.install)
        return here

    def parts(self, path: Path) -> tuple[Path, ...]:
        """Return the files beside a model file of the engine's own kind that are part of it. Raises GraphError."""
        return ()

    def identity(self, build: Build) -> tuple[object, ...]:
        """Return what, beside the model, decides what compile() writes: a change of it makes what is kept old."""
        return (self.name, self.available().version, machine.processor())

    def plan(self, model: Artifact, build: Build, out: Path) -> BuildPlan:
        """Return how ``compile`` would do it; nothing is written or run."""
        note = f"no vendor command: '{self.name}' would compile {model.path} inside modelport and write {out}"
        return BuildPlan(build.precision or "fp32", build.batch, notes=(note,))

    def plan_texts(self, plan: ResolvedPlan) -> Mapping[str, str]:
        """Return the files, text by name, in which a compiler of the vendor's own takes a precision plan.

        There are none where modelport carries the plan out itself.
        """
        return {}

    def compile(self, model: Artifact, build: Build, out: Path) -> Artifact:
        """Write the artifact that this engine loads fastest. Raises EngineError."""
        raise EngineError(
            f"the engine '{self.name}' runs what it is given; there is nothing to compile", "choose another engine"
        )

    def own_build(self, told: Mapping[str, Any]) -> object | None:
        """Return ``Build.own`` of what ``compile`` was told beside the rest: the ``build_options`` that were given."""
        return None

    def cannot_open(self, build: Build, launch: Launch) -> str:
        """Say why what was compiled so cannot be opened here; nothing where it can."""
        return ""

    def open(self, model: Artifact, build: Build, launch: Launch) -> AbstractContextManager[Runner]:
        """Load a model. Raises EngineError, also where the precision is not executed here."""
        raise NotImplementedError

    def open_with(
        self, model: Artifact, build: Build, launch: Launch, outputs: Sequence[str]
    ) -> AbstractContextManager[Runner] | None:
        """Load a file of the engine's own kind so that it also gives those of the tensors ``outputs`` that it has.

        None where such a file shows no inner tensors. Raises EngineError as ``open`` does.
        """
        return None
