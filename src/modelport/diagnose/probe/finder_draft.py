"""What ``init`` asks the finder: a drafted recipe, the model that it was drafted from, and a folder of data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from modelport.core.errors import DataError, UsageError
from modelport.core.progress import Progress
from modelport.core.values import DataSet
from modelport.data.sets.selection import chosen_samples
from modelport.data.sets.table import open_dataset
from modelport.diagnose.probe.finder import BATCH, MOST, Found, find
from modelport.diagnose.probe.finder_settings import Space
from modelport.engines.base import Build, Runner
from modelport.engines.registry import model_artifact, opened, reference_engine
from modelport.engines.source import source_from_module, source_from_program
from modelport.model.program import SUFFIX
from modelport.recipes.schema import Recipe

SEED = 0


def can_be_found(recipe: Recipe) -> bool:
    """Whether the finder has anything to say of a recipe: one class an image, from a labelled set of images."""
    return recipe.label_form == "class" and recipe.dataset.labelled and Space.of(recipe.preprocess) is not None


def find_for(recipe: Recipe, model: str, folder: Path, progress: Progress) -> Found:
    """Return what is found of the images in ``folder``; ``model`` is an ONNX file, a ``.pt2`` or a user's network.

    At most 128 samples are drawn, the same each time. Raises what reading the samples and running the model raises.
    """
    space = Space.of(recipe.preprocess)
    assert space is not None
    data = open_dataset(recipe, folder)
    samples, _ = chosen_samples(data, min(MOST, len(data)), "random", SEED)
    offsets = [one for one in (0, 1) if one == recipe.dataset.label_offset or _reads_alike(recipe, one, folder, data)]
    with _opened(recipe, model) as runner:
        first = runner.signature.inputs[0].shape[0]
        return find(
            runner,
            space,
            samples,
            input_name=recipe.tensors.sample.name,
            output=recipe.tensors.outputs[0].name,
            offsets=offsets,
            batch=first if isinstance(first, int) else BATCH,
            progress=progress,
        )


def _with_offset(recipe: Recipe, offset: int) -> Recipe:
    """Return the recipe with another offset of its labels."""
    return recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"label_offset": offset})})


def _reads_alike(recipe: Recipe, offset: int, folder: Path, data: DataSet) -> bool:
    """Whether the labels are the same ones where a recipe has this offset: names tell by themselves which is meant."""
    if recipe.dataset.names:
        return False
    try:
        other = open_dataset(_with_offset(recipe, offset), folder)
    except (DataError, UsageError):
        return False
    return [sample.target for sample in other] == [sample.target for sample in data]


@contextmanager
def _opened(recipe: Recipe, model: str) -> Iterator[Runner]:
    path = Path(model)
    if path.suffix.lower() == ".onnx":
        # In whatever precision the file computes: nothing is held against it.
        with opened(reference_engine(), model_artifact(path), Build(recipe, None)) as runner:
            yield runner
        return
    source = source_from_program(recipe, path) if path.suffix.lower() == SUFFIX else source_from_module(recipe)
    with source.open(Build(recipe)) as runner:
        yield runner
