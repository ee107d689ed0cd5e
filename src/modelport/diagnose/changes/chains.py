"""Steps of a recipe replaced by others: what changes of preprocessing are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from modelport.core.artifacts import digest_json
from modelport.recipes.chain import affine, check_input, lowered, sound
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Arithmetic, Geometry, Grey, PadCenter, Step

_STEPS: TypeAdapter[list[Step]] = TypeAdapter(list[Step])
# Numbers of the arithmetic that differ by less are the same: 1/0.003921569 and 255.
DIGITS = 5


def with_steps(recipe: Recipe, steps: Sequence[Step | Mapping[str, Any]]) -> Recipe | None:
    """Return the recipe with these steps; None where they do not go together, or make another input."""
    try:
        told = [step if isinstance(step, Mapping) else step.model_dump() for step in steps]
        made = sound(_STEPS.validate_python(told))
        check_input(made, recipe.signature.inputs[0])
    except ValueError:  # a contradiction, or pydantic's: a crop larger than the image, a filter that a step lacks
        return None
    return recipe.model_copy(update={"preprocess": made})


def with_geometry(recipe: Recipe, *steps: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe with these steps in place of all that resize, cut and pad."""
    found = [place for place, step in enumerate(recipe.preprocess) if is_geometry(step)]
    start = found[0] if found else 1
    kept = [step for step in recipe.preprocess if not is_geometry(step)]
    return with_steps(recipe, [*kept[:start], *steps, *kept[start:]])


def with_arithmetic(recipe: Recipe, *steps: Step | Mapping[str, Any]) -> Recipe | None:
    """Return the recipe with these steps in place of its arithmetic; None where it has none."""
    found = [place for place, step in enumerate(recipe.preprocess) if isinstance(step, Arithmetic)]
    if not found:
        return None
    return with_steps(recipe, [*recipe.preprocess[: found[0]], *steps, *recipe.preprocess[found[-1] + 1 :]])


def is_geometry(step: Step) -> bool:
    """Whether a step resizes, cuts or pads pixels."""
    return isinstance(step, Geometry | PadCenter) and not isinstance(step, Grey)


def effect(recipe: Recipe) -> str:
    """Return what a recipe amounts to, as a digest: the same for two ways of writing the same preprocessing."""
    steps = [step.model_dump(mode="json") for step in lowered(recipe.preprocess) if not isinstance(step, Arithmetic)]
    numbers = [[float(f"{value:.{DIGITS}g}") for value in side] for side in affine(recipe.preprocess)]
    return digest_json([steps, numbers, recipe.to_json() | {"preprocess": None}])
