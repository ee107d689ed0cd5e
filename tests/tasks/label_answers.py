"""Drawn answers of the tasks whose labels are no one class, and what their scorers say of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from label_recipes import CASES

from modelport.core.values import RowId
from modelport.recipes.load import load_recipe
from modelport.tasks.base import Task
from modelport.tasks.judged import Recounted
from modelport.tasks.scoring import Figures, Rows
from modelport.tasks.table import task_of

CONTRASTIVE = ("contrastive", "contrastive-drawn")


@dataclass(frozen=True)
class Answers:
    """What a network and its source answer (N, …), and the labels; of two views an image in the contrastive task."""

    engine: Any
    source: Any
    targets: list[Any]

    def repeated(self, weights: Any) -> Answers:
        """Return each row as often as its weight says."""
        rows = np.repeat(np.arange(len(self.targets)), weights)
        return Answers(self.engine[rows], self.source[rows], [self.targets[row] for row in rows])


@cache
def task_named(name: str) -> Task:
    """Return the task of a recipe that needs no network, with the seed 3."""
    if name in CONTRASTIVE:
        recipe = load_recipe("simclr").with_variant("published" if name == "contrastive-drawn" else None)
    else:
        with TemporaryDirectory() as folder:
            recipe = load_recipe(str(CASES[name].write(Path(folder) / "x.toml", "null")))
    return task_of(recipe, (), 3)


def _text_scores(texts: list[str], rng: Any) -> Any:
    """Return scores (N, 20, 11) that mostly read the texts, each character followed by a blank."""
    best = np.zeros((len(texts), 20), int)
    for row, text in enumerate(texts):
        best[row, : 2 * len(text) : 2] = [int(letter) + 1 for letter in text]
    return (np.eye(11)[best] + rng.normal(0, 0.27, (len(texts), 20, 11))).astype(np.float32)


def drawn(name: str, seed: int = 0, n: int = 60) -> Answers:
    """Return answers that are often right and not always the same; the engine's row 3 holds a NaN, as does 4's."""
    rng = np.random.default_rng(seed)
    targets: list[Any]
    if name == "multilabel":
        truth = rng.random((n, 5)) < (0.1, 0.3, 0.0, 0.5, 0.6)  # a class that no image has
        targets = [tuple(np.flatnonzero(row).tolist()) for row in truth]
        right = rng.normal(size=(n, 5)) + 1.5 * truth - 0.5
    elif name == "regression":
        targets = [tuple(row) for row in (rng.normal(size=(n, 3)) * (1.0, 20.0, 0.0) + (0, 300, 5)).tolist()]
        right = np.array(targets) + rng.normal(size=(n, 3)) * (0.3, 9.0, 0.1)
    elif name == "text":
        targets = ["".join(rng.choice(list("0123456789"), rng.integers(0, 6))) for _ in range(n)]
        right = _text_scores(targets, rng)
    elif name == "embeddings":
        labels = rng.integers(0, 9, n)
        targets = labels.tolist()
        targets[0] = 99  # an identity of one image
        right = rng.normal(size=(9, 48))[labels] + 3.0 * rng.normal(size=(n, 48))
    else:
        targets = [0] * (2 * n)
        right = np.repeat(rng.normal(size=(n, 8)), 2, axis=0) + 0.8 * rng.normal(size=(2 * n, 8))
    engine = (right + 0.15 * right.std() * rng.normal(size=right.shape)).round(1).astype(np.float32)
    source = right.round(1).astype(np.float32)
    engine[3] = np.nan
    engine[4].flat[0] = source[4].flat[0] = np.nan
    return Answers(engine, source, targets)


def scored(task: Task, answers: Answers, without_source: range = range(0), step: int = 13) -> tuple[Figures, list[Any]]:
    """Score some rows at a time; return the lines as they are read again."""
    scorer, lines, output = task.scorer(True), list[Any](), task._recipe.tensors.outputs[0].name
    views = 2 if task._recipe.task == "contrastive" else 1
    for start in range(0, len(answers.targets), step * views):
        part = slice(start, start + step * views)
        targets = answers.targets[part]
        ids = [
            RowId(f"i{(start + row) // views}", (start + row) % 2 if views > 1 else None) for row in range(len(targets))
        ]
        theirs = None if start in without_source else {output: answers.source[part]}
        lines += scorer.take(Rows(ids, targets, {output: answers.engine[part]}, theirs))
    lines += scorer.finish()
    return scorer.figures(), [json.loads(json.dumps(line, allow_nan=False)) for line in lines]


def recounted(name: str, lines: list[Any]) -> Recounted:
    """Return what the lines of a result give."""
    found = task_named(name).recount((line, {}) for line in lines)
    assert found is not None
    return found


def assert_recounted(name: str, lines: list[Any], figures: Figures) -> None:
    """The lines give the figures of the result, and the same over resamples."""
    found = recounted(name, lines)
    assert (found.resampled is None) == (figures.resampled is None)
    if found.resampled is not None and figures.resampled is not None:
        n = found.resampled.images
        assert (n, found.resampled.differ) == (figures.resampled.images, figures.resampled.differ)
        weights = np.bincount(np.random.default_rng(n).integers(n, size=n), minlength=n)
        for got, want in zip(*(side.figures(weights) for side in (found.resampled, figures.resampled)), strict=True):
            assert got == pytest.approx(want, rel=1e-12, nan_ok=True)
    for got, want in zip((found.metrics, found.source), values_of(figures), strict=True):
        assert got == pytest.approx(want, rel=1e-9)


def size_of(name: str) -> int:
    """Return how many images make figures of the task."""
    return 140 if name in CONTRASTIVE else 60


def values_of(figures: Figures) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of engine and source."""
    assert figures.source is not None
    mine, theirs = ({name: score.value for name, score in side.items()} for side in (figures.metrics, figures.source))
    return mine, theirs
