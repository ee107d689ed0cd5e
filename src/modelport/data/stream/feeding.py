"""Samples → batches as a recipe wants them: decoded images, or two random views of each."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import numpy as np

from modelport.core import machine
from modelport.core.errors import UsageError
from modelport.core.values import Batch, Sample, TensorSpec
from modelport.data.prepare.stage_clock import StageClock
from modelport.data.prepare.transforms import Preprocess
from modelport.data.prepare.views import Views
from modelport.data.stream.batches import Skip, stream_batches
from modelport.data.stream.view_batches import stream_views
from modelport.recipes.chain import pixel_shape
from modelport.recipes.schema import Recipe


def feed(
    recipe: Recipe,
    samples: Iterable[Sample],
    batch: int,
    *,
    seed: int,
    pixels: bool = False,
    fast: bool = False,
    workers: int | None = None,
    skip: Skip | None = None,
    clock: StageClock | None = None,
) -> Generator[Batch, None, None]:
    """Yield full batches of the recipe's input, made ahead in threads. Leave it through ``contextlib.closing``.

    ``seed`` draws the views; a view depends on the seed, the sample's id and its own number alone. With ``pixels``
    the rows are uint8 (H, W, 3), before the normalisation, for a graph that normalises. ``fast`` is
    ``Preprocess``'s. ``workers`` None is a thread for each core. ``skip`` is ``stream_batches``'s; ``clock``
    takes what the threads compute.
    """
    spec = recipe.signature.with_batch(batch).inputs[0]
    workers = workers or machine.cores()
    _keep_freed_memory()
    if recipe.dataset.views > 1:
        if fast:
            raise UsageError("--fast-preprocess: views have no quicker way", "leave it out")
        views = Views(recipe.preprocess, pixels=pixels)
        # A batch of views is made by one thread: with fewer ahead, some threads would have none to make.
        ahead = workers + 1
        return stream_views(
            samples, views, input_name=spec.name, batch=batch, seed=seed, ahead=ahead, workers=workers, clock=clock
        )
    prepare = Preprocess(recipe.preprocess, fast=fast, placed=recipe.placed, clock=clock)
    row = TensorSpec(spec.name, spec.dtype, spec.shape[1:])
    # A network that takes bytes by itself gets them in its own layout.
    pixels = pixels and prepare.dtype != np.uint8
    if pixels:
        row = TensorSpec(spec.name, "uint8", pixel_shape(recipe.preprocess, spec))
    into = prepare.pixels_into if pixels else prepare.into
    return stream_batches(samples, into, row, batch=batch, workers=workers, skip=skip, clock=clock)


def _keep_freed_memory() -> None:
    """Let the allocator keep the memory of one image for the next.

    glibc gives back what is freed beyond a bound that is twice the largest block it ever got back itself: at first so
    low that every image's memory comes from the kernel anew, for a third of the preprocessing's time. The block is
    never written to, so it takes no memory.
    """
    block = np.empty(16 * 1024 * 1024, np.uint8)
    del block
