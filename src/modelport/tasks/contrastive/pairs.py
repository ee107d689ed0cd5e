"""Contrastive accuracy: how often an image's other view is its nearest neighbour (SimCLR, arXiv:2002.05709)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from modelport.core.errors import DataError, UsageError
from modelport.core.values import Array, Tensors
from modelport.tasks.base import Score
from modelport.tasks.classification.topk import percent

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


class Contrastive:
    """``contrastive_top1`` over rows (N, D) in order, the two views of an image adjacent.

    The rows are cut into batches of 128 pairs, whatever batches they arrive in; what is left over at the end is not
    scored (``unscored``), since fewer images are an easier task. Holds at most one such batch of rows.
    """

    def __init__(self, output: str) -> None:
        self._rows = Blocks()
        self._output = output
        self._pairs_hit = [0, 0, 0]  # pairs of which no, one, both rows found the other

    def update(self, outputs: Tensors, targets: Sequence[Any]) -> None:
        """Take the next rows; the targets are not looked at."""
        for rows in self._rows.cut(outputs[self._output]):
            found = hits(rows).reshape(-1, 2).sum(axis=1)
            self._pairs_hit = [count + int((found == rank).sum()) for rank, count in enumerate(self._pairs_hit)]

    def merge(self, other: Self) -> None:
        """Add what another has counted of the rows that come next.

        Raises UsageError where this one ends amid a batch: rows are told apart among those of their batch only.
        """
        if len(self._rows):
            raise UsageError(
                f"{len(self._rows)} rows are left over where two parts meet", f"cut after a multiple of {PAIRS} images"
            )
        self._pairs_hit = [mine + theirs for mine, theirs in zip(self._pairs_hit, other._pairs_hit, strict=True)]
        self._rows = other._rows.copy()

    @property
    def unscored(self) -> int:
        """Images that are left over so far."""
        return (len(self._rows) + 1) // 2

    def compute(self) -> dict[str, Score]:
        """Return ``contrastive_top1`` in percent of the rows; ``n`` counts images.

        Raises DataError where there are fewer than 128 images.
        """
        if not sum(self._pairs_hit):
            raise too_few(self.unscored)
        return {"contrastive_top1": _score(self._pairs_hit)}


def too_few(images: int) -> DataError:
    """Return the error for images that make no batch of pairs."""
    return DataError(
        f"{images} images are too few for contrastive_top1, which tells images apart among {PAIRS}",
        f"give at least {PAIRS} images (--limit {PAIRS} or more)",
    )


class NeighbourAgreement:
    """Share of rows whose nearest neighbour is the same for two models, in the batches of ``Contrastive``."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._rows = Blocks()
        self._same = 0
        self._n = 0

    def update(self, ours: Tensors, theirs: Tensors) -> None:
        """Take the next rows of both models: the same samples in the same order."""
        both = np.stack([ours[self._output], theirs[self._output]], axis=1)
        for rows in self._rows.cut(both):
            own, other = nearest(rows[:, 0]), nearest(rows[:, 1])
            self._same += int(((own == other) & (own >= 0)).sum())
            self._n += len(rows)

    def compute(self) -> Score:
        """Return the share in percent; ``n`` counts rows. Raises DataError where there are fewer than 128 images."""
        if self._n == 0:
            raise DataError("too few images to compare neighbours", f"give at least {PAIRS} images")
        return percent(self._same, self._n)


def published_top1(features: Array, pairs: Array) -> Score:
    """Return the accuracy as the published script measures it, over batches of images drawn with replacement.

    ``features`` (n, 2, D) float: both views of each image; ``pairs`` int (batches, images): the images of each batch.
    As there, an image that is drawn twice in a batch is found by nobody unless its views are the same, and a tie counts
    for: the script lists the other view first. Views of 0 and 1 tie often. ``n`` counts images drawn.
    """
    counts = [0, 0, 0]
    for drawn in pairs:
        found = published_hits(features[drawn]).sum(axis=1)
        counts = [count + int((found == rank).sum()) for rank, count in enumerate(counts)]
    return _score(counts)


class Blocks:
    """Cuts arriving rows into blocks of 2 · 128, and holds what is left over."""

    def __init__(self) -> None:
        self._held: list[Array] = []

    def __len__(self) -> int:
        return sum(map(len, self._held))

    def copy(self) -> Blocks:
        """Return one that holds the same rows."""
        other = Blocks()
        other._held = list(self._held)
        return other

    def cut(self, rows: Array) -> Iterator[Array]:
        """Yield the blocks that ``rows`` completes."""
        size = 2 * PAIRS
        held = len(self)
        if held + len(rows) < size:
            # A copy: the caller may use its array again.
            self._held.append(rows.copy())
            return
        joined = np.concatenate([*self._held, rows])
        whole = len(joined) // size * size
        self._held = [joined[whole:].copy()] if whole < len(joined) else []
        for start in range(0, whole, size):
            yield joined[start : start + size]


def _score(pairs_hit: Sequence[int]) -> Score:
    """Return the mean over pairs with its standard error; a pair's two rows are not independent of each other."""
    _, one, both = pairs_hit
    n = sum(pairs_hit)
    mean = (0.5 * one + both) / n
    variance = (0.25 * one + both) / n - mean * mean
    return Score(100.0 * mean, "percent", n, 100.0 * math.sqrt(max(0.0, variance) / n))
