"""Small data and weights made on the spot, so that the whole road can be walked without a download."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from modelport.core.artifacts import Artifact
from modelport.core.errors import UsageError, unknown
from modelport.core.progress import Progress
from modelport.data.drawn.table import DRAWN
from modelport.data.sets.table import open_dataset
from modelport.model.architectures import build_random
from modelport.recipes.load import load_recipe
from modelport.tasks.table import task_of


def make_data(kind: str, out: Path, count: int | None, seed: int, progress: Progress) -> dict[str, Any]:
    """Draw a data set of ``count`` validation images into ``out``. Raises UsageError for an unknown kind."""
    if kind not in DRAWN:
        raise UsageError(f"no sample data of kind '{kind}'", unknown("kinds", kind, DRAWN))
    with progress.bar("drawing", None, "images") as bar:
        number = DRAWN[kind].images if count is None else count
        return DRAWN[kind].draw(out, count=number, seed=seed, progress=bar.advance)


def make_weights(recipe_name: str, data: Path, out: Path, seed: int, progress: Progress) -> Artifact:
    """Make sample weights on the training split of ``data`` and write them in the published wrapping.

    What a task says by its ``sample_fitter``: mostly a random network whose batch norms are calibrated on training
    images and whose last layer or layers are fitted in closed form. Raises DataError where there is no training split,
    UsageError for a task that nothing here fits.
    """
    recipe = load_recipe(recipe_name)
    fitter = task_of(recipe).sample_fitter
    if fitter is None:
        raise UsageError(f"{recipe.name}: no sample weights are made for the task {recipe.task}", "give real weights")
    like = f"name it like {recipe.weights.file if recipe.weights else f'{recipe.name}.pth'}"
    if not out.suffix:
        raise UsageError(f"{out}: a checkpoint needs a suffix", like)
    if out.suffix == ".safetensors":
        raise UsageError(f"{out}: sample weights are written as torch files", like)
    from modelport.model.samples.fit import save_as_published  # imports torch, which drawing data does without

    module = build_random(recipe.network, seed)
    dataset = open_dataset(recipe, data, split="train")
    resolve_name(fitter)(recipe, module, dataset, seed, progress)
    return save_as_published(module, recipe.checkpoint, out)
