"""Small data and weights made on the spot, so that the whole road can be walked without a download."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from modelport.core import machine
from modelport.core.artifacts import Artifact
from modelport.core.errors import UsageError, unknown
from modelport.core.progress import Progress
from modelport.core.values import Array
from modelport.data.batches import stream_batches
from modelport.data.drawn import draw_imagenet
from modelport.data.imagenet import open_imagenet
from modelport.data.transforms import Preprocess
from modelport.model.architectures import build_random
from modelport.model.fit import calibrate_batch_norms, fit_head, save_as_published
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe

KINDS = ("imagenet",)
BATCH = 25
# Statistics of a batch norm settle with far fewer images than a fit needs.
CALIBRATION_BATCHES = 3


def make_data(kind: str, out: Path, count: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Draw a data set of ``count`` validation images into ``out``. Raises UsageError for an unknown kind."""
    if kind not in KINDS:
        raise UsageError(f"no sample data of kind '{kind}'", unknown("kinds", kind, KINDS))
    with progress.bar("drawing", None, "images") as bar:
        done = 0

        def advanced(now: int, total: int) -> None:
            nonlocal done
            bar.advance(now - done)
            done = now

        return draw_imagenet(out, count=count, seed=seed, progress=advanced)


def make_weights(recipe_name: str, data: Path, out: Path, seed: int, progress: Progress) -> Artifact:
    """Fit sample weights on the training split of ``data`` and write them in the published wrapping.

    The network is random but for its batch norms, calibrated on training images, and its last linear layer, fitted
    in closed form. Raises DataError where there is no training split.
    """
    recipe = load_recipe(recipe_name)
    if not out.suffix:
        raise UsageError(f"{out}: a checkpoint needs a suffix", f"name it like {recipe.weights.file}")
    if out.suffix == ".safetensors":
        raise UsageError(f"{out}: sample weights are written as torch files", f"name it like {recipe.weights.file}")
    module = build_random(recipe.model, seed)
    offset = recipe.dataset.label_offset
    total = len(open_imagenet(data, classes=recipe.dataset.classes, split="train"))
    with progress.bar("calibrating and fitting", total, "images") as bar:
        calibration = (images for images, _ in _first(CALIBRATION_BATCHES, _training_batches(recipe, data)))
        calibrate_batch_norms(module, calibration)
        fit_head(module, ((x, y + offset) for x, y in _training_batches(recipe, data)), bar.advance)
    return save_as_published(module, recipe.checkpoint, out)


def _training_batches(recipe: Recipe, data: Path) -> Iterator[tuple[Array, Array]]:
    """Yield (images, labels) of the training split, classes mixed, padding cut off."""
    samples = open_imagenet(data, classes=recipe.dataset.classes, split="train")
    order = np.random.default_rng(0).permutation(len(samples))
    spec = recipe.signature.inputs[0]
    _, *shape = (axis if isinstance(axis, int) else 0 for axis in spec.shape)
    batches = stream_batches(
        (samples[int(index)] for index in order),
        Preprocess(recipe.preprocess),
        input_name=spec.name,
        shape=(shape[0], shape[1], shape[2]),
        batch=min(BATCH, len(samples)),
        workers=machine.cores(),
    )
    with closing(batches):
        for batch in batches:
            yield batch.inputs[spec.name][: len(batch.ids)], np.asarray(batch.targets)


def _first(count: int, batches: Iterator[tuple[Array, Array]]) -> Iterator[tuple[Array, Array]]:
    for _, batch in zip(range(count), batches, strict=False):
        yield batch
