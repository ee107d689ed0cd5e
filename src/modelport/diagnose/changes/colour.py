"""Changes of how an image's file becomes pixels: the order of the channels, and the rotation that a camera noted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from modelport.diagnose.changes.arithmetic import turned
from modelport.diagnose.changes.base import Change
from modelport.diagnose.changes.chains import with_steps
from modelport.diagnose.changes.constants import COLOURS
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Decode


def colour_changes(recipe: Recipe) -> Iterator[Change]:
    """Yield the other order of channels, with mean and std as they stand and turned with it, and the EXIF rotation."""
    first = recipe.preprocess[0]
    if not isinstance(first, Decode):
        return
    if first.color in COLOURS:
        other = COLOURS[1 - COLOURS.index(first.color)]
        told = f"the model takes {other}; the recipe gives {first.color}"
        yield Change("channel_order", other, told, recipe=partial(_coloured, other))
        more = f"{told}, and mean and std belong to the channels, whatever their order"
        yield Change("channel_order", f"{other}, mean and std with it", more, recipe=partial(_all_turned, other))
    other_way = "ignore" if first.exif_rotation == "apply" else "apply"
    told = "are shown upright" if other_way == "apply" else "are taken as they lie in the file"
    told = f"images that a camera held sideways {told} (exif_rotation = {other_way})"
    yield Change("exif_rotation", other_way, told, recipe=partial(_rotated, other_way))


def _coloured(colour: str, recipe: Recipe) -> Recipe | None:
    first, *rest = recipe.preprocess
    return with_steps(recipe, [first.model_dump() | {"color": colour}, *rest])


def _all_turned(colour: str, recipe: Recipe) -> Recipe | None:
    coloured = _coloured(colour, recipe)
    return None if coloured is None else turned(coloured)


def _rotated(way: str, recipe: Recipe) -> Recipe | None:
    first, *rest = recipe.preprocess
    return with_steps(recipe, [first.model_dump() | {"exif_rotation": way}, *rest])
