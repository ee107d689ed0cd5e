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
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import Normalize, PadCenter, TruncateToInteger

Kind = Literal["float32", "uint8", "int8"]


@dataclass(frozen=True, slots=True)
class RowForm:
    """What one row is: ``float32`` and ``int8`` as (3, H, W), ``uint8`` as (H, W, 3) before normalisation.

    ``notes`` say what was done that ``run`` does not do.
    """

    kind: Kind
    shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * np.dtype(self.kind).itemsize

    @property
    def layout(self) -> str:
        """The axes of a file."""
        return "NHWC" if self.kind == "uint8" else "NCHW"


def row_form(recipe: Recipe, kind: Kind) -> RowForm:
    """Return what a row of this kind is. Raises UsageError where the recipe's steps leave no such rows."""
    channels, height, width = (int(axis) for axis in recipe.signature.inputs[0].shape[1:])
    if kind == "float32":
        return RowForm(kind, (channels, height, width))
    cast = any(isinstance(step, TruncateToInteger) for step in recipe.preprocess)
    if kind == "int8":
        note = "int8 bytes, as the guide's script casts them: a model takes them through a uint8 input or AIPP only"
        if not cast:
            raise UsageError(f"{recipe.name}: int8 files are those of a variant that casts", "name it by --variant")
        return RowForm(kind, (channels, height, width), (note,))
    if cast:
        raise UsageError(
            f"--input-type uint8: variant '{recipe.variant}' casts after the normalisation, and uint8 comes before it",
            "leave --variant out",
        )
    return RowForm(kind, (height, width, channels), _pixel_notes(recipe))


def stream_rows(
    recipe: Recipe, samples: Iterable[Sample], form: RowForm, batch: int, seed: int, skip: Skip | None
) -> Generator[Batch, None, None]:
    """Yield batches whose inputs are (batch, *form.shape) of the form's kind. Leave it through ``contextlib.closing``.

    Rows of kind ``float32`` are those that ``run`` feeds, bit for bit.
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
    step = next(step for step in recipe.preprocess if isinstance(step, Normalize))
    if recipe.dataset.views > 1:
        return ("uint8: a view times 255, rounded; run feeds the fractions too",)
    if not any(isinstance(one, PadCenter) for one in recipe.preprocess):
        return ()
    pixel = Preprocess(recipe.preprocess).padding.astype(np.float64)
    left = (pixel / step.divide - np.array(step.mean)) / np.array(step.std)
    colour = ", ".join(f"{value:.0f}" for value in pixel)
    far = ", ".join(f"{value:+.4f}" for value in left)
    return (f"uint8: padded with the rounded mean ({colour}), which is {far} after normalisation, where run pads 0",)


def placements(recipe: Recipe, boxes: bool) -> Callable[[bytes, str], Placement | None]:
    """Return what tells where an image lies in the input, from its header alone: None where no ``boxes`` ask for it."""
    return Preprocess(recipe.preprocess).place if boxes else lambda content, name: None


def sample_rows(batch: Batch) -> Iterator[tuple[str, str, Placement | None]]:
    """Yield each row's id, the sha256 of its sample's content, and its place."""
    places = batch.placements or (None,) * len(batch.ids)
    yield from zip(batch.ids, batch.digests, places, strict=True)
