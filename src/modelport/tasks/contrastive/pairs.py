"""Contrastive accuracy: how often an image's other view is its nearest neighbour (SimCLR, arXiv:2002.05709)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelport.core.errors import DataError
from modelport.core.values import Array
from modelport.tasks.scoring import Score, Ties

# The task depends on it: among more images an image's other view is harder to find.
PAIRS = 128


def similarities(rows: Array) -> Array:
    """Return the cosines of all pairs of rows, float64 (N, N); ``rows`` (N, D) float.

    NaN where a row has no direction (NaN, infinity, all zeros), and on the diagonal.
    """
    wide = rows.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        units = wide / np.sqrt(np.einsum("id,id->i", wide, wide))[:, None]
        # Not by BLAS: its kernels may round equal rows apart where a block ends, and a tie would be none.
        cosines: Array = np.einsum("id,jd->ij", units, units)
    np.fill_diagonal(cosines, np.nan)
    return cosines


def hits(rows: Array) -> Array:
    """Return whether each row's nearest neighbour is its other view, bool (2n,); rows 2i and 2i + 1 are a pair.

    A tie counts against, and so does a row that has no direction, or whose other view has none.
    """
    cosines = similarities(rows)
    index = np.arange(len(rows))
    own = cosines[index, index ^ 1]
    # The other view itself is always >= itself: one less. NaN compares false, hence the separate rule.
    above = (cosines >= own[:, None]).sum(axis=1) - 1
    found: Array = (above == 0) & ~np.isnan(own)
    return found


def published_hits(pairs: Array) -> Array:
    """Return whether each view finds its other one as in the published script, bool (n, 2); ``pairs`` (n, 2, D).

    All is float32, and what differs by rounding alone is told apart by it: a collapsed network's answers too. The
    rows stand as there, all first views and then all second ones. A tie counts for; a row of zeros ties with all.
    """
    n = len(pairs)
    rows = pairs.transpose(1, 0, 2).reshape(2 * n, -1).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        units = rows / np.maximum(lengths, np.float32(1e-12))
        logits = units @ units.T / np.float32(0.07)
    np.fill_diagonal(logits, np.nan)
    index = np.arange(2 * n)
    own = logits[index, (index + n) % (2 * n)]
    found: Array = ~(logits > own[:, None]).any(axis=1) & ~np.isnan(own)
    return found.reshape(2, n).T


def nearest(rows: Array) -> Array:
    """Return each row's nearest neighbour, int64 (N,): the first on a tie, -1 for a row that has no direction."""
    cosines = similarities(rows)
    index: Array = np.where(np.isnan(cosines), -np.inf, cosines).argmax(axis=1)
    return np.where(np.isnan(cosines).all(axis=1), -1, index)


def pairs_hit(found: Array) -> Array:
    """Return of how many pairs no, one and both views found the other, int64 (3,); ``found`` bool (2n,) or (n, 2)."""
    return np.bincount(found.reshape(-1, 2).sum(axis=1), minlength=3)


def top1(counts: Array) -> Score:
    """Return ``contrastive_top1`` in percent of the rows, from what ``pairs_hit`` counts; ``n`` counts images.

    Its standard error is that of pairs: a pair's two rows are not independent of each other.
    """
    _, one, both = counts.tolist()
    n = int(counts.sum())
    mean = (0.5 * one + both) / n
    variance = (0.25 * one + both) / n - mean * mean
    return Score(100.0 * mean, "percent", n, 100.0 * math.sqrt(max(0.0, variance) / n))


def too_few(images: int) -> DataError:
    """Return the error for images that make no batch of pairs."""
    return DataError(
        f"{images} images are too few for contrastive_top1, which tells images apart among {PAIRS}",
        f"give at least {PAIRS} images (--limit {PAIRS} or more)",
    )


def published_found(features: Array, pairs: Array) -> Array:
    """Return whether each view finds its other one as in the published script, bool (batches · images, 2).

    ``features`` (n, 2, D) float: both views of each image; ``pairs`` int (batches, images): the images of each batch,
    drawn with replacement. As there, an image that is drawn twice in a batch is found by nobody unless its views are
    the same, and a tie counts for: the script lists the other view first. Views of 0 and 1 tie often.
    """
    return np.concatenate([published_hits(features[drawn]) for drawn in pairs])


class TiedViews(Ties):
    """Ties of ``contrastive_top1``: no view is nearer than the other one of the image, and some are as near.

    Views of which nothing but zeros is left count too: they have no direction to be near in.
    """

    def __init__(self, output: str, count_as_right: bool = False) -> None:
        super().__init__(["contrastive_top1"])
        self._output, self.count_as_right = output, count_as_right
        self._held: list[Array] = []  # rows that fill no block so far

    def take(self, outputs: dict[str, Array], targets: Sequence[Any]) -> None:
        """Count rows: features (N, D), both views of an image adjacent, in the blocks in which they are scored."""
        joined = np.concatenate([*self._held, outputs[self._output]])
        whole = len(joined) // (2 * PAIRS) * (2 * PAIRS)
        self._held = [joined[whole:]]
        for rows in np.split(joined[:whole], whole // (2 * PAIRS)) if whole else ():
            cosines, index = similarities(rows), np.arange(len(rows))
            own: Array = cosines[index, index ^ 1]
            above, level = (cosines > own[:, None]).sum(axis=1), (cosines >= own[:, None]).sum(axis=1) - 1
            finite: Array = np.asarray(np.isfinite(rows).all(axis=1))
            tied = np.logical_or(np.isnan(own), (above == 0) & (level > 0))
            self.counts["contrastive_top1"] += int((tied & finite & finite[index ^ 1]).sum())
            self.n += len(rows)
