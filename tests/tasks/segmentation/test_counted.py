"""Pixels counted image by image: figures over resamples are those of repeated images, and lines give them anew."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from modelport.core.placement import Placement
from modelport.core.values import Array, RowId
from modelport.recipes.load import parse_recipe
from modelport.tasks.scoring import Figures, Rows, Score
from modelport.tasks.table import task_of
from segmenter import RECIPE, Held

TASK = task_of(parse_recipe(RECIPE, "x.toml"))
Lines = list[tuple[dict[str, Any], dict[str, Any]]]


def drawn(seed: int, images: int = 8) -> Rows:
    """Return images of 12 × 16 pixels: masks, two answers mostly right; nothing counts of the first image."""
    rng = np.random.default_rng(seed)
    masks = rng.choice([0, 0, 0, 1, 2, 4, 255], (images, 12, 16))
    masks[0] = 255
    sides: list[Array] = []
    for share in (0.6, 0.8):
        right = np.where(rng.random(masks.shape) < share, masks % 5, rng.integers(0, 4, masks.shape))
        scores = np.eye(5, dtype=np.float32)[right].transpose(0, 3, 1, 2)
        scores[1, :, 0, 0] = np.nan
        sides.append(scores)
    ids, places = [RowId(str(number)) for number in range(images)], [Placement(16, 12, 4.0, 4.0, 0, 0)] * images
    return Rows(ids, [Held(mask) for mask in masks], {"scores": sides[0]}, {"scores": sides[1]}, places)


def told(rows: Rows) -> tuple[Figures, Lines]:
    """Return the figures, and each image's lines of predictions.jsonl and samples.jsonl as they are read again."""
    scorer = TASK.scorer(True)
    lines = [json.loads(json.dumps(line, allow_nan=False)) for line in scorer.take(rows)]
    judged = [TASK.judged(line, target).to_json("miou") for line, target in zip(lines, rows.targets, strict=True)]
    return scorer.figures(), list(zip(lines, json.loads(json.dumps(judged, allow_nan=False)), strict=True))


def plain(scores: dict[str, Score] | None) -> dict[str, float]:
    return {name: score.value for name, score in (scores or {}).items()}


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_are_counted_anew_from_the_lines(seed: int) -> None:
    figures, lines = told(drawn(seed))
    again = TASK.recount(lines)
    assert again is not None and figures.resampled is not None
    once = figures.resampled.figures(np.ones(len(lines), np.int64))
    for found, anew, resampled in zip(
        (figures.metrics, figures.source), (again.metrics, again.source), once, strict=True
    ):
        assert anew == pytest.approx(plain(found), abs=1e-9) == resampled
    assert again.source["miou"] > again.metrics["miou"] > 10 and again.resampled is not None
    weights = np.random.default_rng(seed).multinomial(len(lines), np.full(len(lines), 1 / len(lines)))
    assert again.resampled.figures(weights) == figures.resampled.figures(weights)
    for name in ("images", "differ", "work"):
        assert getattr(again.resampled, name) == getattr(figures.resampled, name)


@pytest.mark.parametrize("seed", range(4))
def test_an_image_that_counts_k_times_is_k_images(seed: int) -> None:
    rows = drawn(seed)
    resampled = told(rows)[0].resampled
    weights = np.random.default_rng(seed).multinomial(8, np.full(8, 1 / 8))
    again = np.repeat(np.arange(8), weights)
    assert resampled is not None and rows.source is not None and resampled.images == 8
    assert resampled.differ == 7 and resampled.work > 0, "nothing counts of the first image"
    figures, _ = told(
        Rows(
            [RowId(str(place)) for place in range(8)],
            [rows.targets[place] for place in again.tolist()],
            {"scores": rows.outputs["scores"][again]},
            {"scores": rows.source["scores"][again]},
            rows.placements,
        )
    )
    engine, source = resampled.figures(weights)
    assert dict(engine) == pytest.approx(plain(figures.metrics), abs=1e-9)
    assert dict(source) == pytest.approx(plain(figures.source), abs=1e-9)
    nothing, _ = resampled.figures(np.eye(8, dtype=np.int64)[0])
    assert all(np.isnan(value) for value in nothing.values())


def test_how_each_image_was_answered_is_told() -> None:
    rows = drawn(5)
    assert rows.source is not None
    rows.outputs["scores"][3] = rows.source["scores"][3]
    figures, lines = told(rows)
    # The first image's mask says nothing, which the agreement does not look at.
    assert [sample["agrees"] for _, sample in lines] == [place == 3 for place in range(8)]
    for line, sample in lines:
        assert sample["target"] == line["target"] and sample["margin"] is None
        if line["miou"] is not None:
            assert sample["values"] == {"surrogate": [line["miou"] / 100, line["source_miou"] / 100]}
    assert lines[0][0]["miou"] is None and lines[0][0]["pixels"] == [] and "values" not in lines[0][1]
    assert figures.flips.count == 7 and not {"pixels", "source_pixels"} & figures.flips.first[0].keys()


def test_where_masks_are_not_looked_at_the_agreement_is_told_alone() -> None:
    scorer, rows = TASK.unlabelled_scorer(True), drawn(6)
    lines = scorer.take(rows)
    judged = [TASK.judged(line, None) for line in lines]
    assert all(one.target is None and not one.values and one.agrees is False for one in judged)
    again = TASK.recount([(line, one.to_json("miou")) for line, one in zip(lines, judged, strict=True)])
    assert again is not None and again.metrics == again.source == {}


@pytest.mark.parametrize(
    "pixels",
    [
        *([[0, 1, 2]], [[0, 5, 5, 6]], [[0, 0, 0, 0]], [[0, 5, 5, -1]], [[0, "a", 2, 1]], [7], 7, [[[], 1, 1, 1]]),
        *([[9, 5, 5, 5]], [[-1, 5, 5, 5]], [[0, 5, 5, 5]] * 2, [[0, 5.5, 5, 5]], [[0, None, 5, 5]], None),
    ],
)
def test_lines_of_another_form_are_refused(pixels: Any) -> None:
    good = {"id": "a", "target": "a.png", "pixels": [[0, 5, 5, 5]]}
    again = TASK.recount([(good, {})])
    assert again is not None and again.metrics == {"miou": 100.0, "pixel_accuracy": 100.0} and again.source == {}
    with pytest.raises((KeyError, TypeError, ValueError)):
        TASK.recount([(good | {"pixels": pixels}, {})])
