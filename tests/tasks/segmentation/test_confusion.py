"""mIoU and pixel accuracy are torchmetrics'."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modelport.tasks.segmentation.confusion import Confusion
from oracles import torchmetrics


@pytest.mark.parametrize("absent", [(), (3,), (0, 6)])
def test_figures_equal_the_library(absent: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(absent))
    truth, answers = rng.integers(0, 7, (6, 40, 30)), rng.integers(0, 7, (6, 40, 30))
    answers = np.where(rng.random(truth.shape) < 0.6, truth, answers)
    for kind in absent:
        truth[truth == kind], answers[answers == kind] = 5, 5
    ignored = rng.random(truth.shape) < 0.1
    mine = Confusion(7)
    for one, other, gone in zip(truth, answers, ignored, strict=True):
        mine.add(one[~gone], other[~gone])
    wanted = torch.from_numpy(np.where(ignored, 255, truth))
    library, given = torchmetrics(), torch.from_numpy(answers)
    words = {"num_classes": 7, "ignore_index": 255}
    miou = library.classification.multiclass_jaccard_index(given, wanted, average="macro", **words)
    each = library.classification.multiclass_jaccard_index(given, wanted, average="none", **words)
    accuracy = library.classification.multiclass_accuracy(given, wanted, average="micro", **words)
    scores = mine.scores()
    assert scores["miou"].value == pytest.approx(100 * miou.item(), abs=1e-5)
    assert scores["pixel_accuracy"].value == pytest.approx(100 * accuracy.item(), abs=1e-5)
    assert scores["miou"].n == 6 and scores["miou"].stderr is None
    np.testing.assert_allclose(np.nan_to_num(mine.ious()), each.numpy(), atol=1e-6)
    rows = mine.per_class(["a", "b"], mine)
    assert all(row["source"] == row["iou"] for row in rows)
    assert [row["class"] for row in rows] == [kind for kind in range(7) if kind not in absent]
    assert rows[-1]["name"] == str(rows[-1]["class"]) and sum(row["n"] for row in rows) == mine.pixels


def test_an_answer_that_is_no_class_is_wrong() -> None:
    mine = Confusion(2)
    mine.add(np.array([0, 0, 1, 1]), np.array([0, -1, 1, 7]))
    assert mine.accuracy() == 0.5
    np.testing.assert_array_equal(mine.ious(), [0.5, 0.5])
    # Naming class 0 everywhere: half of it is met, and class 1 is not.
    assert mine.chance() == 25.0
