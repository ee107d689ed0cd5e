"""Changes of how an image is brought to the input's size: interpolation, crop, squashing, letterbox."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from modelport.diagnose.changes.base import Change
from modelport.diagnose.changes.chains import is_geometry, with_geometry, with_steps
from modelport.diagnose.changes.constants import BOX_COLOURS, CROP_RATIOS, INTERPOLATIONS, at_hand
from modelport.recipes.chain import form_of
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import CenterCrop, Decode, Letterbox

INTERPOLATION = "interpolation"
# Resized so and then cut, as published scripts squash 256 × 256 before they cut 224 × 224.
SQUASHED_RATIO = 0.875


def geometry_changes(recipe: Recipe) -> Iterator[Change]:
    """Yield other interpolations, crop ratios, squashing and letterboxes that end in the same input."""
    yield from _interpolations(recipe)
    form = form_of(recipe.preprocess)
    if not isinstance(recipe.preprocess[0], Decode) or form.size is None or recipe.dataset.views > 1:
        return
    width, height = form.size
    how = _interpolation(recipe)
    steps: dict[tuple[str, str], tuple[str, list[Mapping[str, Any]]]] = {}
    cuts = width == height and not recipe.placed  # what is cut off would be lost to whoever looks for things
    if cuts:
        for ratio in CROP_RATIOS:
            told = f"the model takes {ratio:.1%} of the resized shorter side, cut from the middle"
            steps["crop_ratio", f"{ratio:g}"] = told, _cropped(recipe, width, ratio, how)
    whole = {"step": "resize", "width": width, "height": height, "interpolation": how}
    told = "the model takes the whole image, squashed to the input without a crop"
    steps["resize", "squash"] = told, [whole]
    if cuts:
        side = math.floor(width / SQUASHED_RATIO)
        wide = whole | {"width": side, "height": side}
        told = f"the model takes the image squashed to {side} × {side}, then cut"
        steps["resize", "squash, then crop"] = told, [wide, _crop(recipe, width)]
    for (kind, value), (told, chain) in steps.items():
        yield Change(kind, value, told, recipe=partial(_rebuilt, tuple(chain)))
    yield from _letterboxes(recipe, (width, height), how)


def _rebuilt(chain: tuple[Mapping[str, Any], ...], recipe: Recipe) -> Recipe | None:
    return with_geometry(recipe, *chain)


def _interpolations(recipe: Recipe) -> Iterator[Change]:
    resizing = [step for step in recipe.preprocess if hasattr(step, "interpolation")]
    if not resizing:
        return
    for name in at_hand(INTERPOLATIONS):
        told = f"the model takes images resized by {name}, the recipe resizes by {resizing[0].interpolation}"
        yield Change(INTERPOLATION, name, told, recipe=partial(_resampled, name))


def _resampled(name: str, recipe: Recipe) -> Recipe | None:
    return with_steps(
        recipe,
        [
            step.model_dump() | {"interpolation": name} if hasattr(step, "interpolation") else step
            for step in recipe.preprocess
        ],
    )


def _interpolation(recipe: Recipe) -> str:
    found = (getattr(step, "interpolation", None) for step in recipe.preprocess)
    name = next((name for name in found if name is not None), "bilinear")
    return "opencv_linear" if name == "opencv_bilinear" else name  # resize_to_fit's own name of it


def _cropped(recipe: Recipe, size: int, ratio: float, how: str) -> list[Mapping[str, Any]]:
    resize = {"step": "resize_shorter", "size": math.floor(size / ratio), "interpolation": how}
    return [resize, _crop(recipe, size)]


def _crop(recipe: Recipe, size: int) -> Mapping[str, Any]:
    own = next((step for step in recipe.preprocess if isinstance(step, CenterCrop)), None)
    return {"step": "center_crop", "size": size, "rounding": own.rounding if own else "half_even"}


def _letterboxes(recipe: Recipe, size: tuple[int, int], how: str) -> Iterator[Change]:
    """Yield letterboxes of other colours and places, of which each differs from the recipe's in one thing."""
    own = next((step for step in recipe.preprocess if isinstance(step, Letterbox)), None)
    channels = form_of([step for step in recipe.preprocess if not is_geometry(step)]).channels
    base: dict[str, Any] = {"step": "letterbox", "width": size[0], "height": size[1], "placement": "center"}
    base |= {"colour": (BOX_COLOURS[0],) * channels, "enlarge": True, "interpolation": how}
    if own is None:
        for place in ("center", "top_left"):
            for colour in BOX_COLOURS[:2]:
                changed = base | {"colour": (colour,) * channels, "placement": place}
                told = f"the model takes the whole image, its ratio kept, on {_colour(colour)}, placed {place}"
                value = f"{_colour(colour)}, {place}"
                yield Change("letterbox", value, told, recipe=partial(_rebuilt, (changed,)))
        return
    base = own.model_dump()
    for colour in BOX_COLOURS:
        told = f"the model takes the letterbox filled with {_colour(colour)}"
        step = base | {"colour": (colour,) * channels}
        yield Change("letterbox_colour", str(colour), told, recipe=partial(_rebuilt, (step,)))
    other = "top_left" if own.placement == "center" else "center"
    told = f"the model takes the image placed {other} in the letterbox"
    yield Change("letterbox_place", other, told, recipe=partial(_rebuilt, (base | {"placement": other},)))
    told = f"smaller images are {'not ' if own.enlarge else ''}enlarged in the letterbox"
    step = base | {"enlarge": not own.enlarge}
    yield Change("letterbox_enlarge", str(not own.enlarge).lower(), told, recipe=partial(_rebuilt, (step,)))


def _colour(value: int) -> str:
    return {0: "black", 255: "white"}.get(value, f"grey ({value})")
