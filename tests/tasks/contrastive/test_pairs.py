"""Contrastive accuracy equals the reference's, and its definition in plain loops; batches change nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelport.core.errors import DataError
from modelport.core.values import RowId
from modelport.tasks.contrastive.pairs import hits, nearest, pairs_hit, published_found, published_hits, top1
from modelport.tasks.contrastive.task import PairScorer
from modelport.tasks.scoring import Rows as Answers
from modelport.tasks.scoring import Score

GOLDEN = Path(__file__).parents[2] / "golden"
FEATURES = np.load(GOLDEN / "contrastive.npz")["features"]
WANT = json.loads((GOLDEN / "metrics.json").read_text())
ROWS = FEATURES.reshape(-1, FEATURES.shape[2])

Rows = NDArray[np.float32]


def scorer(rows: Rows, batch: int = 1000) -> PairScorer:
    made = PairScorer("output", False, None)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        ids = [RowId(str(row // 2), row % 2) for row in range(start, start + len(part))]
        made.take(Answers(ids, [0] * len(part), {"output": part}, None))
    return made


def scored(rows: Rows, batch: int = 1000) -> Score:
    return scorer(rows, batch).figures().metrics["contrastive_top1"]


def published_top1(features: NDArray[np.float32], pairs: NDArray[np.int64]) -> Score:
    return top1(pairs_hit(published_found(features, pairs)))


def in_loops(rows: Rows) -> list[bool]:
    """Return what the definition says of each row, in exact order of the words."""
    found = []
    for index, row in enumerate(rows.tolist()):
        similar = []
        for other in rows.tolist():
            length = math.hypot(*row) * math.hypot(*other)
            similar.append(sum(a * b for a, b in zip(row, other, strict=True)) / length if length else math.nan)
        own = similar[index ^ 1]
        others = [value for place, value in enumerate(similar) if place not in (index, index ^ 1)]
        found.append(not math.isnan(own) and not any(value >= own for value in others))
    return found


def test_equals_the_reference_figures() -> None:
    per_batch = [100 * hits(ROWS[start : start + 256]).mean() for start in range(0, len(ROWS), 256)]
    assert per_batch == WANT["contrastive_accuracy_percent_per_batch_of_128"]
    score = scored(ROWS)
    assert (score.value, score.unit, score.n) == (WANT["contrastive_accuracy_percent"], "percent", 512)


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.sampled_from([-2.0, 0.0, 1.0, 3.0])] * 3), min_size=4, max_size=14), st.integers(0, 99))
def test_a_hit_is_what_the_definition_says(points: list[tuple[float, ...]], seed: int) -> None:
    rows = np.array(points[: len(points) // 2 * 2], np.float32)
    # Off the grid: cosines that are equal on paper only would be rounded apart differently.
    rows = (rows + (rows.any(axis=1, keepdims=True)) * np.random.default_rng(seed).normal(0, 1e-3, rows.shape)).astype(
        np.float32
    )
    assert hits(rows).tolist() == in_loops(rows)


@given(st.permutations(range(8)), st.floats(0.01, 100))
def test_neither_the_order_of_pairs_nor_length_matters(order: list[int], scale: float) -> None:
    rows = np.random.default_rng(1).normal(size=(8, 2, 3)).astype(np.float32)
    moved = rows[order] * np.float32(scale)
    assert hits(moved.reshape(16, 3)).reshape(8, 2).tolist() == hits(rows.reshape(16, 3)).reshape(8, 2)[order].tolist()


@pytest.mark.parametrize("batch", [1, 3, 255, 256, 257, 700])
def test_batches_change_nothing(batch: int) -> None:
    assert scored(ROWS, batch) == scored(ROWS)


@pytest.mark.parametrize(("images", "unscored"), [(128, 0), (129, 1), (255, 127), (256, 0)])
def test_what_is_left_over_is_not_scored(images: int, unscored: int) -> None:
    made = scorer(ROWS[: 2 * images])
    assert len(made.finish()) == unscored
    assert made.figures().metrics["contrastive_top1"].n == images - unscored


def test_fewer_images_than_a_batch_are_an_error() -> None:
    made = scorer(ROWS[:254])
    assert len(made.finish()) == 127
    with pytest.raises(DataError, match=r"127 images are too few.*\n  fix: give at least 128"):
        made.figures()


def test_a_network_that_collapsed_scores_nothing() -> None:
    for value in (1.0, 0.1, -3e-7):
        same = np.full((256, 128), value, np.float32)
        assert not hits(same).any()
        assert scored(same).value == 0.0
    noisy = np.tile(np.random.default_rng(0).normal(size=128), (256, 1)).astype(np.float32)
    assert not hits(noisy).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_row_without_direction_is_wrong_and_so_is_its_other_view(bad: float) -> None:
    rows = np.repeat(np.eye(6, dtype=np.float32), 2, axis=0)
    assert hits(rows).all()
    rows[5] = bad if bad == 0 else [bad, 1, 1, 1, 1, 1]
    assert hits(rows).tolist() == [index not in (4, 5) for index in range(12)]
    assert nearest(rows)[5] == -1


def test_nearest_is_the_argmax_without_oneself() -> None:
    rows = ROWS[:256]
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = units @ units.T - 9 * np.eye(256)
    np.testing.assert_array_equal(nearest(rows), cosines.argmax(axis=1))
    np.testing.assert_array_equal(hits(rows), nearest(rows) == np.arange(256) ^ 1)


def test_agreement_is_the_share_of_equal_neighbours() -> None:
    other = ROWS + np.random.default_rng(0).normal(0, 0.3 * ROWS.std(), ROWS.shape).astype(np.float32)
    other[7] = np.nan
    blocks = [slice(start, start + 256) for start in range(0, len(ROWS), 256)]
    same = np.concatenate([nearest(ROWS[block]) == nearest(other[block]) for block in blocks])
    assert 0.2 < same.mean() < 0.99
    for theirs, met in ((other, int(same.sum())), (ROWS, 1024)):
        made = PairScorer("output", True, None)
        ids = [RowId(str(row // 2), row % 2) for row in range(1024)]
        made.take(Answers(ids, [0] * 1024, {"output": ROWS}, {"output": theirs}))
        assert (made.figures().flips.met, made.figures().flips.of) == (met, 1024)


def test_the_standard_error_is_that_of_pairs() -> None:
    pairs = hits(ROWS[:256]).reshape(-1, 2).mean(axis=1)
    score = scored(ROWS[:256])
    assert score.stderr == pytest.approx(100 * pairs.std() / np.sqrt(128))


def test_an_image_drawn_twice_is_found_by_nobody() -> None:
    first = np.eye(8, dtype=np.float32)
    features = np.stack([first, first + 0.1 * np.roll(first, 1, axis=1)], axis=1)
    assert published_top1(features, np.array([[0, 1, 2, 3]])).value == 100.0
    score = published_top1(features, np.array([[0, 1, 2, 2], [4, 4, 4, 5]]))
    assert (score.value, score.n) == (37.5, 8)


def test_a_tie_counts_as_in_the_published_script() -> None:
    """There the other view's logit comes first, and the first of the greatest is taken."""
    features = np.random.default_rng(0).integers(-1, 2, (40, 2, 3)).astype(np.float32)
    assert not features.any(axis=2).all()
    drawn = np.random.default_rng(1).integers(40, size=(5, 16))
    found = []
    for images in drawn:
        rows = features[images].astype(np.float64).transpose(1, 0, 2).reshape(32, 3)
        lengths = np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
        cosines = rows @ rows.T / np.outer(lengths, lengths)
        for row in range(32):
            other = (row + 16) % 32
            rest = [index for index in range(32) if index not in (row, other)]
            logits = np.concatenate([[cosines[row, other]], cosines[row, rest]]).round(9)
            found.append(logits.argmax() == 0)
    assert 0 < np.mean(found) < 1
    assert published_top1(features, drawn).value == pytest.approx(100 * np.mean(found))


def test_published_top1_without_repeats_is_contrastive_top1() -> None:
    score = published_top1(FEATURES, np.arange(512).reshape(4, 128))
    assert score == scored(ROWS)


def test_the_published_cosines_are_the_scripts_in_float32() -> None:
    rng = np.random.default_rng(2)
    # A collapsed network: the answers differ by less than float32 tells cosines apart.
    collapsed = (rng.normal(size=128) + 2e-4 * rng.normal(size=(128, 2, 128))).astype(np.float32)
    for pairs in (collapsed, rng.normal(size=(128, 2, 128)).astype(np.float32)):
        rows = torch.nn.functional.normalize(torch.from_numpy(np.concatenate([pairs[:, 0], pairs[:, 1]])), dim=1)
        logits = (rows @ rows.T / 0.07).numpy()
        index = np.arange(256)
        own = logits[index, (index + 128) % 256][:, None]
        np.fill_diagonal(logits, -np.inf)
        want = (logits <= own).all(axis=1).reshape(2, 128).T
        # The two libraries' products may differ in the last bit, which decides where a network has collapsed.
        assert abs(published_hits(pairs).mean() - want.mean()) < 0.1
