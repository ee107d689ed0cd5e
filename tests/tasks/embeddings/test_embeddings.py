"""Verification and retrieval against torchmetrics and plain formulas, pairs that are drawn, and agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from modelport.core.errors import RecipeError
from modelport.core.values import RowId, TensorSpec
from modelport.recipes.load import parse_recipe
from modelport.tasks.embeddings import pairs as pairs_module
from modelport.tasks.embeddings import retrieval as retrieval_module
from modelport.tasks.embeddings.pairs import directions, drawn_pairs, genuine_and_impostor
from modelport.tasks.embeddings.retrieval import chance, queries_of, retrieved
from modelport.tasks.embeddings.task import Embeddings
from modelport.tasks.scoring import Figures, Rows
from modelport.tasks.table import task_of
from oracles import torchmetrics

TEXT = """
schema = "modelport.recipe/1"
name = "faces"
task = "embeddings"
metrics = ["verification_accuracy", "tar_at_far_1e-3", "rank1", "retrieval_mAP"]
preprocess = [
    { step = "decode", color = "RGB", exif_rotation = "ignore" },
    { step = "resize", width = 32, height = 32, interpolation = "bilinear" },
    { step = "normalize", divide = 255.0, mean = [0.5], std = [0.5] },
]
tensors.inputs = [{ name = "image", dtype = "float32", shape = ["batch", 3, 32, 32] }]
tensors.outputs = [{ name = "vector", dtype = "float32", shape = ["batch", 8] }]
dataset.kind = "imagenet"
"""
NAMES = ("verification_accuracy", "tar_at_far_1e-3", "rank1", "retrieval_mAP")


def _figures(vectors: Any, labels: Any, source: Any = None, step: int = 17) -> tuple[Figures, list[Any]]:
    scorer, lines = task_of(parse_recipe(TEXT, "x.toml")).scorer(source is not None), []
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        ids = [RowId(str(start + row)) for row in range(len(labels[part]))]
        theirs = None if source is None else {"vector": source[part]}
        lines += scorer.take(Rows(ids, list(labels[part]), {"vector": vectors[part]}, theirs))
    return scorer.figures(), lines


def _means(units: Any, labels: Any, queries: Any) -> tuple[Any, Any]:
    first, each = zip(*retrieved(units, labels, queries), strict=True)
    return np.array(first), np.array([found.mean() for found in each])


def _seeded(n: int = 120, spread: float = 0.9, decimals: int | None = None) -> tuple[Any, Any]:
    """Return vectors around the points of twelve identities; rounded, many of them are the same."""
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 12, n)
    vectors = rng.normal(size=(12, 8))[labels] + spread * rng.normal(size=(n, 8))
    vectors *= rng.uniform(0.1, 9, (n, 1))
    if decimals is not None:
        vectors = np.sign(vectors).round(decimals)
    return vectors.astype(np.float32), labels


def _by_hand(vectors: Any, labels: Any) -> dict[str, float]:
    """Return the figures by their definitions, pair by pair and query by query, in float64."""
    units = vectors.astype(np.float64)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = np.einsum("id,jd->ij", units, units).round(9)
    n = len(labels)
    same, other = list[float](), list[float]()
    for i in range(n):
        for j in range(i):
            (same if labels[i] == labels[j] else other).append(cosines[i, j])
    genuine, impostor = np.array(same), np.array(other)
    thresholds = [*sorted({*same, *other}), np.inf]
    rates = [((genuine >= t).mean(), (impostor >= t).mean()) for t in thresholds]
    firsts, precisions = [], []
    for i in range(n):
        others = np.delete(np.arange(n), i)
        right, scores = labels[others] == labels[i], cosines[i, others]
        if not right.any():
            continue
        firsts.append(scores[right].max() > scores[~right].max())
        share = [(right & (scores >= s)).sum() / (scores >= s).sum() for s in scores[right]]
        precisions.append(np.mean(share))
    return {
        "verification_accuracy": 100 * max((accepted + 1 - wrong) / 2 for accepted, wrong in rates),
        "tar_at_far_1e-3": 100 * max(accepted for accepted, wrong in rates if wrong <= 1e-3),
        "rank1": 100 * float(np.mean(firsts)),
        "retrieval_mAP": 100 * float(np.mean(precisions)),
    }


@pytest.mark.parametrize("decimals", [None, 0])
def test_figures_are_the_definitions(decimals: int | None) -> None:
    vectors, labels = _seeded(70, decimals=decimals)
    labels[0] = 99  # an identity of one image
    figures, _ = _figures(vectors, labels)
    found = {name: score.value for name, score in figures.metrics.items()}
    assert found == pytest.approx(_by_hand(vectors, labels), abs=1e-9)
    assert figures.metrics["rank1"].n == 69 and figures.metrics["verification_accuracy"].n == 70
    assert figures.notes == ["1 identities have one image: it is no query, and stays among the others' candidates"]


def test_figures_are_torchmetrics() -> None:
    import torch

    torchmetrics()
    from torchmetrics.functional.classification import binary_roc, binary_sensitivity_at_specificity
    from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate

    vectors, labels = _seeded(60)
    figures, _ = _figures(vectors, labels)
    units = torch.nn.functional.normalize(torch.from_numpy(vectors.astype(np.float64)))
    scores = (units @ units.T + 1) / 2
    same = torch.from_numpy(labels[:, None] == labels)
    rows, columns = torch.tril_indices(len(labels), len(labels), -1)
    told, wanted = scores[rows, columns], same[rows, columns].long()
    wrong, accepted, _ = binary_roc(told, wanted)
    sensitivity, _ = binary_sensitivity_at_specificity(told, wanted, min_specificity=0.999)
    precision, hits = [], []
    for query in range(len(labels)):
        others = torch.arange(len(labels)) != query
        precision.append(retrieval_average_precision(scores[query][others], same[query][others]).item())
        hits.append(retrieval_hit_rate(scores[query][others], same[query][others], top_k=1).item())
    want = {
        "verification_accuracy": 50 * (accepted.double() + 1 - wrong.double()).max().item(),
        "tar_at_far_1e-3": 100 * sensitivity.item(),
        "rank1": 100 * np.mean(hits),
        "retrieval_mAP": 100 * np.mean(precision),
    }
    assert {name: score.value for name, score in figures.metrics.items()} == pytest.approx(want, abs=1e-4)
    assert all(0 < value < 100 for value in want.values())


def test_length_decides_nothing_and_a_vector_without_direction_is_wrong() -> None:
    vectors, labels = _seeded(60)
    scaled = (vectors * np.linspace(0.5, 7, 60)[:, None]).astype(np.float32)
    assert _figures(scaled, labels)[0].metrics == pytest.approx(_figures(vectors, labels)[0].metrics)
    broken = vectors.copy()
    broken[5], broken[6] = 0, np.nan
    units = directions(broken)
    first, precision = _means(units, labels, np.array([5, 6]))
    prevalence = [((labels == labels[query]).sum() - 1) / 59 for query in (5, 6)]
    assert not first.any() and precision == pytest.approx(prevalence)
    genuine, impostor = genuine_and_impostor(units, labels, None)
    assert (np.concatenate([genuine, impostor]) == pairs_module.NOWHERE).sum() == 59 + 58


def test_a_collapsed_model_is_at_chance() -> None:
    _, labels = _seeded(80)
    figures, _ = _figures(np.ones((80, 8), np.float32), labels)
    found = {name: score.value for name, score in figures.metrics.items()}
    shares = [100 * ((labels == label).sum() - 1) / 79 for label in labels]
    assert found == pytest.approx(dict(zip(NAMES, (50, 0, 0, np.mean(shares)), strict=True)))


def test_drawn_pairs_are_pairs_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = _seeded(90)
    assert drawn_pairs(labels, 0) is None
    monkeypatch.setattr(pairs_module, "ALL_PAIRS", 10)
    monkeypatch.setattr(pairs_module, "DRAWN", 5000)
    drawn = drawn_pairs(labels, 0)
    assert drawn is not None
    genuine, impostor = drawn
    # All pairs of one identity, once each, where they are few.
    want = {(i, j) for i in range(90) for j in range(90) if i < j and labels[i] == labels[j]}
    assert len(genuine[0]) == len(want) and {tuple(sorted(pair)) for pair in genuine.T.tolist()} == want
    assert impostor.shape == (2, 5000) and (labels[impostor[0]] != labels[impostor[1]]).all()
    monkeypatch.setattr(pairs_module, "DRAWN", 50)
    few = drawn_pairs(labels, 3)
    assert few is not None and {tuple(sorted(pair)) for pair in few[0].T.tolist()} < want and few[0].shape == (2, 50)
    for mine, again in zip(few, drawn_pairs(labels, 3) or (), strict=True):
        np.testing.assert_array_equal(mine, again)
    whole = genuine_and_impostor(directions(vectors), labels, None)
    np.testing.assert_allclose(
        np.sort(genuine_and_impostor(directions(vectors), labels, drawn)[0]), np.sort(whole[0]), atol=1e-11
    )
    assert "verification over 50 pairs of one identity and 50 of two, drawn with seed 0" in (
        _figures(vectors, labels)[0].notes
    )


def test_many_queries_are_drawn_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = _seeded(90)
    monkeypatch.setattr(retrieval_module, "MOST_QUERIES", 30)
    figures, _ = _figures(vectors, labels)
    assert figures.metrics["rank1"].n == 30 and "30 queries of 90, drawn with seed 0" in figures.notes
    assert (queries_of(labels, 1) != queries_of(labels, 2)).any()


def test_chance_is_what_random_vectors_have() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), (2, 3, 4, 5, 6, 2, 3, 4, 5, 6))
    queries = queries_of(labels, 0)
    found = [
        [part.mean() for part in _means(directions(rng.normal(size=(40, 30))), labels, queries)] for _ in range(150)
    ]
    assert chance(labels, queries) == pytest.approx(np.mean(found, axis=0), abs=0.01)


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [4]])
def test_without_pairs_of_both_kinds_no_figure_is_defined(labels: list[int]) -> None:
    vectors = np.random.default_rng(0).normal(size=(len(labels), 8)).astype(np.float32)
    figures, _ = _figures(vectors, np.array(labels), vectors)
    assert figures.metrics == {} == figures.source and not figures.chance
    assert "no figure is defined" in figures.notes[0] and figures.flips.met == len(labels)


def test_answers_agree_where_the_direction_is_the_same() -> None:
    vectors, labels = _seeded(20)
    other = 3 * vectors
    other[4] = vectors[5]
    other[7, 0] = np.nan
    figures, lines = _figures(other, labels, vectors)
    assert (figures.flips.met, figures.flips.of) == (18, 20)
    assert [flip["id"] for flip in figures.flips.first] == ["4", "7"] and lines[7]["source_cosine"] is None
    assert lines[0]["source_cosine"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["batch", 8]', '["batch", 1]', "a vector for each image is float"),
        ('["batch", 8]', '["batch", 8, 2]', "a vector for each image is float"),
        ('"float32", shape = ["batch", 8]', '"int64", shape = ["batch", 8]', "'vector' is int64"),
        ('"imagenet"', '"imagenet"\ndataset.classes = 12', "have no meaning for identities"),
        ('"rank1"', '"rank5"', "no metric of embeddings"),
        ('"imagenet"', '"coco"', "its labels are boxes.*, embeddings takes identity"),
    ],
)
def test_what_is_no_recipe_of_the_task_is_refused(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(RecipeError, match=message):
        parse_recipe(TEXT.replace(old, new), "x.toml")


def test_init_takes_it_where_it_is_named() -> None:
    outputs = [TensorSpec("vector", "float32", ("batch", 512))]
    assert Embeddings.draft(outputs) is None
    draft = Embeddings.draft(outputs, alone=False)
    assert draft is not None and tuple(draft.metrics) == NAMES
