"""Changes of how the prepared numbers lie in memory: axes, and the dtype that they pass through."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modelport.core.values import Array
from modelport.diagnose.changes.base import Change
from modelport.recipes.chain import form_of
from modelport.recipes.schema import Recipe


def layout_changes(recipe: Recipe) -> Iterator[Change]:
    """Yield the other layout, taken over without moving a byte, the sides exchanged, and numbers cut to whole ones."""
    form = form_of(recipe.preprocess)
    if len(recipe.tensors.sample.shape) != 4:
        return
    other = "NHWC" if form.layout == "NCHW" else "NCHW"
    if form.channels > 1:
        told = f"the model reads the bytes in the order {other}; the recipe gives {form.layout}"
        mend = f"write the input in the order {other}, or mend the model's input layout"
        moved = _as_nhwc if other == "NHWC" else _as_nchw
        yield Change("layout", f"{other} bytes", told, inputs=moved, mend=mend)
    axes = (2, 3) if form.layout == "NCHW" else (1, 2)
    if form.size is not None and form.size[0] == form.size[1]:

        def swapped(rows: Array) -> Array:
            return np.ascontiguousarray(rows.swapaxes(*axes))

        told = "the model reads columns where the recipe gives rows: height and width are exchanged"
        yield Change("layout", "sides exchanged", told, inputs=swapped, mend="exchange the two axes before the model")
    if form.dtype != "uint8":
        told = "the model was trained on numbers cut to whole ones, as a cast to int8 leaves them"
        mend = "end preprocess with truncate_to_integer, or take the cast out"
        yield Change("dtype", "whole numbers", told, inputs=np.trunc, mend=mend)
        told = "the model reads the numbers in the other order of bytes"
        yield Change("dtype", "bytes swapped", told, inputs=_swapped, mend="write the input little-endian")


def _as_nhwc(rows: Array) -> Array:
    """Return rows (N, C, H, W) in the same shape, their bytes in the order N, H, W, C."""
    return np.ascontiguousarray(rows.transpose(0, 2, 3, 1)).reshape(rows.shape)


def _as_nchw(rows: Array) -> Array:
    """Return rows (N, H, W, C) in the same shape, their bytes in the order N, C, H, W."""
    return np.ascontiguousarray(rows.transpose(0, 3, 1, 2)).reshape(rows.shape)


def _swapped(rows: Array) -> Array:
    turned = rows.byteswap()
    # What was an ordinary number may be none, or too large to compute with, read so.
    return np.nan_to_num(turned, nan=0.0, posinf=0.0, neginf=0.0).clip(-1e6, 1e6).astype(rows.dtype)
