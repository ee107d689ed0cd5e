"""How large the values of a tensor are, added up in float64 without a copy of the whole."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from modelport.core.values import Array

# Values that are looked at at once: they stay in the processor's cache as float64, and are too few for BLAS to wake its
# threads (10,000 in OpenBLAS), which wait for each other where the cores are shared.
CHUNK = 1 << 13


def chunks(array: Array) -> Iterator[Array]:
    """Yield the values of a numeric tensor of any shape in order, as float64 vectors of CHUNK values at most."""
    flat = array.reshape(-1)
    for begin in range(0, flat.size, CHUNK):
        yield flat[begin : begin + CHUNK].astype(np.float64)


def root_mean_square(array: Array) -> float:
    """Return the root mean square of a tensor; 0 for one without elements, NaN or infinite where a value is.

    Infinite as well where float64 cannot hold the squares.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return math.sqrt(sum(float(part @ part) for part in chunks(array)) / array.size) if array.size else 0.0
