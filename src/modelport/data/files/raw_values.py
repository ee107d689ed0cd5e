"""Raw bytes have no dtype and no axes: whether values read from them can be what a model is fed with or answers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from modelport.core.values import Array, Tensors

# Magnitudes of prepared pixels, features and scores, but for zeros; bytes of another dtype lie far outside in part.
LEAST, MOST = 1e-5, 1e4
# Shares of values outside: one that is odd by itself, one that is where another dtype fits, and one that fits.
ODD, DOUBTED, SOUND = 0.2, 0.05, 0.001
# Values that tell enough, and bytes and rows of a batch that are looked at.
ENOUGH, LOOKED_AT, ROWS = 512, 1 << 20, 4
# How much rougher an image is in the axes of another layout (of drawn pictures 1.8 to 25, of noise 1), and how rough
# what is an image at most is, in standard deviations.
ROUGHER, ROUGH = 1.4, 0.5
# Byte values that the lowest byte of real fractions takes at least.
FRACTIONS = 64
_NAMES = {"<f2": "float16", "<f8": "float64", ">f4": "big-endian float32"}


def dtype_doubt(array: Array) -> str:
    """Say where an array's bytes are no values of its dtype, and which other dtype they would be; else nothing.

    Doubted are float32 of which a fifth is NaN, infinite, below 1e-5 or above 1e4 (a twentieth where another dtype
    fits), and bytes that are fractions of float32. Noise and constants are not.
    """
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)[:LOOKED_AT]
    if array.dtype == np.uint8:
        other = "float32" if _fits(raw, np.dtype("<f4")) else ""
        return f"its bytes are float32 values, read as uint8: {_range_of(raw, '<f4')}" if other else ""
    if array.dtype != np.float32 or raw.size < 4 * ENOUGH:
        return ""
    outside = _outside(raw.view("<f4"))
    if outside < DOUBTED:
        return ""
    said = f"{outside:.0%} of its values are NaN, infinite, below {LEAST:g} or above {MOST:g}, read as float32"
    if found := next((name for name in _NAMES if _fits(raw, np.dtype(name))), None):
        return f"{said}; its bytes are {_NAMES[found]} values: {_range_of(raw, found)}"
    if outside < ODD:
        return ""
    return f"{said}; its bytes are uint8 values, as of pixels" if _smooth(raw) else said


def layout_doubt(array: Array) -> str:
    """Say where images (N, C, H, W) or (N, H, W, C) of three channels are smooth in the other layout only."""
    if array.ndim != 4 or array.dtype.kind not in "fu" or min(array.shape[1:]) != 3 or array[0].size < ENOUGH:
        return ""
    first = array.shape[1] == 3
    if not first and array.shape[3] != 3:
        return ""
    told, other = ("NCHW", "NHWC") if first else ("NHWC", "NCHW")
    n = array.shape[0]
    planes = array if first else array.transpose(0, 3, 1, 2)
    height, width = planes.shape[2:]
    flat = np.ascontiguousarray(array).reshape(n, -1)
    swapped = flat.reshape(n, height, width, 3).transpose(0, 3, 1, 2) if first else flat.reshape(n, 3, height, width)
    as_told, as_other = _roughness(planes), _roughness(swapped)
    if not math.isfinite(as_told) or as_told <= ROUGHER * as_other or as_other > ROUGH:
        return ""
    return (
        f"its rows are {other}, read as {told}: neighbouring pixels differ by {as_told:.2f} standard deviations so, "
        f"and by {as_other:.2f} as {other}"
    )


def size_reading(size: int, values: int, dtype: str) -> str:
    """Say of which dtype but ``dtype`` one row of ``values`` numbers has ``size`` bytes; nothing where of none."""
    for name in ("float16", "float32", "float64", "uint8"):
        if name != dtype and size == values * np.dtype(name).itemsize:
            return f"one row of {name} values has {size} bytes"
    return ""


def doubts_of(tensors: Tensors) -> Iterator[str]:
    """Yield what is to be doubted of tensors that were read from raw files, by name."""
    for name, whole in tensors.items():
        array = whole[:ROWS]
        if doubt := dtype_doubt(array) or layout_doubt(array):
            yield f"{name}: {doubt}"


def _outside(values: Array) -> float:
    """Return the share of floats that are not finite, or neither zero nor of a usual size."""
    with np.errstate(invalid="ignore", over="ignore"):
        sizes = np.abs(values.astype(np.float64))
        return float(1 - np.mean((sizes == 0) | ((sizes >= LEAST) & (sizes <= MOST))))


def _fits(raw: Array, dtype: np.dtype[np.generic]) -> bool:
    """Whether bytes are values of a dtype, all of a usual size, and fractions."""
    whole = raw[: raw.size // dtype.itemsize * dtype.itemsize]
    values = whole.view(dtype)
    if values.size < ENOUGH or _outside(values) > SOUND or not values.any():
        return False
    lowest = whole.reshape(-1, dtype.itemsize)[:, 0 if dtype.byteorder != ">" else -1]
    return dtype.itemsize != 4 or np.unique(lowest).size >= FRACTIONS


def _smooth(raw: Array) -> bool:
    """Whether bytes are alike to their neighbours, or to those three places on, as pixels are."""
    values = raw.astype(np.float64)
    spread = float(values.std())
    return spread > 0 and min(float(np.abs(values[step:] - values[:-step]).mean()) for step in (1, 3)) < spread / 2


def _roughness(planes: Array) -> float:
    """Return the mean difference of neighbouring pixels in both directions, in standard deviations."""
    values = planes.astype(np.float64)
    spread = float(values.std())
    if not spread > 0 or not math.isfinite(spread):
        return 0.0
    return float(np.abs(np.diff(values, axis=2)).mean() + np.abs(np.diff(values, axis=3)).mean()) / 2 / spread


def _range_of(raw: Array, name: str) -> str:
    dtype = np.dtype(name)
    values = raw[: raw.size // dtype.itemsize * dtype.itemsize].view(dtype).astype(np.float64)
    return f"from {values.min():.3g} to {values.max():.3g}"
