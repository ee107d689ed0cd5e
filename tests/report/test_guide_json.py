"""The guides' JSON, held against lines of the published scripts' own output."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.recipes.load import load_recipe
from modelport.report.guide_json import accuracy_line, guide_json
from modelport.tasks.scoring import Score
from modelport.tasks.table import task_of


def test_it_is_spelt_as_published() -> None:
    shares = {"top1": 67.4149, "top2": 76.0, "top3": 80.125, "top4": 84.999, "top5": 88.02}
    metrics = {name: Score(value, "percent", 50000, None) for name, value in shares.items()}
    assert guide_json(task_of(load_recipe("moco-v2")), metrics, 50000) == {
        "title": "Overall statistical evaluation",
        "value": [
            {"key": "Number of images", "value": "50000"},
            {"key": "Number of classes", "value": "1000"},
            {"key": "Top1 accuracy", "value": "67.41%"},
            {"key": "Top2 accuracy", "value": "76.0%"},
            {"key": "Top3 accuracy", "value": "80.12%"},
            {"key": "Top4 accuracy", "value": "85.0%"},
            {"key": "Top5 accuracy", "value": "88.02%"},
        ],
    }
    assert guide_json(task_of(load_recipe("inception-v4")), metrics, 1)["value"][1]["value"] == "1001"


def test_a_detectors_missing_figure_is_minus_one() -> None:
    value = guide_json(task_of(load_recipe("nas-fpn")), {"mAP": Score(0.4054, "fraction", 5, None)}, 5)["value"]
    assert [row["value"] for row in value[:4]] == ["5", "80", "0.405", "-1.000"] and len(value) == 14


@pytest.mark.parametrize("seed", range(5))
def test_the_contrastive_line_has_the_scripts_digits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hits = rng.integers(0, 257, 78)  # rows that found their other view, of the 256 of each batch
    total = np.float32(0)
    for count in hits:  # the script's: a float32 tensor, to which each batch's percentage is added
        total = np.float32(total + np.float32(count) * np.float32(100.0 / 256))
    want = f"accuracy1 = {total.item() / 78}"
    figure = 100.0 * float((0.5 * hits.sum()) / (78 * 128))
    assert accuracy_line(figure, 78 * 128) == want
