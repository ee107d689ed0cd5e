"""Small data and weights made on the spot, so that the whole road can be walked without a download."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np

from modelport.core.artifacts import Artifact
from modelport.core.errors import UsageError, unknown
from modelport.core.progress import Progress
from modelport.core.values import Array, DataSet, Sample
from modelport.data.drawn.cifar10 import draw_cifar10
from modelport.data.drawn.coco import draw_coco
from modelport.data.drawn.imagenet import draw_imagenet
from modelport.data.prepare.views import Views
from modelport.data.sets.cifar10 import Cifar10
from modelport.data.sets.table import open_dataset
from modelport.data.stream.feeding import feed
from modelport.data.stream.view_batches import training_views
from modelport.model.architectures import build_random
from modelport.recipes.load import load_recipe
from modelport.recipes.schema import Recipe
from modelport.tasks.table import task_of

# A kind of data set → the function that draws it.
DRAWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "imagenet": draw_imagenet,
    "cifar10": draw_cifar10,
    "coco": draw_coco,
}
COUNTS = {"imagenet": 300, "cifar10": 1000, "coco": 24}
# Images that go through a classifier and a detector at once.
CLASSIFIED_AT_ONCE, DETECTED_AT_ONCE = 25, 2
# Batches for the statistics of a batch norm, which settle with far fewer images than a fit needs.
CLASSIFIED_FIRST, DETECTED_FIRST = 3 * CLASSIFIED_AT_ONCE, 2 * DETECTED_AT_ONCE


class Training(NamedTuple):
    """A batch without padding."""

    inputs: Array
    targets: Sequence[Any]
    placements: Sequence[Any]


def make_data(kind: str, out: Path, count: int | None, seed: int, progress: Progress) -> dict[str, Any]:
    """Draw a data set of ``count`` validation images into ``out``. Raises UsageError for an unknown kind."""
    if kind not in DRAWERS:
        raise UsageError(f"no sample data of kind '{kind}'", unknown("kinds", kind, DRAWERS))
    with progress.bar("drawing", None, "images") as bar:
        number = COUNTS[kind] if count is None else count
        return DRAWERS[kind](out, count=number, seed=seed, progress=bar.advance)


def make_weights(recipe_name: str, data: Path, out: Path, seed: int, progress: Progress) -> Artifact:
    """Make sample weights on the training split of ``data`` and write them in the published wrapping.

    A classifier or detector is a random network whose batch norms are calibrated on training images and whose last
    layer or layers are fitted in closed form; a contrastive network is trained, shortly. Raises DataError where there
    is no training split, UsageError for a task that nothing here fits.
    """
    recipe = load_recipe(recipe_name)
    fitter = task_of(recipe).sample_fitter
    if fitter is None:
        raise UsageError(f"{recipe.name}: no sample weights are made for the task {recipe.task}", "give real weights")
    if not out.suffix:
        raise UsageError(f"{out}: a checkpoint needs a suffix", f"name it like {recipe.published_weights.file}")
    if out.suffix == ".safetensors":
        raise UsageError(
            f"{out}: sample weights are written as torch files", f"name it like {recipe.published_weights.file}"
        )
    from modelport.model.samples.fit import save_as_published  # imports torch, which drawing data does without

    module = build_random(recipe.network, seed)
    dataset = open_dataset(recipe.dataset, data, split="train")
    resolve_name(fitter)(recipe, module, dataset, seed, progress)
    return save_as_published(module, recipe.checkpoint, out)


def fit_classifier(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random network and fit its last layer to the labels, in closed form."""
    from modelport.model.samples.fit import calibrate_batch_norms, fit_head

    offset = recipe.dataset.label_offset
    mixed = [dataset[int(index)] for index in np.random.default_rng(seed).permutation(len(dataset))]
    with progress.bar("calibrating and fitting", len(mixed), "images") as bar:
        first = _training_batches(recipe, mixed[:CLASSIFIED_FIRST], seed, CLASSIFIED_AT_ONCE)
        calibrate_batch_norms(module, (batch.inputs for batch in first))
        batches = _training_batches(recipe, mixed, seed, CLASSIFIED_AT_ONCE)
        fit_head(module, ((batch.inputs, np.asarray(batch.targets) + offset) for batch in batches), bar.advance)


def fit_contrastive(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Train a random network, shortly, to find the other view of an image."""
    from modelport.model.samples.fit_contrastive import PAIRS, STEPS, train_simclr

    assert isinstance(dataset, Cifar10)
    views = training_views(dataset, Views(recipe.preprocess), pairs=PAIRS, steps=STEPS, seed=seed)
    with progress.bar("training", STEPS, "steps") as bar:
        train_simclr(module, views, seed=seed, after_step=lambda _: bar.advance())


def fit_boxes(recipe: Recipe, module: Any, dataset: DataSet, seed: int, progress: Progress) -> None:
    """Settle the batch norms of a random detector and fit its last layers to the boxes, in closed form."""
    from modelport.model.samples.fit import calibrate_batch_norms
    from modelport.model.samples.fit_detector import fit_detector, soften

    index_of = {number: index for index, (number, _) in enumerate(dataset.categories)}
    first = dataset[:DETECTED_FIRST]
    soften(module)
    with progress.bar("calibrating and fitting", len(first) + len(dataset), "images") as bar:
        batches = _training_batches(recipe, first, seed, DETECTED_AT_ONCE)
        calibrate_batch_norms(module, (batch.inputs for batch in batches))
        bar.advance(len(first))

        def known() -> Iterator[tuple[Array, list[Array], list[Array]]]:
            for batch in _training_batches(recipe, dataset, seed, DETECTED_AT_ONCE):
                boxes, labels = [], []
                for truth, placement in zip(batch.targets, batch.placements, strict=True):
                    corners = np.concatenate([truth.boxes[:, :2], truth.boxes[:, :2] + truth.boxes[:, 2:]], axis=1)
                    boxes.append(placement.to_network(corners))
                    labels.append(np.array([index_of[int(number)] for number in truth.category_ids], np.int64))
                yield batch.inputs, boxes, labels

        fit_detector(module, known(), bar.advance)


def _training_batches(
    recipe: Recipe, samples: DataSet | Sequence[Sample], seed: int, at_once: int
) -> Iterator[Training]:
    """Yield the samples in batches, padding cut off."""
    name = recipe.signature.inputs[0].name
    with closing(feed(recipe, samples, min(at_once, len(samples)), seed=seed)) as batches:
        for batch in batches:
            yield Training(batch.inputs[name][: len(batch.ids)], batch.targets, batch.placements)
