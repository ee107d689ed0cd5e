"""What the values of one weight tensor tell by themselves: how they are spread, and whether their places matter."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from modelport.core.magnitude import root_mean_square
from modelport.core.values import Array

# Values of a tensor that are by themselves: the gap below the largest, and how far they reach, in root mean squares of
# the rest. Between the weights of five published networks the widest gap was 3 and the furthest reach 184; of their
# biases and statistics, which are few and spread further, 20 and 100.
GAP, REACH, LONE = 20.0, 500.0, 1000.0
# Values that a tensor must have to be judged so, and that can be by themselves: MOST, and one in SHARE. In the sparse
# last layers of LPIPS, of 64 values, a dozen are 10^5 times as large as all others.
FEWEST, MOST, SHARE = 8, 16, 128
# A tensor is judged by so many of its values at most, whole rows of it: more tell nothing new.
LOOKED_AT = 1 << 17
# Rows and columns of the block whose largest singular value is looked at.
BLOCK = (128, 512)
# Places are judged by values cut off here, in root mean squares: one outlier is no structure.
CUT = 2.5
# So many values beyond so many root mean squares are looked away from.
STRAYS, STRAY = 4, 7.0
# Score from which on rows are of different size.
UNEVEN = 5.0


@dataclass(frozen=True, slots=True)
class Spread:
    """How the values of a layer's weights are spread. ``n`` of them were looked at.

    A score is how many standard errors a figure is from where it would be if the values were drawn independently of
    each other and of their place.
    """

    n: int
    rms: float
    kurtosis: float  # excess: 0 of a normal distribution, -1.2 of a uniform one
    mean_score: float
    reach: float  # the largest magnitude, in root mean squares
    rows: float  # score: the output channels differ in size
    channels: float  # largest score: input or output channels differ in sign, input channels in size
    taps: float  # largest score: taps differ in size or sign, neighbouring ones are alike; 0 where there is one
    spectrum: float  # score of the largest singular value against Marchenko and Pastur's edge

    @property
    def places(self) -> float:
        """The largest score of what hangs on places; not the size of rows, which a folded batch norm changes too."""
        return max(self.channels, self.taps, abs(self.spectrum))

    @property
    def structure(self) -> float:
        """The largest score of what no draw has: of places, and of the mean."""
        return max(self.places, abs(self.mean_score))

    @property
    def even(self) -> bool:
        """Whether all rows are of one size, as far as chance goes."""
        return abs(self.rows) < UNEVEN

    @property
    def kurtosis_score(self) -> float:
        """How many standard errors the kurtosis is from a normal distribution's."""
        return self.kurtosis / math.sqrt(24 / self.n)


def spread(weight: Array) -> Spread | None:
    """Return how the values of a weight (out, in, *taps), of two axes at least, are spread; None of a constant one."""
    rows = _without_strays(_sampled(weight))
    n, rms = rows.size, math.sqrt(float(np.mean(np.square(rows))))
    if rms == 0 or not math.isfinite(rms) or float(rows.min()) == float(rows.max()):
        return None
    rows = rows / rms
    cut = np.clip(rows, -CUT, CUT)
    by_row, per_row = _unevenness(np.square(cut), 0), rows.size // rows.shape[0]
    few = 0.0
    if by_row > UNEVEN and per_row > 1:
        # A folded batch norm scales each row: all else is judged by rows of one size. A normal distribution's kurtosis
        # falls by 6 / (k + 2) where k values are divided by their own root mean square.
        size = np.sqrt(np.mean(np.square(rows), axis=tuple(range(1, rows.ndim)), keepdims=True))
        rows, few = rows / np.maximum(size, 1e-30), 6 / (per_row + 2)
        cut = np.clip(rows, -CUT, CUT)
    kurtosis = float(np.mean(np.square(np.square(rows - rows.mean())))) / float(rows.var()) ** 2 - 3 + few
    # A mean of all values is no structure of places.
    cut = cut - cut.mean()
    return Spread(
        n, rms, kurtosis, float(rows.mean()) * math.sqrt(n), float(np.abs(rows).max()), by_row,
        _channels(cut), _taps(cut), _spectrum(cut),
    )  # fmt: skip


def _sampled(weight: Array) -> Array:
    """Return whole rows of a weight, evenly over it, in float64."""
    shape = weight.shape
    per_row = max(1, math.prod(shape[1:]))
    count = max(min(2, shape[0]), LOOKED_AT // per_row)
    taken = weight if count >= shape[0] else weight[np.linspace(0, shape[0] - 1, count).astype(int)]
    if taken.size > 2 * LOOKED_AT:
        taken = taken[:, :: max(1, taken.size // LOOKED_AT)]
    return taken.astype(np.float64)


def _without_strays(rows: Array) -> Array:
    """Return values with a few that lie far out set to zero: PyTorch's truncated normal leaves some at its bounds."""
    sizes = np.abs(rows)
    far = sizes > STRAY * math.sqrt(float(np.mean(np.square(rows))))
    return np.where(far, 0.0, rows) if 0 < np.count_nonzero(far) <= STRAYS else rows


def _unevenness(values: Array, axis: int) -> float:
    """Return the score of how much the means over an axis' entries differ from each other."""
    groups = values.shape[axis]
    each = values.size // groups if groups else 0
    if groups < 2 or each < 2:
        return 0.0
    means = values.mean(axis=tuple(place for place in range(values.ndim) if place != axis))
    variance = float(values.var())
    if variance == 0:
        return 0.0
    centred = np.square(values - values.mean())
    kurtosis = float(np.mean(np.square(centred))) / variance**2 - 3
    # Of independent values the sum of squared group means is chi-squared but for a fourth moment that few values keep.
    total = float(np.square(means - means.mean()).sum()) * each / variance
    return float(total - (groups - 1)) / math.sqrt(2 * (groups - 1) * max(0.2, 1 + kurtosis / (2 * each)))


def _channels(cut: Array) -> float:
    # Trained rows may also be more even than chance: batch norms and weight decay make them so.
    return max(abs(_unevenness(np.square(cut), 1)), abs(_unevenness(cut, 1)), abs(_unevenness(cut, 0)))


def _taps(cut: Array) -> float:
    """Return the largest score of differences between taps, and of their likeness to their neighbours.

    Kernels as a whole may differ: taps are taken from their kernel's mean. Of K taps in any order the product of two is
    then -s²/(K - 1) in the mean, where s² is their mean square.
    """
    count = math.prod(cut.shape[2:])
    if count < 2:
        return 0.0
    centred = cut - cut.mean(axis=tuple(range(2, cut.ndim)), keepdims=True)
    squares, scores = np.square(centred), [0.0]
    for axis in (axis for axis in range(2, cut.ndim) if cut.shape[axis] > 1):
        scores += [abs(_unevenness(squares, axis)), abs(_unevenness(centred, axis))]
        before, after = (np.take(centred, range(start, cut.shape[axis] - 1 + start), axis) for start in (0, 1))
        products = before * after
        away, error = float(products.mean()) + float(squares.mean()) / (count - 1), float(products.std())
        scores.append(abs(away) * math.sqrt(products.size) / error if error else 0.0)
    return max(scores)


def _spectrum(cut: Array) -> float:
    """Return the score of the largest singular value of a block: Tracy and Widom's scale, Johnstone 2001."""
    flat = cut.reshape(cut.shape[0], -1)
    flat = flat[: BLOCK[0], : BLOCK[1]] if flat.shape[0] <= flat.shape[1] else flat[: BLOCK[1], : BLOCK[0]].T
    few, many = flat.shape
    if few < 4:
        return 0.0
    flat = flat / math.sqrt(float(np.square(flat).mean()))
    largest = float(np.linalg.eigvalsh(flat @ flat.T)[-1])
    # Johnstone's centre and scale for real entries.
    low, high = math.sqrt(few), math.sqrt(many - 1)
    centre, scale = (low + high) ** 2, (low + high) * (1 / low + 1 / high) ** (1 / 3)
    # Tracy and Widom's law of order one has mean -1.21 and standard deviation 1.27.
    return float((largest - centre) / scale + 1.21) / 1.27


def outliers(values: Array) -> int:
    """Return how many of a tensor's magnitudes lie beyond a gap that trained tensors do not have; 0 of a small one.

    The gap is GAP times the next magnitude, and REACH times the root mean square of all below it; of a vector LONE
    times both. All values must be finite.
    """
    if values.size < FEWEST:
        return 0
    gap, reach = (GAP, REACH) if values.ndim > 1 else (LONE, LONE)
    few = min(MOST, max(1, values.size // SHARE))
    largest, rms = largest_of(values), root_mean_square(values)
    # What so many values of that size alone would make of the root mean square: looking at each value takes longer.
    if largest < 0.5 * rms / math.sqrt(few / values.size + 1 / reach**2):
        return 0
    sizes = np.abs(values).ravel()
    top = np.sort(np.partition(sizes, sizes.size - few - 1)[-few - 1 :])[::-1].astype(np.float64)
    for count in range(few, 0, -1):
        if top[count - 1] <= gap * top[count]:
            continue
        rest = root_mean_square(sizes[sizes <= top[count]])
        if top[count - 1] > reach * rest > 0:
            return count
    return 0


def largest_of(values: Array) -> float:
    """Return the largest magnitude; NaN where one is."""
    return float(max(values.max(), -values.min())) if values.size else 0.0
