"""Scores of boxes that are no probabilities are said; the figure looks at their order alone."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import recipe_of
from modelport.core.placement import Placement
from modelport.core.values import RowId, Truth
from modelport.tasks.detection.task import Detection
from modelport.tasks.scoring import Rows


@pytest.mark.parametrize(("score", "said"), [(0.0, False), (1.0, False), (1.004, False), (90.0, True), (255.0, True)])
def test_scores_beyond_one_are_said_and_change_no_figure(score: float, said: bool) -> None:
    box = np.array([[10.0, 10.0, 20.0, 20.0]])
    truth = Truth(1, box, np.array([3]), np.array([False]), np.array([400.0]))
    dets = np.array([[[10, 10, 30, 30, score]]], np.float32)
    outputs = [("dets", "float32", ["batch", 1, 5]), ("labels", "int64", ["batch", 1])]
    scorer = Detection(recipe_of(outputs, classes=1), [(3, "cup")]).scorer(against_source=False)
    place = Placement(100, 100, 1.0, 1.0, 0, 0)
    scorer.take(Rows([RowId("a")], [truth], {"dets": dets, "labels": np.zeros((1, 1), np.int64)}, None, [place]))
    figures = scorer.figures()
    assert any("between 0 and 1" in note for note in figures.notes) == said
    assert figures.metrics["mAP"].value == pytest.approx(1.0)
