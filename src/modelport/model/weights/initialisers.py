"""The distributions that layers' weights are drawn from before training, and telling that a tensor is such a draw."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modelport.model.weights.weight_statistics import Spread

# Excess kurtosis; the variance of a sample's kurtosis times its size, 24 of a normal distribution, of the others as
# measured on 3000 draws of 4096 values; the farthest value in root mean squares (None: none); and within which share of
# it, times the number of values, the farthest one of a draw lies but for one draw in 10^5.
SHAPES = {
    "uniform": (-1.2, 1.35, math.sqrt(3), 12.0),
    # A normal cut off at two standard deviations, of which it then has 0.8796.
    "truncated normal": (-0.634, 3.9, 2 / 0.8796, 60.0),
    "normal": (0.0, 24.0, None, 0.0),
}
DEFAULT = "PyTorch's default (Kaiming uniform, a=√5)"
# Scores that independent draws stay below, over thousands of layers.
DRAWN = 6.0
# Standard errors that figures of a draw keep within.
ERRORS = 5.0
# Fixed standard deviations: of VGG's and MobileNet's linear layers, of transformers, of Inception.
FIXED = (0.001, 0.01, 0.02, 0.1)


def shape_of(found: Spread) -> str | None:
    """Return the distribution that values are an independent draw of, as far as can be told; None for none."""
    if found.structure > DRAWN:
        return None
    for name, (kurtosis, spread, reach, nearest) in SHAPES.items():
        if abs(found.kurtosis - kurtosis) > ERRORS * math.sqrt(spread / found.n):
            continue
        # The root mean square of values up to an edge is uncertain by less than 1 / √(2n).
        slack = ERRORS / math.sqrt(2 * found.n)
        if reach is None or 1 - nearest / found.n - slack < found.reach / reach < 1 + slack:
            return name
    return None


def initialiser_of(shape: tuple[int, ...], drawn: str, found: Spread) -> str:
    """Return the initialiser that draws values of this size for a weight (out, in, *taps); empty for none known.

    ``drawn`` is the distribution. Kaiming's (He 2015), Xavier's (Glorot 2010) and LeCun's, PyTorch's default for linear
    and convolutional layers, and fixed ones. Where the distribution has an edge the values must end there.
    """
    _, _, edge, nearest = SHAPES[drawn]
    for name, std in _candidates(shape):
        if edge is None:
            fits = abs(found.rms / std - 1) < ERRORS / math.sqrt(2 * found.n)
        else:
            fits = 1 - nearest / found.n < found.rms * found.reach / (edge * std) < 1 + 1e-5
        if fits:
            return name
    return ""


def _candidates(shape: tuple[int, ...]) -> Iterator[tuple[str, float]]:
    taps = math.prod(shape[2:])
    into, out = shape[1] * taps, shape[0] * taps
    yield DEFAULT, math.sqrt(1 / (3 * into))
    for side, fan in (("in", into), ("out", out)):
        yield f"Kaiming's, fan {side}", math.sqrt(2 / fan)
        yield f"LeCun's, fan {side}", math.sqrt(1 / fan)
    yield "PyTorch's default, transposed", math.sqrt(1 / (3 * out))
    yield "Xavier's", math.sqrt(2 / (into + out))
    for std in FIXED:
        yield f"a fixed standard deviation of {std:g}", std
        yield f"a fixed standard deviation of {std:g} before it is cut off", 0.8796 * std
    if shape[1] == 1 and taps > 1:
        yield "Kaiming's, fan out of a depthwise layer", math.sqrt(2 / taps)
