"""Samples → batches of the rows that tensor files hold: what ``run`` feeds, or the pixels before normalisation."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from modelport.core.errors import UsageError
from modelport.core.placement import Placement
from modelport.core.values import Batch, Sample
from modelport.data.prepare.transforms import Preprocess
from modelport.data.stream.batches import Skip
from modelport.data.stream.feeding import feed
from modelport.recipes.chain import affine, form_of, pixel_shape
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import PadCenter, TruncateToInteger

Kind = Literal["float32", "float16", "uint8", "int8"]


@dataclass(frozen=True, slots=True)
class RowForm:
    """What one row is: the network's input as ``run`` feeds it, pixels (H, W, C) before normalisation, or int8.

    ``layout`` names the axes of a file, ``notes`` say what was done that ``run`` does not do.
    """

    kind: Kind
    shape: tuple[int, int, int]
    layout: str
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * np.dtype(self.kind).itemsize


def row_form(recipe: Recipe, kind: Kind) -> RowForm:
    """Return what a row of this kind is. Raises UsageError where the recipe's steps leave no such rows."""
    spec, own = recipe.signature.inputs[0], form_of(recipe.preprocess)
    height, width, channels = pixel_shape(recipe.preprocess, spec)
    shape = (channels, height, width) if own.layout == "NCHW" else (height, width, channels)
    if kind == own.dtype:
        return RowForm(kind, shape, own.layout)
    if kind in ("float32", "float16"):
        raise UsageError(f"--input-type {kind}: the input of {recipe.name} is {spec}", "leave --input-type out")
    cast = any(isinstance(step, TruncateToInteger) for step in recipe.preprocess)
    if kind == "int8":
        note = "int8 bytes, as the guide's script casts them: a model takes them through a uint8 input or AIPP only"
        if not cast:
            raise UsageError(f"{recipe.name}: int8 files are those of a variant that casts", "name it by --variant")
        return RowForm(kind, shape, own.layout, (note,))
    if cast:
        raise UsageError(
            f"--input-type uint8: variant '{recipe.variant}' casts after the normalisation, and uint8 comes before it",
            "leave --variant out",
        )
    return RowForm(kind, (height, width, channels), "NHWC", _pixel_notes(recipe))


def stream_rows(
    recipe: Recipe, samples: Iterable[Sample], form: RowForm, batch: int, seed: int, skip: Skip | None
) -> Generator[Batch, None, None]:
    """Yield batches whose inputs are (batch, *form.shape) of the form's kind. Leave it through ``contextlib.closing``.

    Rows of the dtype of the network's input are those that ``run`` feeds, bit for bit.
    """
    pixels = form.kind == "uint8"
    batches = feed(recipe, samples, batch, seed=seed, pixels=pixels, skip=skip)
    return _cast(recipe, batches) if form.kind == "int8" else batches


def _cast(recipe: Recipe, batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
    """Yield the batches as int8: whole numbers already, after the variant's own cast."""
    name = recipe.signature.inputs[0].name
    with closing(batches):
        for batch in batches:
            yield replace(batch, inputs={name: batch.inputs[name].astype(np.int8)})


def _pixel_notes(recipe: Recipe) -> tuple[str, ...]:
    if recipe.dataset.views > 1:
        return ("uint8: a view times 255, rounded; run feeds the fractions too",)
    if not any(isinstance(one, PadCenter) for one in recipe.preprocess):
        return ()
    pixel = Preprocess(recipe.preprocess).padding.astype(np.float64)
    offsets, divisors = (np.array(numbers) for numbers in affine(recipe.preprocess))
    left = (pixel - offsets) / divisors
    colour = ", ".join(f"{value:.0f}" for value in pixel)
    far = ", ".join(f"{value:+.4f}" for value in left)
    return (f"uint8: padded with the rounded mean ({colour}), which is {far} after normalisation, where run pads 0",)


def placements(recipe: Recipe) -> Callable[[bytes, str], Placement | None]:
    """Return what tells where an image lies in the input, from its header alone: None where no task asks for it."""
    return Preprocess(recipe.preprocess, placed=True).place if recipe.placed else lambda content, name: None


def sample_rows(batch: Batch) -> Iterator[tuple[str, str, Placement | None]]:
    """Yield each row's id, the sha256 of its sample's content, and its place."""
    places = batch.placements or (None,) * len(batch.ids)
    yield from zip(batch.ids, batch.digests, places, strict=True)
