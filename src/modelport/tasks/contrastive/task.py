"""Pairs of views: how often they find each other, and whether they find the same neighbours as the source's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelport.core.values import Array
from modelport.recipes.schema import Recipe
from modelport.tasks.base import Figures, Flips, Rows, Score, Scorer, Task, own_table
from modelport.tasks.contrastive.pairs import PAIRS, TiedViews, hits, nearest, pairs_hit, published_top1, too_few, top1
from modelport.tasks.contrastive.recipe_table import Contrastive

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
        notes = []
        if self._seed is None:
            if not self._counts.any():
                raise too_few(len(self._held) // 2)
            metrics = {"contrastive_top1": top1(self._counts)}
            source = {"contrastive_top1": top1(self._source_counts)} if self._source_counts.any() else {}
            if self._held:
                notes.append(f"{len(self._held) // 2} images fill no batch of {PAIRS} pairs and are not scored")
        else:
            metrics, source = self._drawn()
            notes.append(f"pairs drawn with replacement, seed {self._seed}, as the published script draws them")
        # One of the 255 other views of a block is the right one.
        chance = {"contrastive_top1": 100.0 / (2 * PAIRS - 1)}
        theirs = source if self._against_source else None
        return Figures(metrics, theirs, self._flips, notes, chance)

    def _block(self, block: list[tuple[str, Any, Array, Array | None]]) -> list[dict[str, Any]]:
        ours = np.stack([row for _, _, row, _ in block])
        found = hits(ours)
        self._counts += pairs_hit(found)
        sourced = [row for _, _, _, row in block if row is not None]
        theirs = np.stack(sourced) if len(sourced) == len(block) else None
        lines = []
        theirs_found = None if theirs is None else hits(theirs)
        if theirs is not None and theirs_found is not None and self._against_source:
            self._source_counts += pairs_hit(theirs_found)
            self._compare(block, nearest(ours), nearest(theirs))
        for row in range(0, len(block), 2):
            name, target, _, _ = block[row]
            line = {"id": name.rpartition(VIEW_MARK)[0], "target": target, "found": found[row : row + 2].tolist()}
            line["source_found"] = None if theirs_found is None else theirs_found[row : row + 2].tolist()
            lines.append(line)
        return lines

    def _compare(self, block: list[tuple[str, Any, Array, Array | None]], ours: Array, theirs: Array) -> None:
        for (name, target, _, _), mine, other in zip(block, ours, theirs, strict=True):
            flip = {"id": name, "target": target, "source": block[other][0], "engine": block[mine][0]}
            self._flips.add(int(mine == other and mine >= 0), 1, flip)

    def _drawn(self) -> tuple[dict[str, Score], dict[str, Score]]:
        ours = _pairs([row for row, _ in self._all])
        if len(ours) < PAIRS:
            raise too_few(len(ours))
        assert self._seed is not None
        drawn = drawn_pairs(len(ours), self._seed)
        metrics = {"contrastive_top1": published_top1(ours, drawn)}
        kept = [row for _, row in self._all if row is not None]
        source = {"contrastive_top1": published_top1(_pairs(kept), drawn)} if len(kept) == len(self._all) else {}
        return metrics, source


def _pairs(rows: list[Array]) -> Array:
    """Return rows (2n, D) as pairs (n, 2, D)."""
    stacked = np.stack(rows)
    return stacked.reshape(-1, 2, stacked.shape[-1])


def drawn_pairs(images: int, seed: int) -> Array:
    """Return which images make each batch, int64 (78, 128), drawn with replacement, however many images there are.

    The published script's own draw is not seeded and cannot be repeated.
    """
    return np.random.default_rng(seed).integers(images, size=(DRAWN_BATCHES, PAIRS))
