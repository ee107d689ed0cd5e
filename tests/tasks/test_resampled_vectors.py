"""Pairs and searches where images, or identities, count a number of times: pair by pair, query by query."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from label_answers import assert_recounted, drawn, scored, task_named, values_of

from modelport.tasks.embeddings import asked as asked_module
from modelport.tasks.embeddings import pairs as pairs_module
from modelport.tasks.embeddings import retrieval as retrieval_module
from modelport.tasks.embeddings.pairs import directions


def _by_hand(units: Any, labels: Any, weights: Any, count: Any, pairs: Any, queries: Any) -> dict[str, float]:
    """Return the figures of pairs that count so often, and of queries that count as often as their image."""
    cosines = np.nan_to_num((units @ units.T).round(12), nan=-2.0)
    told = [(cosines[i, j], labels[i] == labels[j], count(i, j)) for i, j in pairs]
    best, at_rate = 0.0, 0.0
    total = {same: sum(count for _, kind, count in told if kind == same) for same in (True, False)}
    for threshold in [*sorted({cosine for cosine, _, _ in told}), np.inf]:
        passed = {same: sum(c for v, kind, c in told if kind == same and v >= threshold) for same in (True, False)}
        accepted, wrong = passed[True] / total[True], passed[False] / total[False]
        best, at_rate = max(best, (accepted + 1 - wrong) / 2), max(at_rate, accepted if wrong <= 1e-3 else 0.0)
    precisions, asked = [], []
    for query in queries:
        others = np.arange(len(labels)) != query
        scores, same = cosines[query][others], (labels == labels[query])[others]
        each, counts = [same[scores >= score].mean() for score in scores[same]], weights[others][same]
        asked.append(weights[query] if counts.any() else 0)
        precisions.append(np.average(each, weights=counts) if counts.any() else 0.0)
    mean = np.average(precisions, weights=asked)
    return {"verification_accuracy": 100 * best, "tar_at_far_1e-3": 100 * at_rate, "retrieval_mAP": 100 * mean}


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("by_identity", [False, True])
def test_a_pair_counts_by_both_images_and_a_query_by_its_own(
    few: bool, by_identity: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_identity:
        monkeypatch.setattr(asked_module, "ENOUGH_IDENTITIES", 2)
    if few:  # pairs and queries are drawn
        monkeypatch.setattr(pairs_module, "ALL_PAIRS", 10)
        monkeypatch.setattr(pairs_module, "DRAWN", 60)
        monkeypatch.setattr(retrieval_module, "MOST_QUERIES", 12)
    answers = drawn("embeddings", n=26)
    figures, lines = scored(task_named("embeddings"), answers)
    labels = np.array(answers.targets)
    queries = retrieval_module.queries_of(labels, 3)
    told = pairs_module.drawn_pairs(labels, 3)
    pairs = list(combinations(range(26), 2)) if told is None else np.concatenate(told, axis=1).T.tolist()
    names, unit_of = np.unique(labels, return_inverse=True)
    units = len(names) if by_identity else 26
    drawn_units = np.bincount(np.random.default_rng(1).integers(units, size=units), minlength=units)
    weights = drawn_units[unit_of] if by_identity else drawn_units

    def count(i: int, j: int) -> int:
        return int(weights[i] if by_identity and labels[i] == labels[j] else weights[i] * weights[j])

    assert figures.resampled is not None and figures.resampled.images == units and (told is not None) == few
    assert any("images are resampled" in note for note in figures.notes) is not by_identity
    for got, side in zip(figures.resampled.figures(drawn_units), (answers.engine, answers.source), strict=True):
        assert got == pytest.approx(_by_hand(directions(side), labels, weights, count, pairs, queries), rel=1e-9)
    assert figures.paired["rank1"].n == len(queries) and figures.paired["rank1"].flipped > 0
    assert_recounted("embeddings", lines, figures)
    paired = figures.paired["rank1"]
    for cell, side in zip((paired.only_engine, paired.only_source), values_of(figures), strict=True):
        assert 100 * (paired.both + cell) / paired.n == pytest.approx(side["rank1"])
