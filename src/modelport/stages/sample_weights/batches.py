"""Training images in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from modelport.core.values import Array, DataSet, Sample
from modelport.data.stream.feeding import feed
from modelport.recipes.schema import Recipe


class Training(NamedTuple):
    """A batch without padding."""

    inputs: Array
    targets: Sequence[Any]
    placements: Sequence[Any]


def training_batches(
    recipe: Recipe, samples: DataSet | Sequence[Sample], seed: int, at_once: int
) -> Iterator[Training]:
    """Yield the samples in batches, padding cut off."""
    name = recipe.signature.inputs[0].name
    with closing(feed(recipe, samples, min(at_once, len(samples)), seed=seed)) as batches:
        for batch in batches:
            yield Training(batch.inputs[name][: len(batch.ids)], batch.targets, batch.placements)
