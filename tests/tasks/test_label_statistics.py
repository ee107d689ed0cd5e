"""Paired counts, figures over resamples, and figures from a result folder, of the tasks whose labels are no one class.

What a scorer says of rows that are literally repeated is the oracle for weights; ``test_TASK.py`` holds the scorer
itself against other people's.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from label_answers import (
    CONTRASTIVE,
    Answers,
    assert_recounted,
    drawn,
    recounted,
    scored,
    size_of,
    task_named,
    values_of,
)
from label_recipes import CASES

from modelport.core.values import RowId
from modelport.tasks import packed
from modelport.tasks.contrastive.pairs import published_found
from modelport.tasks.contrastive.task import drawn_pairs
from modelport.tasks.judged import Recounted
from modelport.tasks.paired import Paired
from modelport.tasks.ratios import RatioFigures
from modelport.tasks.scoring import Rows

EVERY = pytest.mark.parametrize("name", [*CASES, *CONTRASTIVE])
LABELLED = pytest.mark.parametrize("name", CASES)
ROWS = pytest.mark.parametrize("name", ["multilabel", "regression", "text"])


@EVERY
def test_weights_of_one_give_the_figures_of_the_result(name: str) -> None:
    figures, _ = scored(task_named(name), drawn(name, n=size_of(name)))
    resampled = figures.resampled
    assert resampled is not None and 10 < resampled.differ <= resampled.images and resampled.work >= resampled.images
    for got, want in zip(resampled.figures(np.ones(resampled.images, np.int64)), values_of(figures), strict=True):
        assert set(want) == {key for key, value in got.items() if not np.isnan(value)} | set(figures.paired)
        assert {key: want[key] for key in got if key in want} == pytest.approx(
            {key: value for key, value in got.items() if not np.isnan(value)}, rel=1e-12
        )
    if name == "contrastive":
        return  # a mean of no image is none of its cases
    empty = resampled.figures(np.zeros(resampled.images, np.int64))
    assert all(np.isnan(value) for side in empty for value in side.values())


@ROWS
@pytest.mark.parametrize("seed", range(4))
def test_weights_are_repeated_rows(name: str, seed: int) -> None:
    answers = drawn(name, seed)
    resampled = scored(task_named(name), answers)[0].resampled
    rng = np.random.default_rng(seed)
    # A resample as the bootstrap draws it; and one of few images, in which classes and columns lose all they have.
    for weights in (np.bincount(rng.integers(60, size=60), minlength=60), 9 * (np.arange(60) % 30 == seed + 5)):
        want = values_of(scored(task_named(name), answers.repeated(weights))[0])
        assert resampled is not None
        for got, figures in zip(resampled.figures(weights), want, strict=True):
            told = {key: value for key, value in got.items() if not np.isnan(value)}
            assert told == pytest.approx({key: figures[key] for key in told}, rel=1e-9)
            assert set(figures) - set(told) <= {"exact_match"}


@EVERY
@pytest.mark.parametrize("step", [13, 200])
def test_the_lines_of_a_result_give_its_figures(name: str, step: int) -> None:
    figures, lines = scored(task_named(name), drawn(name, n=size_of(name)), step=step)
    if name == "contrastive-drawn":
        assert recounted(name, lines) == Recounted({}, {})
    else:
        assert_recounted(name, lines, figures)
    assert recounted(name, []) == Recounted({}, {})


@LABELLED
def test_where_the_source_has_not_answered_everything(name: str) -> None:
    task, answers = task_named(name), drawn(name)
    figures, lines = scored(task, answers, without_source=range(13, 14))
    assert_recounted(name, lines, figures)
    if name != "text":
        assert figures.source == {} and figures.resampled is None and not figures.paired
        return
    assert figures.resampled is not None and figures.resampled.images == figures.paired["exact_match"].n == 60 - 13
    rest = np.r_[0:13, 26:60]
    both = scored(task, answers.repeated(np.isin(np.arange(60), rest).astype(int)))[0]
    assert both.paired == figures.paired
    ones = np.ones(47, np.int64)
    assert both.resampled is not None and both.resampled.figures(ones) == figures.resampled.figures(ones)


@LABELLED
def test_without_labels_there_is_nothing_to_recount(name: str) -> None:
    task, answers = task_named(name), drawn(name)
    output = task._recipe.tensors.outputs[0].name
    ids = [RowId(str(row)) for row in range(60)]
    scorer = task.unlabelled_scorer(True)
    lines = scorer.take(Rows(ids, [None] * 60, {output: answers.engine}, {output: answers.source}))
    assert scorer.figures().resampled is None
    assert recounted(name, lines) == Recounted({}, {})
    assert all(task.judged(line, None).target is None for line in lines)


@EVERY
def test_a_line_tells_whether_the_answers_agree_and_what_they_earn(name: str) -> None:
    task, n = task_named(name), size_of(name)
    figures, lines = scored(task, drawn(name, n=n))
    judged = [task.judged(line, None) for line in lines]
    assert all(json.dumps(one.target) for one in judged)
    if name in CONTRASTIVE:
        flipped = {flip["id"].split("#")[0] for flip in figures.flips.first}
        assert {line["id"] for line, one in zip(lines, judged, strict=True) if one.agrees is False} == flipped
        assert all(one.agrees is None and not one.values for one in judged[128:])
    elif name != "regression":  # agreement there hangs on all rows
        assert sum(bool(one.agrees) for one in judged) == figures.flips.met and 0 < figures.flips.met < n
    earned = {"text": "exact_match", "contrastive": "contrastive_top1"}.get(name)
    if earned is None:
        assert all(set(one.values) <= {"surrogate"} for one in judged)
        return
    values = [one.values[earned] for one in judged if one.values]
    metrics, source = values_of(figures)
    assert 100 * np.mean([engine for engine, _ in values]) == pytest.approx(metrics[earned])
    assert 100 * np.mean([reference for _, reference in values if reference is not None]) == pytest.approx(
        source[earned]
    )
    if name == "text":
        counted = Paired.of(*(np.array(side) == 1 for side in reversed(list(zip(*values, strict=True)))))
        assert figures.paired == {"exact_match": counted} and counted.flipped > 5


def test_a_set_has_a_margin_and_an_f1_of_its_own() -> None:
    scores = np.array([[2, -2, 0.4, -1, -1], [-1, -1, -1, -1, np.nan]], np.float32)
    _, lines = scored(task_named("multilabel"), Answers(scores[::-1], scores, [(0, 1), ()]))
    first, second = (task_named("multilabel").judged(line, None) for line in lines)
    assert first.margin == pytest.approx(1 / (1 + np.exp(-0.4)) - 0.5, rel=1e-6) and second.margin is None
    assert first.values == {"surrogate": (0.0, 0.5)} and second.values == {"surrogate": (0.0, 1.0)}
    assert lines[0]["source_classes"] == [0, 2] and (first.agrees, second.agrees) == (False, False)


@LABELLED
def test_images_differ_where_a_figure_could_tell(name: str) -> None:
    answers, rng = drawn(name), np.random.default_rng(0)
    source = (answers.source + 0.01 * rng.normal(size=answers.source.shape)).astype(np.float32)  # no ties

    def differ(engine: Any) -> int:
        found = scored(task_named(name), Answers(engine, source, answers.targets))[0].resampled
        assert found is not None
        return found.differ

    assert differ(source) == 0
    if name != "regression":  # whose errors are the digits themselves
        assert differ(source + (1e-7 * rng.normal(size=source.shape)).astype(np.float32)) == 0
    one = source.copy()
    one[7] = source[9]
    assert (2 <= differ(one) < 60) if name == "embeddings" else (differ(one) == 1)


def test_an_image_counts_with_all_its_places_in_drawn_batches() -> None:
    answers = drawn("contrastive-drawn", n=140)
    figures, _ = scored(task_named("contrastive-drawn"), answers)
    resampled, batches = figures.resampled, drawn_pairs(140, 3)
    assert resampled is not None and resampled.images == len(np.unique(batches)) == 140
    weights = np.bincount(np.random.default_rng(0).integers(140, size=140), minlength=140)
    for got, rows in zip(resampled.figures(weights), (answers.engine, answers.source), strict=True):
        found = published_found(rows.reshape(140, 2, -1), batches).mean(axis=1)
        want = 100 * np.average(found, weights=weights[batches].ravel())
        assert got == {"contrastive_top1": pytest.approx(want, rel=1e-12)} and 0 < want < 100


def test_a_ratio_of_nothing_is_not_a_number() -> None:
    found = RatioFigures({"a": (np.array([1, 2]), np.array([1, 3]), np.array([0, 4]))})
    assert (found.images, found.differ) == (2, 1)
    assert found.figures(np.array([1, 2]))[0] == {"a": 5 / 8} and found.figures(np.array([1, 2]))[1] == {"a": 7 / 8}
    assert np.isnan(found.figures(np.array([9, 0]))[0]["a"])


def test_rows_are_packed_exactly_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[1.1, np.nan, -np.inf], [-0.0, 3e-45, 7]], np.float32)
    texts = packed.Packer().pack(rows)
    assert [packed.unpacked(text or "").tobytes() for text in texts] == [row.tobytes() for row in rows]
    monkeypatch.setattr(packed, "MOST_PACKED", 10)
    packer = packed.Packer()
    assert [text is None for text in packer.pack(rows) + packer.pack(rows) + packer.pack(rows[:, :1])] == [
        *(False, False, False, True),
        *(True, True),
    ]
    assert packed.Packer().pack(rows[:0]) == []
    for broken in ("AAA=", "AAAA", "!!!!"):
        with pytest.raises(ValueError, match=r"adding|element|base64"):
            packed.unpacked(broken)
    for name, left in (("multilabel", {"multilabel_f1"}), ("embeddings", set())):
        figures, lines = scored(task_named(name), drawn(name))
        found = recounted(name, lines)
        assert set(found.metrics) == set(found.source) == left < set(figures.metrics) and found.resampled is None


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("multilabel", {"target": [5]}),
        ("multilabel", {"target": [-1]}),
        ("multilabel", {"scores": "AAAA"}),
        ("multilabel", {"source_scores": "AAAAAA=="}),
        ("multilabel", {"classes": 4}),
        ("multilabel", {"classes": [7]}),
        ("regression", {"numbers": [1.0, 2.0]}),
        ("regression", {"numbers": ["a", 2.0, 1.0]}),
        ("regression", {"numbers": [10**400, 2.0, 1.0]}),
        ("regression", {"target": [10**400, 2.0, 1.0]}),
        ("text", {"text": 5}),
        ("embeddings", {"vector": "AAAAAA=="}),
        ("embeddings", {"target": "a"}),
        ("embeddings", {"target": 2**70}),
        ("contrastive", {"found": 3}),
        ("contrastive", {"source_found": ["a", "b"]}),
    ],
)
def test_lines_that_were_not_written_so_are_refused(name: str, broken: dict[str, Any]) -> None:
    _, lines = scored(task_named(name), drawn(name, n=size_of(name)))
    lines[7] |= broken
    with pytest.raises((KeyError, TypeError, ValueError)):
        recounted(name, lines)
    del lines[7][next(iter(broken))]
    with pytest.raises(KeyError):
        recounted(name, lines)
