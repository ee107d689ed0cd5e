"""What an engine is fed while it is measured: seeded random values in the range that the model is made for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from modelport.core.errors import UsageError
from modelport.core.values import Array, Signature, Tensors, TensorSpec
from modelport.data.prepare.arithmetic import Arithmetic
from modelport.recipes.chain import form_of
from modelport.recipes.schema import Recipe
from modelport.recipes.steps import TruncateToInteger

# So many buffers take turns, so that no run finds its input in the cache because the last one read the same.
BUFFERS = 4
MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Inputs:
    """Buffers that take turns, and what they hold."""

    buffers: tuple[Tensors, ...]
    about: str


def random_inputs(signature: Signature, recipe: Recipe | None, seed: int) -> Inputs:
    """Return buffers of the signature's inputs, the same for the same seed. All axes must be fixed.

    With a recipe, float inputs are random pixels after its normalisation; without, standard normal. Bytes are 0 to 255,
    other integers 0 or 1. Raises UsageError for an axis that is free, or a dtype that cannot be drawn.
    """
    refuse_free_axes(signature)
    size = sum(_bytes_of(spec) for spec in signature.inputs)
    count = min(BUFFERS, max(2, MOST_BYTES // max(1, size)))
    rng = np.random.default_rng(seed)
    buffers = tuple({spec.name: drawn(spec, recipe, rng) for spec in signature.inputs} for _ in range(count))
    floats = "random pixels, normalised as the recipe does it" if recipe else "standard normal values"
    kinds = {spec.dtype for spec in signature.inputs}
    about = [floats] * any(kind.startswith("float") for kind in kinds)
    about += ["random bytes"] * ("uint8" in kinds)
    about += ["random zeros and ones"] * any(kind == "bool" or ("int" in kind and kind != "uint8") for kind in kinds)
    return Inputs(buffers, f"{count} buffers in turn: {', '.join(about)} (seed {seed})")


def refuse_free_axes(signature: Signature, place: str = "") -> None:
    """Raise UsageError where an axis of an input is free; ``place`` names the file."""
    for spec in signature.inputs:
        free = [axis for axis in spec.shape if isinstance(axis, str)]
        if free:
            raise UsageError(f"{place}input {spec}: its axis {free[0]} is free", "export the model with fixed axes")


def refuse_too_large(signature: Signature, batches: Iterable[int]) -> None:
    """Raise UsageError for a batch whose inputs alone are more than a quarter of this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for batch in batches:
        size = sum(_bytes_of(spec) for spec in signature.with_batch(batch).inputs)
        if size > memory / 4:
            found = f"--batch {batch}: its inputs are {size / 2**30:.3g} GiB, this machine has {memory / 2**30:.3g}"
            raise UsageError(found, "give a smaller batch")


def _bytes_of(spec: TensorSpec) -> int:
    return math.prod(axis for axis in spec.shape if isinstance(axis, int)) * np.dtype(spec.dtype).itemsize


def drawn(spec: TensorSpec, recipe: Recipe | None, rng: np.random.Generator) -> Array:
    """Return one array of a spec whose axes are fixed, as ``random_inputs`` tells. Raises UsageError for a dtype."""
    shape, dtype = [int(axis) for axis in spec.shape], np.dtype(spec.dtype)
    if dtype == np.uint8:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    if dtype.kind in "iub":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind != "f":
        raise UsageError(f"input {spec}: values of that dtype cannot be drawn", "measure a model with numeric inputs")
    form = form_of(recipe.preprocess) if recipe else None
    last = form is not None and form.layout == "NHWC"
    if recipe is None or form is None or len(shape) != 4 or shape[3 if last else 1] != form.channels:
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    values = Arithmetic(recipe.preprocess).applied(pixels.transpose(0, 3, 1, 2) if last else pixels)
    if any(isinstance(step, TruncateToInteger) for step in recipe.preprocess):
        np.trunc(values, out=values)
    return np.ascontiguousarray(values.transpose(0, 2, 3, 1) if last else values).astype(dtype, copy=False)
