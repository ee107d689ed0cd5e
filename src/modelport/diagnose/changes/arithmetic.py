"""Changes of what is computed with pixels: the divisor, mean and std."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from modelport.diagnose.changes.base import Change
from modelport.diagnose.changes.chains import with_arithmetic
from modelport.diagnose.changes.constants import DIVIDES, MEAN_STD, MEAN_STD_GREY, UNTOUCHED, Numbers
from modelport.recipes.chain import form_of
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Arithmetic, Decode, Divide, Multiply, Normalize, Step

KIND_DIVIDE, KIND_MEAN_STD = "divide", "mean_std"


def arithmetic_changes(recipe: Recipe) -> Iterator[Change]:
    """Yield other divisors, other means and standard deviations, the same swapped, applied twice or left out."""
    for divide in DIVIDES:
        sentence = f"the model takes pixels divided by {divide:g} before mean and std"
        sentence = "the model takes pixels as they are, not divided by 255" if divide == 1 else sentence
        yield Change(KIND_DIVIDE, f"{divide:g}", sentence, recipe=partial(_divided, divide))
    channels = form_of(recipe.preprocess).channels
    for name, numbers in (MEAN_STD if channels == 3 else MEAN_STD_GREY).items():
        told = f"mean {_told(numbers.mean)} and std {_told(numbers.std)} of pixels of 0 to {255 / numbers.divide:g}"
        yield Change(KIND_MEAN_STD, name, f"the model takes {told}", recipe=partial(_normalised, numbers))
    told = "mean and std are in the opposite order of the channels"
    yield Change(KIND_MEAN_STD, "swapped", told, recipe=turned)
    yield Change(KIND_MEAN_STD, "twice", "the model takes pixels that are normalised twice", recipe=_twice)
    yield Change(KIND_MEAN_STD, "once", "the recipe normalises pixels twice", recipe=_once)
    yield Change(KIND_MEAN_STD, "no std", "the model takes pixels less the mean, not divided by std", recipe=_no_std)
    yield Change(KIND_MEAN_STD, "no mean", "the model takes pixels of which no mean is subtracted", recipe=_no_mean)
    told = "the model takes pixels of 0 to 255 as they are, or normalises them itself"
    yield Change(KIND_MEAN_STD, "no arithmetic", told, recipe=_bare)


def _normalize(divide: float, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    return {"step": "normalize", "divide": divide, "mean": tuple(mean), "std": tuple(std)}


def _found(recipe: Recipe) -> Normalize | None:
    return next((step for step in recipe.preprocess if isinstance(step, Normalize)), None)


def _arithmetic(recipe: Recipe) -> list[Step]:
    return [step for step in recipe.preprocess if isinstance(step, Arithmetic)]


def _divided(divide: float, recipe: Recipe) -> Recipe | None:
    """Change the divisor that mean and std follow; where there is no normalisation, divide first, or no more."""
    steps = _arithmetic(recipe)
    if any(isinstance(step, Normalize) for step in steps):
        made = [step.model_copy(update={"divide": divide}) if isinstance(step, Normalize) else step for step in steps]
        return with_arithmetic(recipe, *made)
    kept = [step for step in steps if not _is_scale(step)]
    scale = [] if divide == 1 and kept else [{"step": "divide", "by": (divide,)}]
    return with_arithmetic(recipe, *scale, *kept)


def _is_scale(step: Step) -> bool:
    """Whether a step divides by 255, in either way of writing it."""
    by = step.by if isinstance(step, Divide) else [1 / value for value in step.by] if isinstance(step, Multiply) else []
    return bool(by) and all(abs(value - 255) < 0.1 for value in by)


def _normalised(numbers: Numbers, recipe: Recipe) -> Recipe | None:
    first = recipe.preprocess[0]
    turn = -1 if isinstance(first, Decode) and first.color == "BGR" else 1
    return with_arithmetic(recipe, _normalize(numbers.divide, numbers.mean[::turn], numbers.std[::turn]))


def turned(recipe: Recipe) -> Recipe | None:
    """Return the recipe with the numbers of all its arithmetic in the opposite order of channels."""
    fields = ("mean", "std", "by")
    made = [
        step.model_copy(update={name: getattr(step, name)[::-1] for name in fields if hasattr(step, name)})
        for step in _arithmetic(recipe)
    ]
    return with_arithmetic(recipe, *made)


def _twice(recipe: Recipe) -> Recipe | None:
    step = _found(recipe)
    if step is None:
        return None
    again = [{"step": "subtract", "mean": step.mean}, {"step": "divide", "by": step.std}]
    return with_arithmetic(recipe, *_arithmetic(recipe), *again)


def _once(recipe: Recipe) -> Recipe | None:
    step = _found(recipe)
    return None if step is None else with_arithmetic(recipe, step)


def _no_std(recipe: Recipe) -> Recipe | None:
    step = _found(recipe)
    return None if step is None else with_arithmetic(recipe, _normalize(step.divide, step.mean, (1.0,)))


def _no_mean(recipe: Recipe) -> Recipe | None:
    step = _found(recipe)
    return None if step is None else with_arithmetic(recipe, _normalize(step.divide, (0.0,), step.std))


def _bare(recipe: Recipe) -> Recipe | None:
    return with_arithmetic(recipe, _normalize(*UNTOUCHED))


def _told(numbers: Sequence[float]) -> str:
    return f"({', '.join(f'{number:.4g}' for number in numbers)})"
