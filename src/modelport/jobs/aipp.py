"""``aipp``: the AIPP file of a recipe, one held against a recipe, and what it does to images, without a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelport.core.progress import Progress
from modelport.engines.ascend import aipp_work
from modelport.recipes.load import load_recipe

FORMATS = aipp_work.FORMATS


def write_aipp(recipe_name: str, out: Path) -> dict[str, Any]:
    """Write the AIPP file that does a recipe's normalisation. Raises RecipeError where AIPP cannot."""
    return aipp_work.write_aipp(load_recipe(recipe_name), out)


def check_aipp(path: Path, recipe_name: str, tensors: Path | None) -> dict[str, Any]:
    """Return what is wrong with an AIPP file for a recipe, and with tensor files given to it.

    Raises DataError for a file that cannot be read so far, RecipeError where AIPP cannot serve the recipe.
    """
    return aipp_work.check_aipp(path, load_recipe(recipe_name), tensors)


def apply_aipp(
    path: Path, images: Sequence[Path], out: Path, recipe_name: str | None, form: str, progress: Progress
) -> dict[str, Any]:
    """Write what AIPP would hand to the network, a file for each image; with a recipe, after its resize and crop.

    Raises DataError or BadSampleError for a file that does not fit, UsageError for names that would collide.
    """
    recipe = None if recipe_name is None else load_recipe(recipe_name)
    return aipp_work.apply_aipp(path, images, out, recipe, form, progress)
