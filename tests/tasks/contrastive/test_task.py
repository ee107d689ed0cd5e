"""The published variant's pairs: drawn with replacement, seeded, as many batches as the script draws."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.core.errors import DataError
from modelport.core.values import RowId
from modelport.recipes.load import load_recipe
from modelport.tasks.contrastive.task import drawn_pairs
from modelport.tasks.scoring import Rows
from modelport.tasks.table import task_of


def test_pairs_are_drawn_with_replacement_and_by_seed_alone() -> None:
    pairs = drawn_pairs(10_000, seed=1)
    assert pairs.shape == drawn_pairs(200, seed=1).shape == (78, 128)
    assert pairs.min() >= 0 and pairs.max() < 10_000
    assert len(np.unique(pairs)) < pairs.size
    np.testing.assert_array_equal(pairs, drawn_pairs(10_000, seed=1))
    assert (pairs != drawn_pairs(10_000, seed=2)).any()


def test_too_few_images_are_counted_in_the_error() -> None:
    task = task_of(load_recipe("simclr"), (), 0)
    scorer = task.scorer(False)
    output = load_recipe("simclr").tensors.outputs[0].name
    rows = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)
    scorer.take(Rows([RowId(str(row // 2), row % 2) for row in range(120)], [0] * 120, {output: rows}, None))
    with pytest.raises(DataError, match="60 images are too few"):
        scorer.figures()
