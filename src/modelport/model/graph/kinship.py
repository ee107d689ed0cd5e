"""Whether a graph holds other weights of the same network: of another epoch, or of another training."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import numpy as np

from modelport.core.values import Array

# Values that tell whether two layers are alike, and in a row; and by how many standard errors related ones are.
ENOUGH, WIDE, RELATED = 256, 9, 7.0
# A share of the layers that must be alike, or there in shape alone.
MOST = 0.8


def kinship(state: Mapping[str, Array], lost: Collection[str], constants: Iterable[tuple[str, Array]]) -> str:
    """Say how the layers that are ``lost`` are related to a graph's constants of the same shape.

    Empty where they are not, or where they are less than half of the layers: then it is these that changed.

    Nothing tells here which constant is which layer's. Where each layer's own is known, ``diagnose.trace`` compares
    these two alone, and tells what became of each.

    Layers are compared by the cosine of their output channels (rows), each of length 1 and either sign, which a folded
    batch norm leaves as it is.
    """
    known = {name: value for name, value in state.items() if value.ndim > 1 and value.size >= ENOUGH}
    layers = {name: value for name, value in known.items() if name in lost}
    if not layers or 2 * len(layers) < len(known):
        return ""
    by_shape: dict[tuple[int, ...], list[Array]] = {}
    for _, value in constants:
        for form in (value, value.T) if value.ndim == 2 else (value,):
            by_shape.setdefault(form.shape, []).append(form)
    found = {
        name: max(_likeness(value, other) for other in by_shape[value.shape])
        for name, value in layers.items()
        if value.shape in by_shape
    }
    if len(found) < MOST * len(layers):
        return ""
    alike = [cosine for score, cosine in found.values() if score > RELATED]
    if len(alike) >= MOST * len(layers):
        return (
            f"other weights, same network: {len(alike)} of {len(layers)} layers are like the graph's (median cosine "
            f"{float(np.median(alike)):.3f}) and not the same: another epoch, averaged weights, or a fine-tuned network"
        )
    return (
        f"other weights, same network: the graph has layers of the shapes of {len(found)} of {len(layers)}, "
        f"{len(alike)} of them alike: another training"
    )


def _likeness(one: Array, other: Array) -> tuple[float, float]:
    """Return by how many standard errors rows are more alike than unrelated ones, and their cosine."""
    wide = one.size // len(one) >= WIDE
    first, second = (value.reshape(len(value) if wide else 1, -1).astype(np.float64) for value in (one, other))
    sizes = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = np.einsum("ij,ij->i", first, second)[sizes > 0] / sizes[sizes > 0]
    if not cosines.size:
        return 0.0, 0.0
    # Squares, for a negative scale of a folded norm turns a row round. Of unrelated rows of k values they are 1/k in
    # the mean, with a standard deviation of √2/k.
    squares, values = float(np.mean(np.square(cosines))), first.shape[1]
    score = (squares * values - 1) * math.sqrt(cosines.size / 2)
    return score, math.sqrt(squares)
