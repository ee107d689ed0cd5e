"""Paired counts, figures over resamples, and figures from a result folder, of the tasks whose labels are no one class.

What a scorer says of rows that are literally repeated is the oracle for weights; ``test_TASK.py`` holds the scorer
itself against other people's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_recipes import CASES

from modelport.core.values import RowId
from modelport.recipes.load import load_recipe
from modelport.tasks import packed
from modelport.tasks.base import Figures, Rows, Task
from modelport.tasks.embeddings import pairs as pairs_module
from modelport.tasks.embeddings import resampled as resampled_module
from modelport.tasks.embeddings import retrieval as retrieval_module
from modelport.tasks.embeddings.pairs import directions
from modelport.tasks.multilabel.resampled import _elsewhere
from modelport.tasks.paired import Paired
from modelport.tasks.ratios import RatioFigures
from modelport.tasks.table import task_of
from modelport.tasks.text.lines import levenshtein

CONTRASTIVE = ("contrastive", "contrastive-drawn")
EVERY = pytest.mark.parametrize("name", [*CASES, *CONTRASTIVE])
LABELLED = pytest.mark.parametrize("name", CASES)
ROWS = pytest.mark.parametrize("name", ["multilabel", "regression", "text"])


@dataclass(frozen=True)
class Answers:
    """What a network and its source answer (N, …), and the labels; of two views an image in the contrastive task."""

    engine: Any
    source: Any
    targets: list[Any]

    def repeated(self, weights: Any) -> Answers:
        rows = np.repeat(np.arange(len(self.targets)), weights)
        return Answers(self.engine[rows], self.source[rows], [self.targets[row] for row in rows])


@pytest.fixture(scope="module")
def task_named(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Task]:
    @cache
    def made(name: str) -> Task:
        if name in CONTRASTIVE:
            recipe = load_recipe("simclr").with_variant("published" if name == "contrastive-drawn" else None)
        else:
            recipe = load_recipe(str(CASES[name].write(tmp_path_factory.mktemp("recipe") / "x.toml", "null")))
        return task_of(recipe, (), 3)

    return made


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


def _size(name: str) -> int:
    return 140 if name in CONTRASTIVE else 60


def _values(figures: Figures) -> tuple[dict[str, float], dict[str, float]]:
    assert figures.source is not None
    mine, theirs = ({name: score.value for name, score in side.items()} for side in (figures.metrics, figures.source))
    return mine, theirs


@EVERY
def test_weights_of_one_give_the_figures_of_the_result(name: str, task_named: Any) -> None:
    figures, _ = scored(task_named(name), drawn(name, n=_size(name)))
    resampled = figures.resampled
    assert resampled is not None and 10 < resampled.differ <= resampled.images and resampled.work >= resampled.images
    for got, want in zip(resampled.figures(np.ones(resampled.images, np.int64)), _values(figures), strict=True):
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
def test_weights_are_repeated_rows(name: str, seed: int, task_named: Any) -> None:
    answers = drawn(name, seed)
    resampled = scored(task_named(name), answers)[0].resampled
    rng = np.random.default_rng(seed)
    # A resample as the bootstrap draws it; and one of few images, in which classes and columns lose all they have.
    for weights in (np.bincount(rng.integers(60, size=60), minlength=60), 9 * (np.arange(60) % 30 == seed + 5)):
        want = _values(scored(task_named(name), answers.repeated(weights))[0])
        assert resampled is not None
        for got, figures in zip(resampled.figures(weights), want, strict=True):
            told = {key: value for key, value in got.items() if not np.isnan(value)}
            assert told == pytest.approx({key: figures[key] for key in told}, rel=1e-9)
            assert set(figures) - set(told) <= {"exact_match"}


@EVERY
@pytest.mark.parametrize("step", [13, 200])
def test_the_lines_of_a_result_give_its_figures(name: str, step: int, task_named: Any) -> None:
    task = task_named(name)
    figures, lines = scored(task, drawn(name, n=_size(name)), step=step)
    found = task.recount((line, {}) for line in lines)
    for got, want in zip((found.metrics, found.source), _values(figures), strict=True):
        assert got == ({} if name == "contrastive-drawn" else pytest.approx(want, rel=1e-9))
    assert task.recount([]).metrics == {}


@LABELLED
def test_where_the_source_has_not_answered_everything(name: str, task_named: Any) -> None:
    task, answers = task_named(name), drawn(name)
    figures, lines = scored(task, answers, without_source=range(13, 14))
    found, (metrics, source) = task.recount((line, {}) for line in lines), _values(figures)
    assert (found.metrics, found.source) == (pytest.approx(metrics, rel=1e-9), pytest.approx(source, rel=1e-9))
    if name != "text":
        assert source == {} and figures.resampled is None and not figures.paired
        return
    assert figures.resampled is not None and figures.resampled.images == figures.paired["exact_match"].n == 60 - 13
    rest = np.r_[0:13, 26:60]
    both = scored(task, answers.repeated(np.isin(np.arange(60), rest).astype(int)))[0]
    assert both.paired == figures.paired
    ones = np.ones(47, np.int64)
    assert both.resampled is not None and both.resampled.figures(ones) == figures.resampled.figures(ones)


@LABELLED
def test_without_labels_there_is_nothing_to_recount(name: str, task_named: Any) -> None:
    task, answers = task_named(name), drawn(name)
    output = task._recipe.tensors.outputs[0].name
    ids = [RowId(str(row)) for row in range(60)]
    scorer = task.unlabelled_scorer(True)
    lines = scorer.take(Rows(ids, [None] * 60, {output: answers.engine}, {output: answers.source}))
    assert scorer.figures().resampled is None
    assert task.recount((line, {}) for line in lines).metrics == {} == task.recount((line, {}) for line in lines).source
    assert all(task.judged(line, None).target is None for line in lines)


@EVERY
def test_a_line_tells_whether_the_answers_agree_and_what_they_earn(name: str, task_named: Any) -> None:
    task, n = task_named(name), _size(name)
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
    metrics, source = _values(figures)
    assert 100 * np.mean([engine for engine, _ in values]) == pytest.approx(metrics[earned])
    assert 100 * np.mean([reference for _, reference in values if reference is not None]) == pytest.approx(
        source[earned]
    )
    if name == "text":
        counted = Paired.of(*(np.array(side) == 1 for side in reversed(list(zip(*values, strict=True)))))
        assert figures.paired == {"exact_match": counted} and counted.flipped > 5


def test_a_set_has_a_margin_and_an_f1_of_its_own(task_named: Any) -> None:
    scores = np.array([[2, -2, 0.4, -1, -1], [-1, -1, -1, -1, np.nan]], np.float32)
    _, lines = scored(task_named("multilabel"), Answers(scores[::-1], scores, [(0, 1), ()]))
    first, second = (task_named("multilabel").judged(line, None) for line in lines)
    assert first.margin == pytest.approx(1 / (1 + np.exp(-0.4)) - 0.5, rel=1e-6) and second.margin is None
    assert first.values == {"surrogate": (0.0, 0.5)} and second.values == {"surrogate": (0.0, 1.0)}
    assert lines[0]["source_classes"] == [0, 2] and (first.agrees, second.agrees) == (False, False)


@LABELLED
def test_images_differ_where_a_figure_could_tell(name: str, task_named: Any) -> None:
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


@given(
    st.lists(st.tuples(*[st.sampled_from([-np.inf, 0.0, 1.0, 1.4, 2.0, 2.5, 3.0, np.inf])] * 2), min_size=1, max_size=7)
)
def test_scores_stand_elsewhere_by_the_definition(pairs: list[tuple[float, float]]) -> None:
    engine, source = (np.array(side, np.float32) for side in zip(*pairs, strict=True))
    found = _elsewhere(engine, source, np.argsort(-source, kind="stable")).tolist()
    if np.isfinite(pairs).all():
        for row, (mine, theirs) in enumerate(pairs):
            others = [other for place, (_, other) in enumerate(pairs) if place != row]
            nearer = any(other == theirs or abs(mine - other) <= abs(mine - theirs) for other in others)
            assert found[row] is (mine != theirs and nearer)
    if not any(found):
        assert ((engine[:, None] > engine) == (source[:, None] > source)).all()


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
    precisions = []
    for query in queries:
        others = np.arange(len(labels)) != query
        scores, same = cosines[query][others], (labels == labels[query])[others]
        precisions.append(np.mean([same[scores >= score].mean() for score in scores[same]]))
    mean = np.average(precisions, weights=weights[queries])
    return {"verification_accuracy": 100 * best, "tar_at_far_1e-3": 100 * at_rate, "retrieval_mAP": 100 * mean}


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("by_identity", [False, True])
def test_a_pair_counts_by_both_images_and_a_query_by_its_own(
    few: bool, by_identity: bool, task_named: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_identity:
        monkeypatch.setattr(resampled_module, "ENOUGH_IDENTITIES", 2)
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
    for got, side in zip(figures.resampled.figures(drawn_units), (answers.engine, answers.source), strict=True):
        assert got == pytest.approx(_by_hand(directions(side), labels, weights, count, pairs, queries), rel=1e-9)
    assert figures.paired["rank1"].n == len(queries) and figures.paired["rank1"].flipped > 0
    found, want = task_named("embeddings").recount((line, {}) for line in lines), _values(figures)
    assert (found.metrics, found.source) == tuple(pytest.approx(side, rel=1e-9) for side in want)
    paired = figures.paired["rank1"]
    for cell, side in zip((paired.only_engine, paired.only_source), want, strict=True):
        assert 100 * (paired.both + cell) / paired.n == pytest.approx(side["rank1"])


def test_an_image_counts_with_all_its_places_in_drawn_batches(task_named: Any) -> None:
    answers = drawn("contrastive-drawn", n=140)
    figures, _ = scored(task_named("contrastive-drawn"), answers)
    resampled = figures.resampled
    assert resampled is not None and resampled.images == 140
    pick = np.arange(140) == 17
    engine, source = (side["contrastive_top1"] for side in resampled.figures(pick.astype(np.int64)))
    assert 0 <= engine <= 100 and source == resampled.figures(5 * pick)[1]["contrastive_top1"]


@given(st.text("abé😀", max_size=9), st.text("abé😀", max_size=9))
def test_the_other_distance_is_the_recursion(one: str, other: str) -> None:
    @cache
    def far(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(far(i - 1, j) + 1, far(i, j - 1) + 1, far(i - 1, j - 1) + (one[i - 1] != other[j - 1]))

    assert levenshtein(one, other) == far(len(one), len(other))


def test_a_ratio_of_nothing_is_not_a_number() -> None:
    found = RatioFigures({"a": (np.array([1, 2]), np.array([1, 3]), np.array([0, 4]))})
    assert (found.images, found.differ) == (2, 1)
    assert found.figures(np.array([1, 2]))[0] == {"a": 5 / 8} and found.figures(np.array([1, 2]))[1] == {"a": 7 / 8}
    assert np.isnan(found.figures(np.array([9, 0]))[0]["a"])


def test_rows_are_packed_exactly_up_to_a_bound(task_named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
        found = task_named(name).recount((line, {}) for line in lines)
        assert set(found.metrics) == set(found.source) == left < set(figures.metrics)


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("multilabel", {"target": [5]}),
        ("multilabel", {"scores": "AAAA"}),
        ("multilabel", {"source_scores": "AAAAAA=="}),
        ("multilabel", {"classes": 4}),
        ("regression", {"numbers": [1.0, 2.0]}),
        ("regression", {"numbers": ["a", 2.0, 1.0]}),
        ("regression", {"numbers": [10**400, 2.0, 1.0]}),
        ("regression", {"target": [10**400, 2.0, 1.0]}),
        ("text", {"text": 5}),
        ("embeddings", {"vector": "AAAAAA=="}),
        ("embeddings", {"target": "a"}),
        ("embeddings", {"target": 2**70}),
        ("contrastive", {"found": 3}),
    ],
)
def test_lines_that_were_not_written_so_are_refused(name: str, broken: dict[str, Any], task_named: Any) -> None:
    _, lines = scored(task_named(name), drawn(name, n=_size(name)))
    lines[7] |= broken
    with pytest.raises((KeyError, TypeError, ValueError)):
        task_named(name).recount((line, {}) for line in lines)
    del lines[7]["id"], lines[7][next(iter(broken))]
    if name != "contrastive":  # whose unscored images have fewer keys
        with pytest.raises(KeyError):
            task_named(name).recount((line, {}) for line in lines)
