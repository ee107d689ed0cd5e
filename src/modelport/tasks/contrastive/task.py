"""Pairs of views: how often they find each other, and whether they find the same neighbours as the source's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Task, own_table
from modelport.tasks.contrastive.lines import judged, over_resamples, recount
from modelport.tasks.contrastive.pairs import PAIRS, TiedViews, hits, nearest, pairs_hit, published_found, too_few, top1
from modelport.tasks.contrastive.recipe_table import Contrastive
from modelport.tasks.judged import Judged, Recounted
from modelport.tasks.ratios import RatioFigures
from modelport.tasks.scoring import Figures, Flips, Rows, Score, Scorer

VIEW_MARK = "#"

# What the published script draws, whatever the size of the set.
DRAWN_BATCHES = 78


class ContrastivePairs(Task):
    """The task ``contrastive``: rows are views, two adjacent ones an image."""

    metrics = ("contrastive_top1", "knn_top1")
    recipe_table = Contrastive
    needs_table = True
    needs_labels = False
    sample_fitter = "modelport.stages.sample_weights.contrastive:fit_contrastive"

    def __init__(self, recipe: Recipe, categories: Sequence[tuple[int, str]] = (), seed: int = 0) -> None:
        super().__init__(recipe, categories, seed)
        self._drawn_seed = seed if own_table(recipe, Contrastive).pairs == "with_replacement" else None

    def scorer(self, against_source: bool) -> PairScorer:
        """Return a scorer of features (N, D)."""
        return PairScorer(self._output, against_source, self._drawn_seed)

    def judged(self, line: Mapping[str, Any], target: Any) -> Judged:
        """Return how many of the views are found; ``surrogate`` where the figure is of drawn pairs."""
        return judged(line, in_order=self._drawn_seed is None)

    def met(self, line: Mapping[str, Any], sample: Mapping[str, Any]) -> Sequence[tuple[float, int]]:
        """Return of each view whether its neighbour is the source's."""
        return [(float(agrees), 1) for agrees in line.get("agrees") or ()]

    def recount(self, lines: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> Recounted:
        """Return the figure of pairs in order; that of drawn pairs would need the features, which no line holds."""
        return Recounted({}, {}) if self._drawn_seed is not None else recount(line for line, _ in lines)

    def ties(self) -> TiedViews:
        """Return what counts equal cosines; in pairs that are drawn with replacement a tie counts as right."""
        return TiedViews(self._output, count_as_right=self._drawn_seed is not None)

    def guide_rows(self, metrics: Mapping[str, Score]) -> list[tuple[str, str]]:
        """Return the one figure that the script prints, in percent, two decimals."""
        return [("accuracy1", f"{round(metrics['contrastive_top1'].value, 2)}%")]


class PairScorer(Scorer):
    """Scores blocks of 128 pairs in order; holds one block, and all features only where pairs are drawn from them."""

    def __init__(self, output: str, against_source: bool, drawn_seed: int | None) -> None:
        self._output = output
        self._seed = drawn_seed
        self._against_source = against_source
        self._counts, self._source_counts = np.zeros(3, np.int64), np.zeros(3, np.int64)
        self._both: list[tuple[Array, Array]] = []  # of each block, how many views of each image engine and source find
        self._flips = Flips()
        self._held: list[tuple[str, Any, Array, Array | None]] = []
        self._all: list[tuple[Array, Array | None]] = []

    def take(self, rows: Rows) -> list[dict[str, Any]]:
        """Take the next rows and return the lines of the blocks that they complete."""
        theirs = [None] * len(rows.ids) if rows.source is None else list(rows.source[self._output])
        features = list(rows.outputs[self._output])
        self._held += zip(rows.ids, rows.targets, features, theirs, strict=True)
        if self._seed is not None:
            self._all += zip(features, theirs, strict=True)
        lines = []
        while len(self._held) >= 2 * PAIRS:
            lines += self._block(self._held[: 2 * PAIRS])
            del self._held[: 2 * PAIRS]
        return lines

    def finish(self) -> list[dict[str, Any]]:
        """Return lines without a score for the images that fill no block."""
        left = self._held[::2]
        return [{"id": name.rpartition(VIEW_MARK)[0], "target": target, "found": None} for name, target, _, _ in left]

    def figures(self) -> Figures:
        """Return contrastive_top1, and the source's on the same images."""
        # One of the 255 other views of a block is the right one.
        chance = {"contrastive_top1": 100.0 / (2 * PAIRS - 1)}
        figures = Figures({}, {} if self._against_source else None, self._flips, [], chance)
        if self._seed is not None:
            self._drawn(figures, self._seed)
            return figures
        if not self._counts.any():
            raise too_few(len(self._held) // 2)
        figures.metrics = {"contrastive_top1": top1(self._counts)}
        if self._both:
            figures.source = {"contrastive_top1": top1(self._source_counts)}
            figures.resampled = over_resamples(*map(np.concatenate, zip(*self._both, strict=True)))
        if self._held:
            figures.notes.append(f"{len(self._held) // 2} images fill no batch of {PAIRS} pairs and are not scored")
        return figures

    def _block(self, block: list[tuple[str, Any, Array, Array | None]]) -> list[dict[str, Any]]:
        ours = np.stack([row for _, _, row, _ in block])
        found = hits(ours)
        self._counts += pairs_hit(found)
        sourced = [row for _, _, _, row in block if row is not None]
        theirs = np.stack(sourced) if len(sourced) == len(block) else None
        lines = []
        theirs_found, agrees = None, None
        if theirs is not None and self._against_source:
            theirs_found = hits(theirs)
            self._source_counts += pairs_hit(theirs_found)
            self._both.append((_found_of(found), _found_of(theirs_found)))
            agrees = self._compare(block, nearest(ours), nearest(theirs))
        for row in range(0, len(block), 2):
            name, target, _, _ = block[row]
            views = slice(row, row + 2)
            line = {"id": name.rpartition(VIEW_MARK)[0], "target": target, "found": found[views].tolist()}
            line["source_found"] = None if theirs_found is None else theirs_found[views].tolist()
            line["agrees"] = None if agrees is None else agrees[views]
            lines.append(line)
        return lines

    def _compare(self, block: list[tuple[str, Any, Array, Array | None]], ours: Array, theirs: Array) -> list[bool]:
        """Count which views have the source's neighbours, and return it."""
        same = [mine == other and mine >= 0 for mine, other in zip(ours.tolist(), theirs.tolist(), strict=True)]
        for (name, target, _, _), mine, other, agrees in zip(block, ours, theirs, same, strict=True):
            flip = {"id": name, "target": target, "source": block[other][0], "engine": block[mine][0]}
            self._flips.add(int(agrees), 1, flip)
        return same

    def _drawn(self, figures: Figures, seed: int) -> None:
        """Take the figures of pairs that are drawn with replacement."""
        ours = _pairs([row for row, _ in self._all])
        if len(ours) < PAIRS:
            raise too_few(len(ours))
        drawn = drawn_pairs(len(ours), seed)
        figures.notes.append(f"pairs drawn with replacement, seed {seed}, as the published script draws them")
        found = published_found(ours, drawn)
        figures.metrics = {"contrastive_top1": top1(pairs_hit(found))}
        kept = [row for _, row in self._all if row is not None]
        if self._against_source and len(kept) == len(self._all):
            theirs = published_found(_pairs(kept), drawn)
            figures.source = {"contrastive_top1": top1(pairs_hit(theirs))}
            times = np.bincount(drawn.ravel())
            mine, other = (np.bincount(drawn.ravel(), 50.0 * _found_of(side))[times > 0] for side in (found, theirs))
            # An image counts with all its places in the batches that were drawn, which stay.
            figures.resampled = RatioFigures({"contrastive_top1": (mine, other, times[times > 0])})


def _found_of(found: Array) -> Array:
    """Return how many views of each image are found, uint8 (n,); ``found`` bool (2n,) or (n, 2)."""
    return np.asarray(found.reshape(-1, 2).sum(axis=1, dtype=np.uint8))


def _pairs(rows: list[Array]) -> Array:
    """Return rows (2n, D) as pairs (n, 2, D)."""
    stacked = np.stack(rows)
    return stacked.reshape(-1, 2, stacked.shape[-1])


def drawn_pairs(images: int, seed: int) -> Array:
    """Return which images make each batch, int64 (78, 128), drawn with replacement, however many images there are.

    The published script's own draw is not seeded and cannot be repeated.
    """
    return np.random.default_rng(seed).integers(images, size=(DRAWN_BATCHES, PAIRS))
