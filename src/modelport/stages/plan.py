"""What is to be made of a recipe's model: every default resolved, and refused what does not go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from modelport.core.errors import UsageError
from modelport.core.options import batch_rows
from modelport.engines.base import Build, Engine, Launch
from modelport.engines.registry import choose_engine, own_precision
from modelport.model.graph.file import read_graph, signature_of
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.model.program import SUFFIX, program_facts
from modelport.recipes.schema import Recipe

NO_SOURCE: Literal["none"] = "none"


@dataclass(frozen=True, slots=True)
class Given:
    """The files that the user brings of a model."""

    weights: Path | None = None  # of the recipe's network; None: the recipe's own, fetched
    model: Path | None = None  # in place of an export
    source: Path | Literal["none"] | None = None  # what defines the right answer, where no checkpoint does

    def __post_init__(self) -> None:
        """Raise UsageError for two that say the same thing."""
        if self.weights is not None and self.source is not None:
            raise UsageError("--weights and --source were both given", "give the one that defines the right answer")

    @property
    def graph(self) -> Path | None:
        """The ONNX file that the engine's model is made from, where it is not exported."""
        if self.model is not None:
            return self.model
        return self.source if isinstance(self.source, Path) and self.source.suffix.lower() == ".onnx" else None

    @property
    def fixed_batch(self) -> int | None:
        """The only batch that these files take; None: any. Raises ModelportError for a file that cannot be read."""
        if self.model is None and self.program is not None:
            return program_facts(self.program).batch
        return fixed_batch(self.graph)

    @property
    def program(self) -> Path | None:
        """The program of torch.export that graphs are exported from, where there is one."""
        return self.source if isinstance(self.source, Path) and self.source.suffix.lower() == SUFFIX else None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user says of engine, graph and run; None is the recipe's or the engine's default."""

    engine: str | None = None  # None: the fastest usable one
    precision: str | None = None  # None: the engine's own, fp32 on CPUs
    batch: int | None = None
    input_type: str = "float32"  # uint8: the graph takes pixels and normalises by itself
    threads: int | None = None  # of the engine, all runs together; None: all cores
    in_flight: int | None = None  # None: measured
    device: int = 0  # of an engine that has several
    calibration: Path | None = None  # images for int8, none of them scored


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe, what the user has of its model, and how the model is to be built and run."""

    recipe: Recipe  # as named, in its variant
    engine: Engine
    build: Build  # of the graph's form of the recipe
    launch: Launch = field(default_factory=Launch)
    given: Given = Given()
    calibration: Path | None = None
    precision_plan: Path | None = None
    seed: int = 0

    @property
    def pixels(self) -> bool:
        """Whether the graph takes uint8 pixels and normalises by itself."""
        graph, own = (recipe.tensors.sample.dtype for recipe in (self.build.needed_recipe, self.recipe))
        return graph == "uint8" != own

    @property
    def precision(self) -> str:
        """The precision asked for."""
        return self.build.precision or "fp32"

    @staticmethod
    def of(recipe: Recipe, wish: Wish, given: Given = Given(), seed: int = 0) -> Plan:
        """Resolve what was left out.

        Raises UsageError for what does not go together, EngineError for an engine that is not usable here.
        """
        precision = wish.precision or own_precision(wish.engine)
        engine = choose_engine(wish.engine, precision)
        form = recipe_of_pixels(recipe) if wish.input_type == "uint8" else recipe
        batch = batch_rows("--batch", wish.batch) or given.fixed_batch or recipe.run.batch
        if given.program is not None and (given.fixed_batch or batch) != batch:
            raise UsageError(
                f"--batch {batch}: {given.program} was exported for batch {given.fixed_batch} alone",
                "leave --batch out, or export it with a free batch: dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)",
            )
        check_calibration(precision, wish.calibration, given.model)
        build, launch = Build(form, precision, batch), Launch(wish.threads, wish.in_flight, wish.device)
        return Plan(recipe, engine, build, launch, given, wish.calibration, seed=seed)


def fixed_batch(path: Path | None) -> int | None:
    """Return the batch that an ONNX file is fixed to; None where it is free, or the file is of another kind."""
    if path is None or path.suffix.lower() != ".onnx":
        return None
    inputs = signature_of(read_graph(path)).inputs
    return inputs[0].shape[0] if inputs and inputs[0].shape and isinstance(inputs[0].shape[0], int) else None


def check_calibration(precision: str, calibration: Path | None, model: Path | None) -> None:
    """Raise UsageError early where int8 is asked for without images, or images without int8.

    A ``model`` that the user gives may be quantized already.
    """
    if precision == "int8" and calibration is None and model is None:
        raise no_images()
    if precision != "int8" and calibration is not None:
        raise UsageError(f"--calibration says nothing to {precision}", "leave it out, or --precision int8")


def no_images() -> UsageError:
    """Return the error for int8 without images."""
    return UsageError(
        "--precision int8 needs images to calibrate on",
        "give --calibration DIR: a data set with a training split, or a folder of images; none that is scored",
    )
