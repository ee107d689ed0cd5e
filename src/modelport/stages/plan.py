"""What is to be made of a recipe's model: every default resolved, and refused what does not go together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from modelport.core.errors import UsageError
from modelport.core.options import batch_rows
from modelport.engines.base import Build, Engine, Launch
from modelport.engines.registry import choose_engine, own_precision
from modelport.model.graph.pixel_input import recipe_of_pixels
from modelport.recipes.schema import Recipe


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
    weights: Path | None = None  # None: the recipe's own, fetched
    model: Path | None = None  # a file in place of an export
    calibration: Path | None = None
    precision_plan: Path | None = None
    seed: int = 0

    @property
    def pixels(self) -> bool:
        """Whether the graph takes uint8 pixels and normalises by itself."""
        graph, own = (recipe.tensors.inputs[0].dtype for recipe in (self.build.needed_recipe, self.recipe))
        return graph == "uint8" != own

    @property
    def precision(self) -> str:
        """The precision asked for."""
        return self.build.precision or "fp32"

    @staticmethod
    def of(recipe: Recipe, wish: Wish, weights: Path | None = None, model: Path | None = None, seed: int = 0) -> Plan:
        """Resolve what was left out.

        Raises UsageError for what does not go together, EngineError for an engine that is not usable here.
        """
        precision = wish.precision or own_precision(wish.engine)
        engine = choose_engine(wish.engine, precision)
        form = recipe_of_pixels(recipe) if wish.input_type == "uint8" else recipe
        batch = batch_rows("--batch", wish.batch) or recipe.run.batch
        check_calibration(precision, wish.calibration, model)
        build, launch = Build(form, precision, batch), Launch(wish.threads, wish.in_flight, wish.device)
        return Plan(recipe, engine, build, launch, weights, model, wish.calibration, seed=seed)


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
