"""Samples → batches as a recipe wants them: decoded images, or two random views of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Literal

from modelport.core import machine
from modelport.core.errors import BadSampleError
from modelport.core.values import Batch, Sample
from modelport.data.batches import stream_batches
from modelport.data.transforms import Preprocess
from modelport.data.view_batches import stream_views
from modelport.data.views import Views
from modelport.recipes.schema import Recipe


def feed(
    recipe: Recipe,
    samples: Iterable[Sample],
    batch: int,
    *,
    seed: int,
    on_bad: Literal["fail", "skip"] = "fail",
    bad: Callable[[Sample, BadSampleError], None] | None = None,
) -> Generator[Batch, None, None]:
    """Yield full batches of the recipe's input, made ahead in threads. Leave it through ``contextlib.closing``.

    ``seed`` draws the views; a view depends on the seed, the sample's id and its own number alone.
    """
    spec = recipe.signature.with_batch(batch).inputs[0]
    _, *shape = (int(axis) for axis in spec.shape)
    if recipe.dataset.views > 1:
        views = Views(recipe.preprocess)
        return stream_views(samples, views, input_name=spec.name, batch=batch, seed=seed, workers=machine.cores())
    return stream_batches(
        samples,
        Preprocess(recipe.preprocess),
        input_name=spec.name,
        shape=(shape[0], shape[1], shape[2]),
        batch=batch,
        workers=machine.cores(),
        on_bad=on_bad,
        bad=bad,
    )
